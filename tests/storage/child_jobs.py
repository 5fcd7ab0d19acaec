"""Jobs that child processes and Dask workers import by name."""

from __future__ import annotations

import logging
import os
import re
import signal
import time
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


def process():
    """Tell which process this is."""
    return os.getpid()


def work(folder, number, seconds):
    """Leave a note with this process's number, then take some time; the result tells the call."""
    Path(folder, f"{os.getpid()}-{number}").touch()
    time.sleep(seconds)
    return number * number


def be_stuck(folder):
    """Do what nothing but the end of the process stops: one call of C that never lets other threads run."""
    Path(folder, str(os.getpid())).touch()
    return re.match(r"(a+)+$", "a" * 60 + "b")


def fail(kind, text):
    """Raise something."""
    raise kind(text)


class BadTravellerError(Exception):
    """An exception that cannot be unpickled: it wants more than it says."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail_oddly():
    """Raise what does not survive the way home."""
    raise BadTravellerError("this", "that")


def tell():
    """Log as a stage does."""
    logging.getLogger("tasks.telling").info("%s rows", f"{1000:,}")
    logging.getLogger("tasks.telling").debug("a detail")
    logging.getLogger("elsewhere").info("none of ours")
