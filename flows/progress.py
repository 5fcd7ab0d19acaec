"""How far a stage is: a line in the log, and in the UI a progress artifact for each group of its calls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

_QUIET_SECONDS = 2.0  # between updates of one artifact
_MOST = 40  # artifacts of one stage; more groups than that share one


class Progress:
    """Tells of the calls of one stage.

    Args:
        title: what the run makes; part of the artifacts' keys.
        stage: what people read.
        groups: the group of each call, such as its language; empty where there are none.
    """

    def __init__(self, title: str, stage: str, groups: Sequence[str]) -> None:
        self._stage = stage
        self._apart = len(set(groups)) <= _MOST
        self._totals = Counter(self._group(group) for group in groups)
        self._done = Counter[str]()
        self._told = time.monotonic()
        get_run_logger().info("%s: %s to do", stage, f"{len(groups):,}")
        self._artifacts = {group: _begin(title, f"{stage} {group}".strip()) for group in self._totals}

    def tell(self, group: str) -> None:
        """Note that a call of a group is done."""
        group = self._group(group)
        self._done[group] += 1
        done, total = self._done.total(), self._totals.total()
        if self._done[group] == self._totals[group] or time.monotonic() - self._told > _QUIET_SECONDS:
            self._told = time.monotonic()
            get_run_logger().info("%s: %s of %s done", self._stage, f"{done:,}", f"{total:,}")
            artifact = self._artifacts[group]
            if artifact is not None:
                update_progress_artifact(artifact, progress=100.0 * self._done[group] / self._totals[group])

    def _group(self, group: str) -> str:
        return group if self._apart else ""


def _begin(title: str, stage: str) -> UUID | None:
    artifact = create_progress_artifact(progress=0.0, key=artifact_key(f"{title} {stage}"), description=stage)
    return artifact if isinstance(artifact, UUID) else None


def artifact_key(text: str) -> str:
    """Return a text as an artifact's key: lower-case letters, digits and dashes."""
    return "-".join(
        "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower()).split()
    )
