"""One shared pool of child processes for work that holds the GIL; a child that dies fails only its own call."""

from __future__ import annotations

import atexit
import fcntl
import importlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from storage.answers import Answer, answer, packed
from storage.credentials import in_force
from storage.errors import SourceError, TimeLimitError

_Result = TypeVar("_Result")

# What the fork server imports once so that no child does: together most of a child's start. Only what starts no thread
# when it is imported, because a fork copies the locks of threads, not the threads. Hence not polars (starts one) nor
# anything that imports it (storage.tables, most stages), nor pyarrow (jemalloc's).
_ONE_THREAD = "storage.one_thread"  # first: BLAS and numba look when they are loaded
_PRELOADED = (_ONE_THREAD, "numpy", "numba", "prefect", "lxml.html", "trafilatura")

_pool: ProcessPool | None = None
_lock = threading.Lock()


def run_in_child(
    function: Callable[..., _Result], *args: object, workers: int, seconds_limit: float | None = None
) -> _Result:
    """Call a module-level function in a child process and wait for its result.

    Args:
        function: picklable by name.
        args: picklable arguments; references rather than tables.
        workers: size of the pool; the first call decides.
        seconds_limit: how long the call may take, from when a child begins with it; then that child is killed.

    Raises:
        SourceError: if the child died (killed, out of memory), which a retry may cure.
        TimeLimitError: if the call took longer than it may.
    """
    try:
        found: Answer = (
            _shared_pool(workers).submit(answer, seconds_limit, packed(in_force(), (function, *args))).result()
        )
    except ProcessExpired as error:
        raise SourceError(
            f"a worker process died (exit code {error.exitcode}); it may have run out of memory"
        ) from error
    except TimeoutError as error:  # the pool's; one of the function's own comes inside the answer
        raise TimeLimitError.after(seconds_limit) from error
    result: _Result = found.open()
    return result


def _shared_pool(workers: int) -> ProcessPool:
    global _pool  # noqa: PLW0603 - one pool per process is the point
    with _lock:
        if _pool is None or not _pool.active:
            # forkserver: children start clean, without the threads and locks of BLAS, torch and Prefect
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(list(_PRELOADED))
            _pool = ProcessPool(max_workers=workers, max_tasks=0, initializer=_begin, context=context)
            atexit.register(stop_children)
        return _pool


def stop_children() -> None:
    """End the pool's processes, finished or not."""
    global _pool  # noqa: PLW0603
    with _lock:
        if _pool is not None:
            _pool.stop()  # type: ignore[no-untyped-call]  # pebble's own omission
            _pool.join()
            _pool = None


def _begin() -> None:
    importlib.import_module(_ONE_THREAD)  # once more, for a fork server that somebody else had started
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A child that is stuck in its work would never notice that nobody waits for it any more. The system does: when
        # the parent's end of this pipe closes, it sends SIGIO, whose default is to end the process.
        fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
