"""The engines with their real parts: child processes, Dask workers, and the death of both."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from storage.children import stop_children
from storage.engines import Dask, Local, Workers
from storage.errors import ConfigError, SchemaError, ShardError, SourceError, TimeLimitError
from storage.jobs import Job, Slot
from storage.store import Store

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def jobs():
    """Functions for other processes, which get the path of the moment that they start in."""
    stop_children()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        import child_jobs

        yield child_jobs
        stop_children()


@pytest.fixture(scope="module")
def cluster(jobs):
    """A scheduler and two workers; a job whose worker dies is given back at once."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=0,  # none
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def connected(cluster):
    """An engine that is connected to the cluster and is not its owner."""
    with Dask(lambda: Workers(cluster.scheduler_address)) as engine:
        yield engine


@pytest.fixture
def dask_engine(connected):
    """The same when both workers are well: an earlier test may have killed one, and its successor have just come."""
    deadline, well = time.monotonic() + 60, 0
    while well < 6:
        assert time.monotonic() < deadline, "the workers do not come back"
        try:
            connected.run("core", eval, "__import__('time').sleep(0.02)")
            well += 1
        except SourceError:
            well = 0
    return connected


@pytest.fixture(params=["children", "dask"])
def engine(request):
    """Each of the engines that compute in other processes."""
    return Local(workers=2) if request.param == "children" else request.getfixturevalue("dask_engine")


def test_work_is_done_in_another_process(engine, jobs):
    assert engine.run("core", jobs.process) != os.getpid()
    assert engine.at_once("core") == 2


def test_what_needs_the_machine_stays_here_and_goes_one_at_a_time(jobs):
    engine = Local(workers=2)
    spans = []

    def span(_):
        began = time.perf_counter()
        time.sleep(0.01)
        spans.append((began, time.perf_counter()))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda need: engine.run(need, span, need), ["machine", "gpu"] * 3))
    assert all(end <= begin for (_, end), (begin, _) in zip(sorted(spans), sorted(spans)[1:], strict=False))
    assert engine.run("machine", jobs.process) == engine.run("gpu", jobs.process) == os.getpid()
    assert engine.at_once("machine") == engine.at_once("gpu") == 1


def test_without_workers_everything_is_done_here(jobs):
    assert Local().run("core", jobs.process) == os.getpid()
    assert Local().at_once("core") == 1


@pytest.mark.parametrize(
    ("kind", "text"), [(ValueError, "bad"), (ShardError, "bad file"), (TimeoutError, "its own"), (OSError, "its disk")]
)
def test_an_exception_comes_through_with_its_class_and_its_traceback(engine, jobs, kind, text):
    with pytest.raises(kind, match=text) as caught:
        engine.run("core", jobs.fail, kind, text)
    assert type(caught.value) is kind
    assert "in fail\n    raise kind(text)" in str(caught.value.__cause__)


def test_an_exception_that_cannot_travel_is_told(engine, jobs):
    with pytest.raises(RuntimeError, match="BadTravellerError: this and that"):
        engine.run("core", jobs.fail_oddly)


def test_what_is_logged_elsewhere_is_logged_here_by_the_thread_that_waits(engine, jobs, monkeypatch):
    class Listener(logging.Handler):
        def emit(self, record):
            heard.append((threading.get_ident(), record.getMessage(), record.process != os.getpid()))

    heard, logger = [], logging.getLogger("tasks")
    monkeypatch.setattr(logger, "handlers", [Listener()])
    monkeypatch.setattr(logger, "propagate", False)
    level = logger.level
    try:
        for wanted in (logging.INFO, logging.WARNING):
            logger.setLevel(wanted)
            engine.run("core", jobs.tell)
    finally:
        logger.setLevel(level)
    assert heard == [(threading.get_ident(), "1,000 rows", True)]


@pytest.mark.parametrize(
    "threads",
    [
        "__import__('polars').thread_pool_size()",
        "__import__('pyarrow').cpu_count()",
        "__import__('numba').config.NUMBA_NUM_THREADS",
        "(lambda a: a @ a)(__import__('numpy').ones((600, 600))).size and len(__import__('os').listdir('/proc/self/task')) - BEFORE",
    ],
    ids=["polars", "pyarrow", "numba", "blas"],
)
def test_children_compute_in_one_thread(threads):
    before = "BEFORE := len(__import__('os').listdir('/proc/self/task'))"  # the pool's own, and those of pyarrow
    expected = 0 if "BEFORE" in threads else 1
    assert Local(workers=1).run("core", eval, f"(({before}), {threads})[1]") == expected


def test_stopping_twice_and_starting_again_is_fine(jobs):
    stop_children()
    stop_children()
    assert Local(workers=2).run("core", eval, "6 * 7") == 42


def test_a_child_that_dies_fails_only_its_own_call():
    engine = Local(workers=2)

    def call(number):
        if number == 3:
            with pytest.raises(SourceError, match=r"worker process died \(exit code -9\)"):
                engine.run("core", exec, KILL)
            return None
        return engine.run("core", eval, f"__import__('time').sleep(0.02) or {number}")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [0, 1, 2, None, 4, 5, 6, 7]


def test_jobs_of_killed_dask_workers_are_source_errors_and_right_when_tried_again(dask_engine, jobs, tmp_path):
    failed = []

    def call(number):
        for _ in range(4):
            try:
                return dask_engine.run("core", jobs.work, str(tmp_path), number, 0.2)
            except SourceError as error:
                failed.append(str(error))
        return None

    with ThreadPoolExecutor(4) as threads:
        results = threads.map(call, range(8))
        deadline = time.monotonic() + 30
        while len(running := {path.name.partition("-")[0] for path in tmp_path.iterdir()}) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for process in running:
            os.kill(int(process), signal.SIGKILL)
        assert list(results) == [number**2 for number in range(8)]
    assert failed
    assert all(one.startswith("a worker process died (on tcp://127.0.0.1") for one in failed)
    assert dask_engine.at_once("core") == 2  # their nannies started others


def test_a_child_that_takes_too_long_is_ended_and_the_pool_works_on(jobs):
    engine = Local(workers=2, seconds_limit=3)
    engine.run("core", jobs.process)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(engine.run, "core", eval, "6 * 7")
        with pytest.raises(TimeLimitError, match=r"stopped after 0\.05 minutes.* raise resources\.shard_minutes"):
            engine.run("core", time.sleep, 60)
    assert time.monotonic() - began < 20
    assert other.result() == 42
    assert engine.run("core", eval, "6 * 7") == 42


def test_a_dask_worker_that_takes_too_long_is_restarted_though_it_is_stuck(cluster, jobs, tmp_path):
    with Dask(lambda: Workers(cluster.scheduler_address), seconds_limit=3) as engine:
        with pytest.raises(TimeLimitError, match=r"raise resources\.shard_minutes"):
            engine.run("core", jobs.be_stuck, str(tmp_path))
        [stuck] = tmp_path.iterdir()
        assert not Path("/proc", stuck.name).exists()
        assert engine.run("core", eval, "6 * 7") == 42


def test_a_scheduler_that_is_not_there_is_a_source_error(jobs):
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        Dask(lambda: Workers("tcp://127.0.0.1:9")) as engine,
        pytest.raises(SourceError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
    ):
        engine.run("core", jobs.process)


def test_a_worker_without_our_software_is_named(dask_engine, jobs):
    with pytest.raises(ConfigError, match=r"cannot import nowhere_to_be_found; the workers need the same babelmill"):
        dask_engine.run("core", exec, "import nowhere_to_be_found")


def test_an_engine_of_a_cluster_is_not_sent_anywhere(dask_engine):
    with pytest.raises(TypeError, match="stays in the process"):
        pickle.dumps(dask_engine)


def job(compute, *inputs, need="core"):
    return Job("stage", 1, None, inputs, (Slot("documents", "crawl/file"),), compute, need=need)


def test_a_store_computes_where_its_engine_says(tmp_path, jobs, dask_engine):
    def computed_by(root, engine, need="core"):
        store = Store(str(root), engine=engine)
        [dataset] = store.derive(job(jobs.tell_process, need=need))
        [number] = store.manifest(dataset).dropped
        return int(number)

    here = os.getpid()
    assert computed_by(tmp_path / "a", Local(workers=2)) != here
    assert computed_by(tmp_path / "b", Local(workers=2), "machine") == here
    assert computed_by(tmp_path / "c", Local()) == here
    assert computed_by(tmp_path / "d", dask_engine) != here
    assert computed_by(tmp_path / "e", dask_engine, "machine") != here
    assert computed_by("memory://not-shared", Local(workers=2)) == here  # no other process sees memory


def test_a_dead_process_is_a_source_error_of_the_store_and_a_retry_cures_it(tmp_path, jobs, engine):
    store, dying = Store(str(tmp_path / "root"), engine=engine), job(jobs.die_once, str(tmp_path / "marker"))
    with pytest.raises(SourceError, match="worker process died"):
        store.derive(dying)
    assert store.finished(dying, dying.outputs[0]) is None
    [dataset] = store.derive(dying)
    assert store.read(dataset).num_rows == 0


def test_errors_of_a_stage_elsewhere_mean_what_they_mean_here(tmp_path, jobs, engine):
    store = Store(str(tmp_path / "root"), engine=engine)
    with pytest.raises(SchemaError, match="documents: expected columns"):
        store.derive(job(jobs.refuse, "pairs"))
    [dataset] = store.derive(job(jobs.quarantine))
    assert [one.reason for one in store.manifest(dataset).quarantined] == ["not a WARC file"]


def test_a_stuck_child_does_not_outlive_its_killed_parent(tmp_path):
    program = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import child_jobs
from storage.engines import Local
Local(1).run("core", child_jobs.be_stuck, {str(tmp_path)!r})
"""
    deadline = time.monotonic() + 60
    with subprocess.Popen([sys.executable, "-c", program], cwd=HERE.parents[1]) as parent:
        while not (found := list(tmp_path.iterdir())):
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.kill()
    while Path("/proc", found[0].name).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
