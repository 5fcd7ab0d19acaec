"""Settings of clusters to engines: started for real where that is possible here, and ended again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from distributed import LocalCluster
from pydantic import TypeAdapter, ValidationError

from flows.clusters import ClusterSettings, _slurm, engine_of
from storage.errors import ConfigError

ADAPTER = TypeAdapter(ClusterSettings)
TELL = "(__import__('os').getpid(), __import__('os').environ.get('CUDA_VISIBLE_DEVICES'), __import__('os').environ.get('PLACE'))"


def engine(**settings):
    return engine_of(ADAPTER.validate_python(settings))


def alive(process):
    return Path("/proc", str(process)).exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kind": "local", "workers": 0}, "greater than or equal to 1"),
        ({"kind": "local", "workers": 1, "gpus": 2}, "2 GPUs need as many workers"),
        ({"kind": "local", "memory_limit": "lots"}, "should match pattern"),
        ({"kind": "address", "address": "scheduler:8786"}, "should match pattern"),
        ({"kind": "address", "address": "tcp://user:secret@scheduler:8786"}, "should match pattern"),
        ({"kind": "slurm", "jobs": 3, "max_jobs": 2}, "max_jobs: 2 is less than jobs, 3"),
        ({"kind": "kubernetes"}, "Field required"),
        ({"kind": "kubernetes", "image": "x", "max_workers": 1}, "max_workers: 1 is less than workers, 2"),
        ({"kind": "mesos"}, "does not match any of the expected tags"),
    ],
)
def test_wrong_settings_are_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        ADAPTER.validate_python(settings)


@pytest.mark.parametrize(
    ("settings", "package", "extra"),
    [
        ({"kind": "local"}, "distributed", "dask"),
        ({"kind": "address", "address": "tcp://127.0.0.1:1"}, "distributed", "dask"),
        ({"kind": "slurm"}, "dask_jobqueue", "slurm"),
        ({"kind": "kubernetes", "image": "babelmill"}, "dask_kubernetes", "kubernetes"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, settings, package, extra):
    monkeypatch.setitem(sys.modules, package, None)  # what Python does for a package that cannot be imported
    with pytest.raises(ConfigError, match=rf"{package} is not installed; pip install 'babelmill\[{extra}\]'"):
        engine(**settings)


def test_without_slurm_here_there_is_no_slurm_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no sbatch here"):
        engine(kind="slurm")


def test_jobs_for_a_gpu_go_where_one_is_and_others_keep_off():
    with engine(kind="local", workers=2, gpus=1, memory_limit="2GB") as two:
        two.run("core", eval, "0")
        assert [two.at_once(need) for need in ("core", "machine", "gpu")] == [1, 1, 1]
        with ThreadPoolExecutor(6) as threads:
            done = threads.map(lambda need: (need, *two.run(need, eval, TELL)), ["gpu", "core", "machine"] * 4)
            where = {(need, process, device) for need, process, device, _ in done}
        assert len(where) == 3
        assert {device for need, _, device in where if need == "gpu"} == {"0"}
        assert {device for need, _, device in where if need != "gpu"} == {os.environ.get("CUDA_VISIBLE_DEVICES")}
        processes = {process for _, process, _ in where}
        assert len(processes) == 2
    assert not any(map(alive, processes))


def test_a_cluster_of_somebody_else_is_left_as_it_was():
    options = {
        "dashboard_address": "127.0.0.1:0",
        "worker_dashboard_address": "127.0.0.1:0",
        "silence_logs": "CRITICAL",
    }
    with LocalCluster(n_workers=1, threads_per_worker=2, memory_limit=0, **options) as theirs:
        for _ in range(2):
            with engine(kind="address", address=theirs.scheduler_address) as one:
                process, _, _ = one.run("gpu", eval, TELL)  # nobody announces a GPU: any worker will do
                assert one.at_once("core") == 2
                assert one.at_once("machine") == 1
            assert alive(process)


SBATCH = """#!{python}
import pathlib, subprocess, sys
here, script = pathlib.Path({folder!r}), pathlib.Path(sys.argv[-1]).read_text()
if "-p refused" in script:
    sys.exit("sbatch: error: invalid partition specified: refused")
if sys.argv[1] == "--test-only":
    sys.exit()
number = str(len(list(here.glob("*.sh"))) + 1)
(here / (number + ".sh")).write_text(script)
with open(here / (number + ".log"), "wb") as log:
    job = subprocess.Popen(["bash", here / (number + ".sh")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           start_new_session=True)
(here / (number + ".group")).write_text(str(job.pid))
print("Submitted batch job " + number)
"""
SCANCEL = """#!{python}
import os, pathlib, signal, sys
try:
    os.killpg(int((pathlib.Path({folder!r}) / (sys.argv[-1] + ".group")).read_text()), signal.SIGKILL)
except ProcessLookupError:
    pass
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Folder with the jobs of a Slurm that runs every job at once, on this machine."""
    (tmp_path / "bin").mkdir()
    (jobs := tmp_path / "jobs").mkdir()
    for name, program in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).write_text(program.format(python=sys.executable, folder=str(jobs)))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    yield jobs
    for group in jobs.glob("*.group"):
        subprocess.run([tmp_path / "bin" / "scancel", group.stem], check=True)


SLURM = {
    "kind": "slurm",
    "queue": "long",
    "account": "corpora",
    "cores": 1,
    "memory": "1GB",
    "walltime": "01:00:00",
    "interface": "lo",
    "directives": ["--constraint=zen4"],
    "prologue": ["export PLACE=node"],
}


def test_slurm_jobs_are_submitted_work_and_are_cancelled(slurm, tmp_path):
    with engine(**SLURM, scratch=str(tmp_path), gpus={"cores": 2, "memory": "1GB"}) as both:
        assert both.at_once("core") == 1
        core, _, place = both.run("core", eval, TELL)
        gpu, _, _ = both.run("gpu", eval, TELL)
        assert place == "node"
        assert core != gpu
    scripts = {("--gres=gpu:1" in text): text for text in (path.read_text() for path in slurm.glob("*.sh"))}
    for line in ("-p long", "-A corpora", "-t 01:00:00", "--cpus-per-task=1", "--mem=954M", "--constraint=zen4"):
        assert f"#SBATCH {line}\n" in scripts[False]
    assert "export POLARS_MAX_THREADS=1\n" in scripts[False]
    assert "export POLARS_MAX_THREADS=2\n" in scripts[True]
    deadline = time.monotonic() + 20
    while alive(core) or alive(gpu):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_slurm_job_that_is_lost_is_replaced(slurm, tmp_path, wait_until):
    workers = _slurm(ADAPTER.validate_python(SLURM | {"scratch": str(tmp_path)}))
    try:
        names = workers.scheduler.scheduler_info["workers"]
        wait_until(lambda: names, 60, "the first worker")
        workers.tend()
        first = set(names)
        subprocess.run([tmp_path / "bin" / "scancel", "1"], check=True)
        wait_until(lambda: not first & set(names), 60, "the loss of it")
        workers.tend()
        wait_until(lambda: names, 60, "another one")
        assert {path.name for path in slurm.glob("*.sh")} == {"1.sh", "2.sh"}
    finally:
        workers.close()


@pytest.fixture
def operator(monkeypatch):
    """What the Dask operator of Kubernetes was asked for; its pods are processes of this machine."""
    asked = {}

    class KubeCluster(LocalCluster):
        def __init__(self, **options):
            asked.update(options)
            local = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
            super().__init__(n_workers=1, threads_per_worker=1, memory_limit=0, silence_logs="CRITICAL", **local)

        def adapt(self, **options):
            asked["adapt"] = options

        def add_worker_group(self, name, **options):
            asked[name] = options

    package, module = ModuleType("dask_kubernetes"), ModuleType("dask_kubernetes.operator")
    module.KubeCluster = KubeCluster
    monkeypatch.setitem(sys.modules, "dask_kubernetes", package)
    monkeypatch.setitem(sys.modules, "dask_kubernetes.operator", module)
    return asked


def test_pods_of_kubernetes_are_asked_for_and_work(operator):
    with engine(kind="kubernetes", image="babelmill:1", namespace="corpora", workers=2, max_workers=5) as pods:
        assert [pods.at_once(need) for need in ("core", "machine", "gpu")] == [5, 5, 5]
        assert not operator  # nothing was started for the question
        process, _, _ = pods.run("core", eval, TELL)
    assert not alive(process)
    size = {"cpu": "1", "memory": "4Gi"}
    assert (operator["image"], operator["namespace"], operator["n_workers"]) == ("babelmill:1", "corpora", 2)
    assert operator["resources"] == {"requests": size, "limits": size}
    assert operator["env"]["POLARS_MAX_THREADS"] == "1"
    assert operator["adapt"] == {"minimum": 2, "maximum": 5}
    assert operator["name"].startswith("babelmill-")


def test_pods_with_a_gpu_are_a_group_of_their_own(operator):
    with engine(kind="kubernetes", image="babelmill:1", gpus=3) as pods:
        assert pods.at_once("gpu") == 3
        pods._connected()
    assert operator["gpu"]["n_workers"] == 3
    assert operator["gpu"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert operator["gpu"]["worker_command"][-1] == "GPU=1"
    assert operator["worker_command"][-1] == "CORE=1,MACHINE=1"


def test_what_slurm_refuses_is_told_at_once(slurm):
    with (
        engine(**SLURM | {"queue": "refused"}) as one,
        pytest.raises(ConfigError, match=r"Slurm does not take such a job: .*invalid partition specified"),
    ):
        one.run("core", eval, "0")
