"""What people read in a terminal: errors without tracebacks, tables, and text that cannot play tricks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from storage.errors import ConfigError, CorpusError

FAILED, ASKED_WRONGLY = 1, 2
OUR_LOGGERS = ("flows", "tasks", "storage")

console = Console(highlight=False, soft_wrap=True)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def quiet_defaults(environment: MutableMapping[str, str]) -> None:
    """Set what Prefect does unless the user says otherwise: no telemetry, our log lines in the UI, no lost records.

    The batch sizes keep the server's queue from overflowing under bursts of small tasks; measured with Prefect 3.8.
    """
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": ",".join(OUR_LOGGERS),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # a plan, or a thread of the cache, is of no run
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its 20 are too few on a busy machine
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    }
    for name, value in defaults.items():
        environment.setdefault(name, value)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Turn our errors into one clear message and an exit code: 2 if asked wrongly, 1 if it failed."""
    try:
        yield
    except ConfigError as error:
        _errors.print(Text(f"babelmill: {printable(str(error))}"))
        raise typer.Exit(ASKED_WRONGLY) from None
    except CorpusError as error:
        _errors.print(Text(f"babelmill: {printable(str(error))}"))
        raise typer.Exit(FAILED) from None


class WithoutTraceback(logging.Filter):
    """Strips the traceback from log records about our own errors, whose text is written to stand alone."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if record.exc_info and isinstance(record.exc_info[1], CorpusError):
            record.exc_info, record.exc_text = None, None
        return True


def printable(text: str) -> str:
    """Replace control characters: crawled text could otherwise move the cursor or change the terminal's title."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def say(text: str) -> None:
    """Print a line."""
    console.print(Text(printable(text)))


def show_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of equal keys as a table; numbers stand to the right."""
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_written(value)) for value in row.values()))
    console.print(table)


def _written(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
