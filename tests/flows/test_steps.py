"""How stages are called: as task runs with progress where there is something to do, and as one cached run where not."""

from __future__ import annotations

import logging

import pyarrow as pa
import pytest
from prefect import flow

from flows.steps import PlainSteps, PrefectSteps
from storage.errors import CorpusError
from storage.jobs import Job, Slot
from storage.schemas import schema_of
from storage.store import Store
from tasks import stage

ROW = pa.Table.from_arrays(
    [pa.array([b"i" * 16], pa.binary(16)), pa.array([1.0], pa.float32())], schema=schema_of("pair_scores")
)


def one_row(_, __, name):
    if name == "broken":
        raise CorpusError("shard broken: mend it")
    yield "pair_scores", ROW


@stage(task_run_name="make-{name}")
def make(store, name):
    return store.derive(Job("make", 1, None, (name,), (Slot("pair_scores", name),), one_row, need="core"))[0]


@pytest.fixture
def run(in_process, caplog):
    """Call the stage for some names inside a flow; the results, and what task runs there were."""

    def calling(store, names, groups=()):
        @flow(name="calling", log_prints=False)
        def calls():
            return PrefectSteps("test").each("make rows", make, [(store, name) for name in names], groups)

        caplog.clear()
        with caplog.at_level(logging.INFO, "prefect.task_runs"):
            found = calls()
        return found, [record.getMessage() for record in caplog.records if record.name == "prefect.task_runs"]

    return calling


def test_results_come_in_the_order_of_the_calls(run, store):
    names = [f"part-{place}" for place in range(7)]
    found, runs = run(store, names, [name[-1] for name in names])
    assert [one.partition for one in found] == names
    assert len([line for line in runs if line == "Finished in state Completed()"]) == 7
    assert [
        one.partition for one in PlainSteps().each("", make, [(Store(f"{store.root}-b"), name) for name in names])
    ] == names


def test_what_was_done_before_is_one_cached_run(run, store):
    run(store, ["a", "b"])
    found, runs = run(store, ["a", "b", "c"])
    assert [one.partition for one in found] == ["a", "b", "c"]
    assert [line for line in runs if "Cached" in line] == [
        "Finished in state Cached('make rows: 2 of 3 were done before; nothing was computed', type=COMPLETED)"
    ]
    assert len([line for line in runs if line.startswith("Finished in state Completed")]) == 1


def test_a_failure_names_its_shard_and_what_to_do(run, store):
    with pytest.raises(CorpusError, match="shard broken: mend it"):
        run(store, ["a", "broken", "c"])
    found, _ = run(store, ["a"])
    assert found[0].rows == 1


def test_checks_are_made_but_for_what_is_only_planned():
    def refuse():
        raise CorpusError("refused")

    PlainSteps(checks=False).check(refuse)
    for steps in (PlainSteps(), PrefectSteps("test")):
        with pytest.raises(CorpusError, match="refused"):
            steps.check(refuse)
