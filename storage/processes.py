"""One shared pool of child processes for work that holds the GIL; a child that dies fails only its own call."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from storage.errors import SourceError

_Result = TypeVar("_Result")

_pool: ProcessPool | None = None
_lock = threading.Lock()


def run_in_child(function: Callable[..., _Result], *args: object, workers: int) -> _Result:
    """Call a module-level function in a child process and wait for its result.

    Args:
        function: picklable by name.
        args: picklable arguments; references rather than tables.
        workers: size of the pool; the first call decides.

    Raises:
        SourceError: if the child died (killed, out of memory), which a retry may cure.
    """
    try:
        result: _Result = _shared_pool(workers).submit(function, None, *args).result()
    except ProcessExpired as error:
        raise SourceError(
            f"a worker process died (exit code {error.exitcode}); it may have run out of memory"
        ) from error
    return result


def _shared_pool(workers: int) -> ProcessPool:
    global _pool  # noqa: PLW0603 - one pool per process is the point
    with _lock:
        if _pool is None or not _pool.active:
            # forkserver: children start clean, without the threads and locks of BLAS, torch and Prefect
            context = multiprocessing.get_context("forkserver")
            _pool = ProcessPool(max_workers=workers, max_tasks=0, initializer=_one_thread, context=context)
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


def _one_thread() -> None:
    """Keep every numeric library in a child to one thread; the pool is the parallelism."""
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "NUMBA_NUM_THREADS",
    ):
        os.environ[name] = "1"
