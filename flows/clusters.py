"""A cluster's settings in, an engine that computes on it out: here, at an address, under Slurm, on Kubernetes."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from typing import Any

from flows.cluster_settings import (
    ClusterAddress,
    ClusterSettings,
    KubernetesCluster,
    LocalCluster,
    SlurmCluster,
    SlurmGpus,
)
from storage.engines import Dask, Workers
from storage.errors import ConfigError, SourceError
from storage.jobs import Need
from storage.one_thread import NAMES

__all__ = ["ClusterSettings", "engine_of"]

# Of a scheduler that we start. A job whose worker died is ours to try again, as often as any other (Dask would give it
# four workers each time). How long jobs take is not known before some have ended; from a minute on, a scheduler that
# may ask for more workers asks for all of them at once.
_ALLOWED_FAILURES = "distributed.scheduler.allowed-failures"
_SCHEDULER = {
    _ALLOWED_FAILURES: 0,
    "distributed.scheduler.default-task-durations": {"core": "60s", "machine": "60s", "gpu": "60s"},
}


def engine_of(cluster: ClusterSettings, seconds_limit: float | None = None) -> Dask:
    """Return the engine for a cluster: a context manager that ends, in the end, what it started, and nothing else.

    Raises:
        ConfigError: if a package is missing, or there is no Slurm here.
    """
    _require("distributed", "dask")
    match cluster:
        case LocalCluster():
            others = cluster.workers - cluster.gpus
            workers = others or cluster.workers
            expected = _expected(workers * cluster.threads_per_worker, workers, cluster.gpus)
            return Dask(lambda: _local(cluster), seconds_limit, expected, _announced(cluster.gpus, others))
        case ClusterAddress():
            return Dask(lambda: Workers(cluster.address), seconds_limit)
        case SlurmCluster():
            _require("dask_jobqueue", "slurm")
            if shutil.which("sbatch") is None:
                raise ConfigError("resources.cluster: there is no sbatch here; run this on a node of the Slurm cluster")
            gpus = cluster.gpus.jobs if cluster.gpus else 0
            expected = _expected(cluster.most * cluster.cores, cluster.most * cluster.cores, gpus)
            return Dask(lambda: _slurm(cluster), seconds_limit, expected, _announced(gpus))
        case KubernetesCluster():
            _require("dask_kubernetes", "kubernetes")
            expected = _expected(cluster.most, cluster.most, cluster.gpus)
            return Dask(lambda: _kubernetes(cluster), seconds_limit, expected, _announced(cluster.gpus))


def _require(package: str, extra: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"resources.cluster: {package} is not installed; pip install 'babelmill[{extra}]' here and on the workers"
        ) from error


def _expected(threads: int, workers: int, gpus: int) -> dict[Need, int]:
    return {"core": threads, "machine": workers, "gpu": gpus or workers}


def _resources(gpu: bool, threads: int = 1) -> dict[str, int]:  # noqa: FBT001 - one of two kinds
    """Return what a worker announces where some have GPUs: the others' jobs keep off these."""
    return {"GPU": 1} if gpu else {"CORE": threads, "MACHINE": 1}


def _announced(gpus: int, others: int = 1) -> frozenset[str]:
    return (
        frozenset(_resources(gpu=True)) | (frozenset(_resources(gpu=False)) if others else frozenset())
        if gpus
        else frozenset()
    )


def _started(start: Callable[[], Any]) -> Any:
    """Start a cluster whose scheduler is in this process."""
    dask: Any = importlib.import_module("dask")
    with dask.config.set(_SCHEDULER):
        return start()


def _local(cluster: LocalCluster) -> Workers:
    distributed: Any = importlib.import_module("distributed")
    total = importlib.import_module("distributed.system").MEMORY_LIMIT
    workers = {}
    for number in range(cluster.workers):
        has_gpu = number < cluster.gpus
        environment = dict.fromkeys(NAMES, str(cluster.threads_per_worker))
        workers[number] = {
            "cls": distributed.Nanny,
            "options": {
                "nthreads": cluster.threads_per_worker,
                "memory_limit": cluster.memory_limit or total // cluster.workers,
                "env": environment | ({"CUDA_VISIBLE_DEVICES": str(number)} if has_gpu else {}),
                "resources": _resources(has_gpu, cluster.threads_per_worker) if cluster.gpus else {},
                "silence_logs": "ERROR",
            },
        }
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": distributed.Scheduler, "options": options}
    made = _started(lambda: distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs="error"))
    return Workers(made, close=made.close)


def _slurm(cluster: SlurmCluster) -> Workers:
    """Submit the jobs; those that end while there is work are replaced, except those with GPUs."""
    common = {
        "account": cluster.account,
        "walltime": cluster.walltime,
        "python": cluster.python,
        "interface": cluster.interface,
        "local_directory": cluster.scratch,
        "log_directory": cluster.log_folder,
    }
    made = _started(lambda: _slurm_scheduler(cluster, common))
    extra: list[Any] = []

    def close() -> None:
        for job in extra:
            made.sync(job.close)
        made.close()

    try:
        _check(made.job_script())
        if cluster.gpus:
            for number in range(cluster.gpus.jobs):
                extra.append(_gpu_job(cluster, cluster.gpus, made, {**common, "name": f"gpu-{number}"}))
                _check(extra[-1].job_script())
                made.sync(extra[-1].start)
    except ConfigError:
        close()
        raise
    made.adapt(Adaptive=_sparing_gpus(), minimum_jobs=cluster.jobs, maximum_jobs=cluster.most)
    return Workers(made, close=close, tend=_Replacement(made))


def _slurm_scheduler(cluster: SlurmCluster, common: dict[str, Any]) -> Any:
    """Start a scheduler that will submit jobs, and has not submitted one."""
    return importlib.import_module("dask_jobqueue").SLURMCluster(
        **common,
        queue=cluster.queue,
        cores=cluster.cores,
        memory=cluster.memory,
        processes=cluster.cores,
        job_extra_directives=cluster.directives,
        job_script_prologue=[*_exports(1), *cluster.prologue],
        worker_extra_args=_announcing(gpu=False) if cluster.gpus else [],
        scheduler_options={"dashboard_address": ":0"},
        silence_logs="error",
    )


def _check(script: str) -> None:
    """Ask Slurm whether it would take a job: once work has begun, a refusal is only seen as workers that never come."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        asked = subprocess.run(["sbatch", "--test-only", file.name], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if asked.returncode:
        raise ConfigError(f"resources.cluster: Slurm does not take such a job: {asked.stderr.strip()}")


def _gpu_job(cluster: SlurmCluster, gpus: SlurmGpus, made: Any, common: dict[str, Any]) -> Any:
    return importlib.import_module("dask_jobqueue.slurm").SLURMJob(
        made.scheduler_address,
        **common,
        config_name="slurm",
        queue=gpus.queue or cluster.queue,
        cores=gpus.cores,
        memory=gpus.memory,
        processes=1,
        job_extra_directives=[*cluster.directives, *gpus.directives],
        job_script_prologue=[*_exports(gpus.cores), *cluster.prologue],
        worker_extra_args=_announcing(gpu=True),
    )


def _exports(threads: int) -> list[str]:
    return [f"export {name}={threads}" for name in NAMES]


def _announcing(*, gpu: bool) -> list[str]:
    return ["--resources", ",".join(f"{name}={count}" for name, count in _resources(gpu).items())]


def _sparing_gpus() -> Any:
    """Return Dask's scaling policy, but one that does not send idle GPU workers away, which it did not ask for."""
    policy: Any = importlib.import_module("distributed").Adaptive

    class SparingGpus(policy):  # type: ignore[misc]
        async def workers_to_close(self, target: int) -> list[str]:
            names = await super().workers_to_close(target)
            return [name for name in names if not str(name).startswith("gpu-")]

    return SparingGpus


class _Replacement:
    """Forgets Slurm jobs that were running and are gone (time over, node lost), so that others are submitted."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._seen: set[str] = set()

    def __call__(self) -> None:
        self._cluster.loop.add_callback(self._forget_lost)  # the cluster's own thread

    def _forget_lost(self) -> None:
        there = {str(worker["name"]) for worker in self._cluster.scheduler_info["workers"].values()}
        jobs = self._cluster.worker_spec
        alive = {name for name, job in jobs.items() if any(f"{name}{end}" in there for end in job.get("group", [""]))}
        for name in (self._seen & set(jobs)) - alive:
            del jobs[name]
        self._seen = alive


def _kubernetes(cluster: KubernetesCluster) -> Workers:
    operator: Any = importlib.import_module("dask_kubernetes.operator")
    name = f"{cluster.name}-{uuid.uuid4().hex[:8]}"  # one of the same name would be joined, and ended with this run
    size = {"cpu": str(cluster.cores), "memory": cluster.memory}
    worker = ["dask", "worker", "--nthreads", "1"]
    environment = dict.fromkeys(NAMES, str(cluster.cores))
    environment["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = str(_SCHEDULER[_ALLOWED_FAILURES])
    try:
        made = operator.KubeCluster(
            name=name,
            namespace=cluster.namespace,
            image=cluster.image,
            n_workers=cluster.workers,
            resources={"requests": size, "limits": size},
            env=environment,
            worker_command=[*worker, *_announcing(gpu=False)] if cluster.gpus else worker,
            quiet=True,
        )
    except Exception as error:  # the operator, kr8s and httpx have classes of their own, each of them
        raise SourceError(f"resources.cluster: the Dask operator did not start {name}: {error}") from error
    if cluster.max_workers:
        made.adapt(minimum=cluster.workers, maximum=cluster.max_workers)
    if cluster.gpus:
        made.add_worker_group(
            "gpu",
            n_workers=cluster.gpus,
            resources={"requests": size, "limits": {**size, cluster.gpu_resource: "1"}},
            worker_command=[*worker, *_announcing(gpu=True)],
        )
    return Workers(made, close=made.close)
