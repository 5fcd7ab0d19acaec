"""Jobs that child processes import by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from storage.errors import ShardError
from storage.schemas import empty


def tell_process(tally, settings):
    """Count the process's own number as a reason, so that the manifest tells who computed."""
    tally[str(os.getpid())] += 1
    yield "documents", empty("documents")


def die_once(tally, settings, marker):
    """Kill this process, the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield "documents", empty("documents")


def refuse(tally, settings, text):
    """Fail as a stage does that gets a wrong table."""
    yield "documents", empty(text)


def quarantine(tally, settings):
    """Fail as a stage does whose file is unusable."""
    yield "documents", empty("documents")
    raise ShardError("not a WARC file")
