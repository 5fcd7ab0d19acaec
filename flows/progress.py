"""How far a run is: a line in the terminal and a progress artifact in the UI for each stage."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeVar
from uuid import UUID

from prefect import Task, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import as_completed

_Thing = TypeVar("_Thing")
_QUIET_SECONDS = 2.0  # between updates of one stage


class Progress:
    """Tells of the stages of one flow run.

    Args:
        title: what the run makes; part of the artifacts' keys.
    """

    def __init__(self, title: str) -> None:
        self._key = "".join(letter if letter.isalnum() else "-" for letter in title.lower())

    def each(self, stage: str, task: Task[Any, Any], calls: Collection[tuple[Any, ...]]) -> list[Any]:
        """Run a task once per call, side by side, and return the results in the order of the calls."""
        told = self._start(stage, len(calls))
        futures = [task.submit(*call) for call in calls]
        for done, _ in enumerate(as_completed(futures), 1):
            told = self._tell(stage, told, done, len(calls))
        return [future.result() for future in futures]

    @staticmethod
    def run(task: Task[Any, Any], calls: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Run a task once per call, side by side, as part of a stage that is told of elsewhere."""
        futures = [task.submit(*call) for call in calls]
        return [future.result() for future in futures]

    def over(self, stage: str, things: Collection[_Thing]) -> Iterator[_Thing]:
        """Yield things one after another, telling when each is done."""
        told = self._start(stage, len(things))
        for done, thing in enumerate(things, 1):
            yield thing
            told = self._tell(stage, told, done, len(things))

    def _start(self, stage: str, total: int) -> tuple[UUID | None, float]:
        get_run_logger().info("%s: %s to do", stage, f"{total:,}")
        artifact = create_progress_artifact(
            progress=0.0 if total else 100.0, key=f"{self._key}-{stage.replace(' ', '-')}", description=stage
        )
        return (artifact if isinstance(artifact, UUID) else None), time.monotonic()

    @staticmethod
    def _tell(stage: str, told: tuple[UUID | None, float], done: int, total: int) -> tuple[UUID | None, float]:
        artifact, when = told
        if done < total and time.monotonic() - when < _QUIET_SECONDS:
            return told
        get_run_logger().info("%s: %s of %s done", stage, f"{done:,}", f"{total:,}")
        if artifact is not None:
            update_progress_artifact(artifact, progress=100.0 * done / total)
        return artifact, time.monotonic()
