"""A command in; a child process that is looked after, and ended with everything that it started, out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import SourceError

_TAIL_LINES = 20


@dataclass(frozen=True)
class Child:
    """A process of ours that runs beside us, in a session of its own: Ctrl-C in a terminal does not reach it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Do nothing while it runs.

        Raises:
            SourceError: if it has ended, with the last lines that it wrote.
        """
        if self.process.poll() is not None:
            lines = self.log.read_text("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
            raise SourceError(f"the {self.name} has ended; the end of {self.log}:\n" + "\n".join(lines))

    def ended(self, seconds: float) -> bool:
        """Wait so long for its end, and say whether it came."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def start(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> Child:
    """Start a child whose output goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    return Child(name, process, log)


def end(child: Child, seconds: float) -> None:
    """Ask a child to end, and end it with all that it started if it has not done so in time."""
    started = started_by(child)
    child.process.terminate()
    try:
        child.ended(seconds)
    finally:
        for pid in {*started, *started_by(child)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.process.kill()
        child.process.wait()


def started_by(child: Child) -> list[int]:
    """Return the process ids of what a child started, and of what that started, in whatever sessions."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                after_name = (folder / "stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
                parents.setdefault(int(after_name[1]), []).append(int(folder.name))
    found, todo = list[int](), [child.process.pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt inside the block when SIGINT or SIGTERM comes.

    A shell that starts something in the background has it ignore SIGINT, and its children inherit that; Prefect's would
    then not end when asked to.
    """
    before: Any = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def wait_while_running(children: Sequence[Child]) -> None:
    """Return never.

    Raises:
        SourceError: when one of them has ended.
    """
    while True:
        for child in children:
            child.check()
        time.sleep(0.5)
