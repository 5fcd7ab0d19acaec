from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import SchemaError, ShardError, SourceError
from storage.jobs import Job, Slot
from storage.processes import run_in_child, stop_children
from storage.store import Store

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(scope="module", autouse=True)
def _fresh_children():
    stop_children()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)  # children get the path of the moment that they start in
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"):
            patch.delenv(name, raising=False)
        yield
        stop_children()


def test_work_is_done_in_another_process():
    assert run_in_child(eval, "__import__('os').getpid()", workers=2) != os.getpid()


@pytest.mark.parametrize(
    ("program", "kind", "text"),
    [
        ("int('x')", ValueError, "invalid literal for int"),
        ("from storage.errors import ShardError; raise ShardError('bad file')", ShardError, "bad file"),
        ("{}['key']", KeyError, "key"),
    ],
)
def test_an_exception_comes_through_with_its_class_and_text(program, kind, text):
    with pytest.raises(kind, match=text):
        run_in_child(exec, program, workers=2)


def test_a_child_that_dies_fails_only_its_own_call():
    def call(number):
        if number == 3:
            with pytest.raises(SourceError, match=r"worker process died \(exit code -9\)"):
                run_in_child(exec, KILL, workers=2)
            return None
        return run_in_child(eval, f"__import__('time').sleep(0.02) or {number}", workers=2)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(call, range(8))) == [0, 1, 2, None, 4, 5, 6, 7]


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
    # BLAS starts its threads when it is loaded; those that are there before are the pool's own
    before = "BEFORE := len(__import__('os').listdir('/proc/self/task'))"
    expected = 0 if "BEFORE" in threads else 1
    assert run_in_child(eval, f"(({before}), {threads})[1]", workers=1) == expected


def test_stopping_twice_and_starting_again_is_fine():
    stop_children()
    stop_children()
    assert run_in_child(eval, "6 * 7", workers=1) == 42


def job(compute, *inputs):
    return Job("stage", 1, None, inputs, (Slot("documents", "crawl/file"),), compute)


@pytest.fixture
def jobs():
    import child_jobs

    return child_jobs


def test_a_store_with_workers_computes_in_children_where_asked_to(tmp_path, jobs):
    def computed_by(store, **options):
        [dataset] = store.derive(job(jobs.tell_process), **options)
        [number] = store.manifest(dataset).dropped
        return int(number)

    here = os.getpid()
    assert computed_by(Store(str(tmp_path / "a"), workers=2), in_child=True) != here
    assert computed_by(Store(str(tmp_path / "b"), workers=2)) == here
    assert computed_by(Store(str(tmp_path / "c"), workers=0), in_child=True) == here
    assert computed_by(Store("memory://not-shared", workers=2), in_child=True) == here  # no other process sees memory


def test_a_killed_child_is_a_source_error_and_a_retry_cures_it(tmp_path, jobs):
    store, dying = Store(str(tmp_path / "root"), workers=2), job(jobs.die_once, str(tmp_path / "marker"))
    with pytest.raises(SourceError, match="worker process died"):
        store.derive(dying, in_child=True)
    assert store.finished(dying, dying.outputs[0]) is None
    [dataset] = store.derive(dying, in_child=True)
    assert store.read(dataset).num_rows == 0


def test_errors_of_a_stage_in_a_child_mean_what_they_mean_here(tmp_path, jobs):
    store = Store(str(tmp_path / "root"), workers=2)
    with pytest.raises(SchemaError, match="documents: expected columns"):
        store.derive(job(jobs.refuse, "pairs"), in_child=True)
    [dataset] = store.derive(job(jobs.quarantine), in_child=True)
    assert [one.reason for one in store.manifest(dataset).quarantined] == ["not a WARC file"]
