"""Which cluster work runs on, and how much of it: what a YAML file and the UI's form say under resources.cluster."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from storage.fingerprint import Settings

_Memory = Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")]


class LocalCluster(Settings):
    """Dask workers on this machine: for a try, and where one machine is all there is."""

    kind: Literal["local"] = "local"
    workers: Annotated[int, Field(ge=1, le=1024, description="Worker processes")] = 2
    threads_per_worker: Annotated[
        int, Field(ge=1, le=256, description="Jobs at once in a worker; text stages gain nothing from more than 1")
    ] = 1
    memory_limit: Annotated[
        _Memory | None,
        Field(description='Memory of a worker, as "8GB"; a worker that needs more is ended. null: a share'),
    ] = None
    gpus: Annotated[int, Field(ge=0, le=64, description="Workers with a GPU each, the first of them")] = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.gpus > self.workers:
            raise ValueError(f"gpus: {self.gpus} GPUs need as many workers, and there are {self.workers}")
        return self


class ClusterAddress(Settings):
    """A Dask cluster that somebody else runs, and goes on running."""

    kind: Literal["address"] = "address"
    address: Annotated[
        str, Field(pattern=r"^[a-z]+://[^@]+$", description='Its scheduler, as "tcp://scheduler:8786" or "tls://…"')
    ]


class SlurmGpus(Settings):
    """Slurm jobs with a GPU each, for what encodes and trains."""

    jobs: Annotated[int, Field(ge=1, description="How many")] = 1
    cores: Annotated[int, Field(ge=1, description="Cores of each")] = 8
    memory: Annotated[_Memory, Field(description='Memory of each, as "32GB"')] = "32GB"
    queue: Annotated[str | None, Field(description="Partition; null: that of the other jobs")] = None
    directives: Annotated[list[str], Field(description="What asks for the GPU, each line of #SBATCH")] = [
        "--gres=gpu:1"
    ]


class SlurmCluster(Settings):
    """Workers that are jobs of a Slurm cluster, submitted from where the flow runs."""

    kind: Literal["slurm"] = "slurm"
    queue: Annotated[str | None, Field(description="Partition (sbatch -p); null: the site's default")] = None
    account: Annotated[str | None, Field(description="Account (sbatch -A)")] = None
    cores: Annotated[int, Field(ge=1, le=1024, description="Cores of a job; a worker process for each")] = 16
    memory: Annotated[_Memory, Field(description='Memory of a job, as "64GB", shared out among its workers')] = "64GB"
    walltime: Annotated[str, Field(pattern=r"^[\d:-]+$", description="Time of a job; ended ones are replaced")] = (
        "04:00:00"
    )
    jobs: Annotated[int, Field(ge=1, description="Jobs, or the fewest if max_jobs is given")] = 1
    max_jobs: Annotated[int | None, Field(ge=1, description="The most jobs, as work asks for them; null: jobs")] = None
    directives: Annotated[list[str], Field(description='More lines of #SBATCH, as "--constraint=zen4"')] = []
    prologue: Annotated[
        list[str], Field(description='Shell lines before a worker starts, as "source /shared/venv/bin/activate"')
    ] = []
    python: Annotated[str | None, Field(description="Python on the nodes; null: the path of this one")] = None
    interface: Annotated[str | None, Field(description='Network between the nodes, as "ib0"')] = None
    scratch: Annotated[str | None, Field(description="Fast local folder on the nodes")] = None
    log_folder: Annotated[str | None, Field(description="Shared folder for what the jobs print")] = None
    gpus: Annotated[SlurmGpus | None, Field(description="A second set of jobs, with GPUs")] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_jobs is not None and self.max_jobs < self.jobs:
            raise ValueError(f"max_jobs: {self.max_jobs} is less than jobs, {self.jobs}")
        return self

    @property
    def most(self) -> int:
        """The most jobs without a GPU that there will be."""
        return self.max_jobs or self.jobs


class KubernetesCluster(Settings):
    """Workers that are pods, made by the Dask operator, which the cluster must have installed."""

    kind: Literal["kubernetes"] = "kubernetes"
    image: Annotated[str, Field(min_length=1, description="Image with this version of babelmill[dask]")]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$", description="What the pods are called")] = "babelmill"
    namespace: Annotated[str | None, Field(description="Namespace; null: the current one")] = None
    workers: Annotated[int, Field(ge=1, description="Pods, or the fewest if max_workers is given")] = 2
    max_workers: Annotated[int | None, Field(ge=1, description="The most pods, as work asks for them")] = None
    cores: Annotated[int, Field(ge=1, description="Cores of a pod; it does one job at a time")] = 1
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[KMGT]i?$", description='Memory of a pod, as "4Gi"')] = "4Gi"
    gpus: Annotated[int, Field(ge=0, description="More pods, with a GPU each")] = 0
    gpu_resource: Annotated[str, Field(description="What the cluster calls a GPU")] = "nvidia.com/gpu"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_workers is not None and self.max_workers < self.workers:
            raise ValueError(f"max_workers: {self.max_workers} is less than workers, {self.workers}")
        return self

    @property
    def most(self) -> int:
        """The most pods without a GPU that there will be."""
        return self.max_workers or self.workers


ClusterSettings = Annotated[
    LocalCluster | ClusterAddress | SlurmCluster | KubernetesCluster, Field(discriminator="kind")
]
