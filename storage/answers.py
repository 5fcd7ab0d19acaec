"""A call in another process in, its result or exception and its log lines out."""

from __future__ import annotations

import logging
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from logging.handlers import QueueHandler
from typing import Any

_LOGGERS = ("storage", "tasks")


class ElsewhereError(Exception):
    """The cause of an exception that comes from another process: its traceback there, as text."""


@dataclass(frozen=True)
class Answer:
    """What came of a call: a value or an exception, and what was logged on the way."""

    value: Any = None
    error: Exception | None = None
    traceback: str = ""
    records: list[logging.LogRecord] = field(default_factory=list)

    def open(self) -> Any:
        """Return the value or raise the exception, after handing the log lines to this process' loggers.

        They are handled in the calling thread, so that Prefect knows whose they are.
        """
        for record in self.records:
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        if self.error is not None:
            raise self.error from ElsewhereError(f"\n{self.traceback}")
        return self.value


def answer(call: bytes) -> Answer:
    """Do a pickled (function, arguments) here, in a process that works for another one."""
    with _collector().collecting() as records:
        try:
            function, arguments = pickle.loads(call)  # noqa: S301 - made by `packed` in the process that we work for
            return Answer(value=function(*arguments), records=records)
        except Exception as error:  # noqa: BLE001 - it is raised again, where the call came from
            return Answer(error=_portable(error), traceback=traceback.format_exc(), records=records)


def packed(function: Callable[..., Any], arguments: tuple[object, ...]) -> bytes:
    """Return a call as bytes: the function by name, so that the other process must have the same software."""
    return pickle.dumps((function, arguments))


def _portable(error: Exception) -> Exception:
    """Return an exception as it is if it can travel between processes, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - just made
    except Exception:  # noqa: BLE001 - classes may do anything there
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Collector(QueueHandler):
    """Keeps what each thread logs while it answers a call."""

    def __init__(self) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # its `prepare` is what we want of it
        self._kept: dict[int | None, list[logging.LogRecord]] = {}

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a record that is ready to be pickled."""
        self._kept.get(record.thread, []).append(record)

    @contextmanager
    def collecting(self) -> Iterator[list[logging.LogRecord]]:
        """Keep what this thread logs."""
        records = self._kept[threading.get_ident()] = []
        try:
            yield records
        finally:
            del self._kept[threading.get_ident()]


@cache
def _collector() -> _Collector:
    """Take over our loggers in this process, where nobody else listens and Prefect knows of no run."""
    collector = _Collector()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [collector], False
        logger.setLevel(logging.INFO)
    return collector
