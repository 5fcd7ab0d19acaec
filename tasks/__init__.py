"""How one step runs: a file here is one stage and one Prefect task; the folders here are pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from storage.errors import SourceError

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Retry what the outside world broke; never what was asked wrongly or computed wrongly."""
    return isinstance(state.result(raise_on_failure=False), SourceError)


def stage(task_run_name: str) -> Callable[[Callable[_Args, _Result]], Task[_Args, _Result]]:
    """Make a function a Prefect task: retried with back-off and jitter if the outside world failed.

    The store itself knows what is done, by content and across runs, so Prefect's own result cache stays off.
    """
    return task(
        task_run_name=task_run_name,
        retries=3,
        retry_delay_seconds=exponential_backoff(backoff_factor=1),
        retry_jitter_factor=0.5,
        retry_condition_fn=worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
