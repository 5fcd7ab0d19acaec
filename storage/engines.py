"""A job's computation in, done: in this process, in child processes, or on the workers of a Dask cluster."""

from __future__ import annotations

import importlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, Self, TypeVar

from storage.answers import Answer, answer, packed
from storage.children import run_in_child
from storage.credentials import in_force
from storage.errors import ConfigError, CorpusError, SourceError, TimeLimitError
from storage.jobs import Need

_Result = TypeVar("_Result")
_logger = logging.getLogger(__name__)
_whole_machine = threading.Lock()  # what uses all cores, or the GPU, of this process' machine goes one at a time

_LOOK_SECONDS = 15.0  # how often somebody looks whether the workers are still there
_BEGUN = "babelmill-begun"  # topic of the events in which workers tell that they begin with a job
_RESTART_SECONDS = 5.0  # for the worker's own end; then its nanny kills it


class Engine(Protocol):
    """Where computations run. It is called from many threads at once, each of which supervises one job."""

    def run(self, need: Need, function: Callable[..., _Result], *args: object) -> _Result:
        """Call a module-level function with picklable arguments, where there is room for its need, and wait.

        Raises:
            SourceError: if the process that computes dies.
            TimeLimitError: if it takes longer than the engine allows.
        """
        ...

    def at_once(self, need: Need) -> int:
        """Return how many calls of a kind are worth having in flight."""
        ...


@dataclass(frozen=True)
class Local:
    """This machine: what needs a core goes to child processes; what needs the machine stays here, one at a time.

    Args:
        workers: child processes; 0: everything in this process.
        seconds_limit: how long a call may take in a child process; what runs in this process cannot be ended.
    """

    workers: int = 0
    seconds_limit: float | None = None

    def run(self, need: Need, function: Callable[..., _Result], *args: object) -> _Result:
        """Call a function here or in a child process."""
        if need != "core":
            return _alone(function, *args)
        if self.workers:
            return run_in_child(function, *args, workers=self.workers, seconds_limit=self.seconds_limit)
        return function(*args)

    def at_once(self, need: Need) -> int:
        """Return the number of child processes, or 1 for what has the machine for itself."""
        return max(1, self.workers) if need == "core" else 1


@dataclass(frozen=True)
class Workers:
    """A cluster that is there: where its scheduler is, and what to do with it.

    Args:
        scheduler: an address, or a cluster object of Dask's.
        close: ends what was started.
        tend: replaces workers that were lost, if nobody else does.
    """

    scheduler: Any
    close: Callable[[], None] = lambda: None
    tend: Callable[[], None] = lambda: None


def _alone(function: Callable[..., _Result], *args: object) -> _Result:
    with _whole_machine:
        return function(*args)


def _answer_in_time(call: bytes) -> Answer:
    """Do a call on a Dask worker, after telling the scheduler that its time begins: later a stuck worker could not."""
    distributed: Any = importlib.import_module("distributed")
    worker = distributed.get_worker()
    begun = {"key": worker.get_current_task(), "worker": worker.address}
    distributed.utils.sync(worker.loop, worker.scheduler.log_event, topic=_BEGUN, msg=begun)
    return answer(call)


class Dask:
    """The workers of a Dask cluster, connected to at the first call.

    A call of need "core", "machine" or "gpu" asks for one unit of the resource CORE, MACHINE or GPU where workers
    announce it, and goes to any worker where none does.

    Args:
        open_workers: starts or finds the cluster.
        seconds_limit: how long a call may take from when a worker begins with it; then that worker is restarted.
        expected: calls of each kind that are worth having in flight when all workers that were asked for have come.
        announced: resources that workers will announce, though they may not be there yet.
    """

    def __init__(
        self,
        open_workers: Callable[[], Workers],
        seconds_limit: float | None = None,
        expected: Mapping[Need, int] | None = None,
        announced: frozenset[str] = frozenset(),
    ) -> None:
        self._open_workers = open_workers
        self._seconds_limit = seconds_limit
        self._expected = dict(expected or {})
        self._announced = set(announced)
        self._distributed: Any = importlib.import_module("distributed")
        self._lock = threading.Lock()
        self._workers: Workers | None = None
        self._client: Any = None
        self._begun: dict[str, tuple[str, float]] = {}  # job -> its worker, and when it began by our clock
        self._looked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an engine stays in the process that made it; send store.bare()")

    def run(self, need: Need, function: Callable[..., _Result], *args: object) -> _Result:
        """Call a function on a worker."""
        client = self._connected()
        call = packed(in_force(), (function, *args) if need == "core" else (_alone, function, *args))
        key = f"{need}-{uuid.uuid4().hex}"
        do = answer if self._seconds_limit is None else _answer_in_time
        future = client.submit(do, call, key=key, pure=False, retries=0, resources=self._asked(client, need))
        try:
            result: _Result = self._wait(client, future).open()
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"resources.cluster: a worker cannot import {error.name}; the workers need the same babelmill, "
                "with the same extras, as the process that runs the flow"
            ) from error
        finally:
            self._begun.pop(key, None)
            with suppress(Exception):  # the scheduler may be gone; nobody asks for this result any more
                future.release()
        return result

    def at_once(self, need: Need) -> int:
        """Return the number of workers' threads, of their resource, or of workers if one job fills a worker.

        A cluster that this engine starts is not started for the question.
        """
        if self._workers is None and need in self._expected:
            return self._expected[need]
        workers = self._present(self._connected())
        if name := self._resource(need):
            there = sum(int(one["resources"].get(name, 0)) for one in workers)
        else:
            there = sum(one["nthreads"] for one in workers) if need == "core" else len(workers)
        return max(1, there, self._expected.get(need, 0))

    def close(self) -> None:
        """Let go of the cluster, and end it if this engine started it."""
        with self._lock:
            client, workers = self._client, self._workers
            self._client = self._workers = None
        if client is not None:
            client.close()
        if workers is not None:
            workers.close()

    def _connected(self) -> Any:
        """Return the client; a new one if the scheduler was lost."""
        with self._lock:
            if self._workers is None:
                self._workers = self._open_workers()
            if self._client is None or self._client.status not in ("running", "connecting"):
                scheduler = self._workers.scheduler
                try:
                    self._client = self._distributed.Client(scheduler, set_as_default=False)
                except (OSError, TimeoutError) as error:
                    raise SourceError(f"no Dask scheduler answers at {scheduler}: {error}") from error
                self._client.subscribe_topic(_BEGUN, self._note)
            return self._client

    def _note(self, event: tuple[float, dict[str, str]]) -> None:
        self._begun[event[1]["key"]] = (event[1]["worker"], time.monotonic())

    def _present(self, client: Any) -> list[dict[str, Any]]:
        workers = list(client.scheduler_info(n_workers=-1)["workers"].values())
        self._announced.update(name for one in workers for name in one["resources"])
        return workers

    def _resource(self, need: Need) -> str:
        """Return the resource to ask for; a GPU job takes a machine where no worker announces a GPU."""
        names = {"core": ["CORE"], "machine": ["MACHINE"], "gpu": ["GPU", "MACHINE"]}[need]
        return next((name for name in names if name in self._announced), "")

    def _asked(self, client: Any, need: Need) -> dict[str, float]:
        if not self._announced:
            self._present(client)
        name = self._resource(need)
        return {name: 1.0} if name else {}

    def _wait(self, client: Any, future: Any) -> Answer:
        """Wait for an answer, looking after the workers and the time meanwhile."""
        limit = self._seconds_limit
        pause = _LOOK_SECONDS if limit is None else min(_LOOK_SECONDS, limit / 20)
        while True:
            try:
                found: Answer = future.result(timeout=pause)
            except TimeoutError:  # the client's own; one of the function comes inside the answer
                self._tend(client)
                worker, begun = self._begun.get(future.key, ("", 0.0))
                if limit is not None and worker and time.monotonic() - begun > limit:
                    raise _end(client, future, worker, limit) from None
            except self._distributed.KilledWorker as error:
                where = getattr(error.last_worker, "address", error.last_worker)
                raise SourceError(f"a worker process died (on {where}); it may have run out of memory") from error
            except (CancelledError, OSError) as error:
                raise SourceError(f"the Dask scheduler was lost: {error}") from error
            else:
                return found

    def _tend(self, client: Any) -> None:
        """Have lost workers replaced, and say so if there are none; one of the waiting threads does it for all."""
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_SECONDS or self._workers is None:
                return
            self._looked, workers = time.monotonic(), self._workers
        workers.tend()
        if not self._present(client):
            _logger.warning("no Dask worker is there yet; jobs wait for one")


def _end(client: Any, future: Any, worker: str, seconds: float) -> CorpusError:
    """End a job that takes too long: nothing but the end of its process stops a thread."""
    future.cancel(reason="time limit", msg="resources.shard_minutes")
    try:
        client.restart_workers([worker], timeout=_RESTART_SECONDS, raise_for_error=False)
    except ValueError as error:  # it has no nanny
        _logger.warning("%s goes on with a job that nobody waits for: %s", worker, error)
    return TimeLimitError.after(seconds)
