"""The error tree, ordered by what happens next.

CorpusError
 + ConfigError     the run asks for the impossible   -> stop before any work      never retried   exit code 2
 + SchemaError     a table breaks its contract       -> the stage fails           never retried   exit code 1
 + SourceError     the outside world failed          -> retried with back-off     retried         exit code 1
 + TimeLimitError  one shard takes too long          -> its computation is ended  never retried   exit code 1
 + ShardError      one shard is unusable             -> quarantined, run goes on; too many fail the stage
"""

from __future__ import annotations

from typing import Self


class CorpusError(Exception):
    """Anything that babelmill itself reports; its text is written for the person who runs the build."""


class ConfigError(CorpusError):
    """The run asks for something impossible: a wrong setting, a missing input, an unwritable root."""


class SchemaError(CorpusError):
    """A table does not have the columns and types that its dataset promises."""


class SourceError(CorpusError):
    """Storage or another outside system failed; trying again may help."""


class TimeLimitError(CorpusError):
    """A computation took longer than it may and was ended; it would take as long again."""

    @classmethod
    def after(cls, seconds: float | None) -> Self:
        """Say which limit was reached and how to raise it."""
        return cls(
            f"stopped after {(seconds or 0) / 60:.3g} minutes, the limit for one shard; if it is just large, raise "
            "resources.shard_minutes and run again: all that is done stays done"
        )


class ShardError(CorpusError):
    """One input file cannot be used at all; it is quarantined with this reason."""
