"""Stages and their calls in, results out: as Prefect tasks with progress, or plainly one after another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextvars import copy_context
from typing import Any, NamedTuple, Protocol

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.progress import Progress
from storage.planning import PlanningStore

Call = tuple[Any, ...]  # the store first, as in every stage

_LOOKING = 16  # threads that look whether things are done; they wait for storage more than they work
_logger = logging.getLogger(__name__)


class Steps(Protocol):
    """How a flow calls its stages."""

    def each(self, name: str, stage: Task[Any, Any], calls: Sequence[Call], groups: Sequence[str] = ()) -> list[Any]:
        """Call a stage once per entry, side by side, and return the results in the order of the calls.

        Args:
            name: what people read.
            stage: the task.
            calls: its arguments.
            groups: what each call is about, such as its language, where progress is told apart by that.
        """

    def check(self, check: Callable[..., None], *arguments: Any) -> None:
        """Make sure of something that can be known only when the work is done."""


class PlainSteps:
    """One stage after another in this process: no Prefect, no threads.

    Args:
        checks: whether to make checks; what is only planned cannot be checked.
    """

    def __init__(self, *, checks: bool = True) -> None:
        self._checks = checks

    @staticmethod
    def each(_: str, stage: Task[Any, Any], calls: Sequence[Call], groups: Sequence[str] = ()) -> list[Any]:
        """Call a stage once per entry."""
        del groups
        return [stage.fn(*call) for call in calls]

    def check(self, check: Callable[..., None], *arguments: Any) -> None:
        """Make sure of something."""
        if self._checks:
            check(*arguments)


class _Found(NamedTuple):
    """What a look at one call found."""

    result: Any
    is_done: bool
    need: str


class PrefectSteps:
    """Each call that has something to do is a task run of its own; those done before are one run, shown as cached.

    Args:
        title: what the flow makes; part of the keys of progress artifacts.
    """

    def __init__(self, title: str) -> None:
        self._title = title

    def each(self, name: str, stage: Task[Any, Any], calls: Sequence[Call], groups: Sequence[str] = ()) -> list[Any]:
        """Call a stage once per entry, as many at once as the engine has use for."""
        found = _look(stage, calls)
        to_do = [place for place, one in enumerate(found) if not one.is_done]
        results = [one.result for one in found]
        if len(to_do) < len(calls):
            done_before(name, len(calls) - len(to_do), len(calls))
        if not to_do:
            return results
        at_once = calls[0][0].engine.at_once(found[to_do[0]].need)
        progress = Progress(self._title, name, [groups[place] if groups else "" for place in to_do])
        with ThreadPoolExecutor(at_once, thread_name_prefix=name) as threads:
            running = {threads.submit(copy_context().run, stage, *calls[place]): place for place in to_do}
            try:
                for future in as_completed(running):
                    place = running[future]
                    results[place] = future.result()
                    progress.tell(groups[place] if groups else "")
            except BaseException:
                _give_up(running)
                raise
        return results

    @staticmethod
    def check(check: Callable[..., None], *arguments: Any) -> None:
        """Make sure of something."""
        check(*arguments)


@task(name="done before", task_run_name="{name}: {done} of {total} done before", cache_policy=NO_CACHE)
def done_before(name: str, done: int, total: int) -> State[Any]:
    """Show in the run what an earlier one has done."""
    message = f"{name}: {done:,} of {total:,} were done before; nothing was computed"
    return Completed(name="Cached", message=message)


def _look(stage: Task[Any, Any], calls: Sequence[Call]) -> list[_Found]:
    """See what each call would compute, without computing it."""
    with ThreadPoolExecutor(_LOOKING) as threads:
        return list(threads.map(lambda call: _look_at(stage, call), calls))


def _look_at(stage: Task[Any, Any], call: Call) -> _Found:
    store, *others = call
    plan = PlanningStore.of(store)
    result = stage.fn(plan, *others)
    needs = [step.job.need for step in plan.steps if not step.done]
    return _Found(result, not needs, needs[0] if needs else "machine")


def _give_up(running: Collection[Future[Any]]) -> None:
    """Start nothing more; what runs ends in its own time."""
    for future in running:
        future.cancel()
