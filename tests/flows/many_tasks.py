"""A flow of many small tasks, in a process of its own: when it ends, nothing is on its way to the server any more."""

from __future__ import annotations

import sys

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner


@task(cache_policy=NO_CACHE)
def double(number: int) -> int:
    return 2 * number


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def many_tasks(count: int) -> tuple[str, int]:
    futures = [double.submit(number) for number in range(count)]
    return str(FlowRunContext.get().flow_run.id), sum(future.result() for future in futures)


if __name__ == "__main__":
    sys.stdout.write(" ".join(map(str, many_tasks(int(sys.argv[1])))))
