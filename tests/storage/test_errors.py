"""Each class of error has its consequence, and a class without one fails here."""

from __future__ import annotations

import time

import pytest
from prefect.states import Failed

from storage.engines import Local
from storage.errors import ConfigError, CorpusError, SchemaError, ShardError, SourceError, TimeLimitError
from storage.jobs import Job, Slot
from storage.schemas import empty
from storage.sources import list_sources
from storage.store import Store
from tasks import worth_retrying


def job(compute):
    return Job("stage", 1, None, (), (Slot("documents", "crawl/file"),), compute)


def stops_before_any_work(store):
    with pytest.raises(ConfigError, match=r"crawls\.path"):
        list_sources(store, f"{store.root}/missing", "crawls.path")


def fails_the_stage(store):
    def compute(tally, settings):
        yield "documents", empty("pairs")

    with pytest.raises(SchemaError, match="documents"):
        store.derive(job(compute))
    assert store.finished(job(compute), Slot("documents", "crawl/file")) is None


def is_cured_by_trying_again(store):
    weather = iter([True, False])

    def compute(tally, settings):
        if next(weather):
            raise SourceError("the network is down")
        yield "documents", empty("documents")

    with pytest.raises(SourceError, match="network"):
        store.derive(job(compute))
    assert len(store.derive(job(compute))) == 1


def is_noted_and_the_run_goes_on(store):
    def compute(tally, settings):
        yield "documents", empty("documents")
        raise ShardError("not a WARC file")

    [dataset] = store.derive(job(compute))
    assert [one.reason for one in store.manifest(dataset).quarantined] == ["not a WARC file"]


def ends_the_computation(_):
    engine = Local(workers=2, seconds_limit=3)
    with pytest.raises(TimeLimitError, match=r"raise resources\.shard_minutes"):
        engine.run("core", time.sleep, 600)
    assert engine.run("core", eval, "6 * 7") == 42


CONSEQUENCES = {
    ConfigError: stops_before_any_work,
    SchemaError: fails_the_stage,
    SourceError: is_cured_by_trying_again,
    TimeLimitError: ends_the_computation,
    ShardError: is_noted_and_the_run_goes_on,
}


@pytest.mark.parametrize("kind", CorpusError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_every_class_of_error_has_its_consequence(kind, store: Store):
    CONSEQUENCES[kind](store)


@pytest.mark.parametrize(
    "kind", [*CorpusError.__subclasses__(), CorpusError, ValueError, OSError], ids=lambda kind: kind.__name__
)
def test_only_the_outside_world_is_tried_again(kind):
    assert worth_retrying(None, None, Failed(data=kind("why"))) is (kind is SourceError)
