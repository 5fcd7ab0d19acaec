"""What the corpus has so far in the place of a job's output: used where the recipe is the same, and never seen in the result."""

from __future__ import annotations

import pyarrow as pa
import pytest

from storage.handles import Precedent
from storage.jobs import Job, Slot
from storage.schemas import schema_of
from storage.store import Index, Store


def scores(*values):
    ids = [bytes([value]) * 16 for value in values]
    columns = [pa.array(ids, pa.binary(16)), pa.array([value / 2 for value in values], pa.float32())]
    return pa.Table.from_arrays(columns, schema=schema_of("pair_scores"))


def plain(tally, settings, rows, *_):
    tally["seen"] += rows.dataset.rows
    yield "pair_scores", rows.read()


def updating(answer):
    """A job's `update` that gives one answer and notes what it was asked."""

    def update(tally, settings, precedent, *inputs):
        update.asked.append((precedent, inputs))
        return answer(tally, precedent, *inputs) if callable(answer) else answer

    update.asked = []
    return update


def made(store, *values):
    job = Job(
        "source",
        1,
        None,
        (f"{values}",),
        (Slot("pair_scores", "source"),),
        lambda *_: [("pair_scores", scores(*values))],
    )
    return store.derive(job)[0]


def job(rows, update, version=1, compute=plain, others=()):
    return Job("copy", version, None, (rows, *others), (Slot("pair_scores", "copy"),), compute, update=update)


@pytest.fixture
def earlier(store):
    """A version in which the copy is of rows 1 and 2, and a store that knows it."""
    first = made(store, 1, 2)
    [copy] = store.derive(job(first, None))
    known = Index({(one.name, one.partition): one for one in (first, copy)})
    return Store(store.root, run="second", earlier=known), copy


def test_a_job_may_take_from_what_is_there(earlier):
    store, _ = earlier
    second = made(store, 1, 2, 3)
    update = updating(
        lambda tally, precedent, rows: iter(
            [("pair_scores", pa.concat_tables([precedent.rows("pair_scores").read(), scores(3)]))]
        )
    )
    [found] = store.derive(job(second, update))
    [(precedent, _)] = update.asked
    assert precedent.inputs[0].read() == scores(1, 2)
    assert store.read(found) == scores(1, 2, 3)
    assert store.manifest(found).way == "updated"
    [anew] = Store(f"{store.root}-anew").derive(job(made(Store(f"{store.root}-anew"), 1, 2, 3), None))
    assert (anew.fingerprint, anew.content) == (found.fingerprint, found.content)


def test_a_precedent_may_stand_as_it_is(earlier):
    store, copy = earlier
    [found] = store.derive(job(made(store, 2, 1), updating(lambda _, precedent, __: precedent)))
    assert found.fingerprint != copy.fingerprint
    assert found.content == copy.content
    manifest = store.manifest(found)
    assert (manifest.way, manifest.folder, manifest.dropped) == ("adopted", copy.folder, {"seen": 2})
    assert store.paths(found) == store.paths(copy)
    assert store.read(found) == scores(1, 2)
    assert [path for path in store.paths(found) if found.fingerprint in path] == []


def test_none_means_from_the_beginning(earlier):
    store, _ = earlier
    [found] = store.derive(job(made(store, 3), updating(None)))
    assert store.manifest(found).way == "computed"
    assert store.read(found) == scores(3)


@pytest.mark.parametrize("changes", [{"version": 2}, {"others": ("one more",)}])
def test_another_recipe_is_no_precedent(earlier, changes):
    store, _ = earlier
    update = updating(None)
    store.derive(job(made(store, 3), update, **changes))
    assert update.asked == []


def test_what_is_gone_is_no_precedent(earlier):
    store, _ = earlier
    source, copy = (store.earlier.get(("pair_scores", place)) for place in ("source", "copy"))
    filesystem, root = store.place()
    filesystem.rm_file(f"{root}/{source.folder}/manifest.json")
    fresh = Store(store.root, earlier=Index({("pair_scores", "copy"): copy}))
    update = updating(None)
    fresh.derive(job(made(fresh, 3), update))
    assert update.asked == []


def test_equal_content_makes_nothing_downstream_anew(store):
    first = made(store, 1, 2)
    again = store.derive(
        Job("source", 2, None, (), (Slot("pair_scores", "source"),), lambda *_: [("pair_scores", scores(1, 2))])
    )[0]
    assert first.fingerprint != again.fingerprint
    calls = []

    def count(*inputs):
        calls.append(inputs)
        return plain(*inputs)

    one, two = store.derive(job(first, None, compute=count)), store.derive(job(again, None, compute=count))
    assert one == two
    assert len(calls) == 1


def test_a_precedent_has_handles_of_the_job_s_own_grouping(store):
    first = made(store, 1)
    grouped = Job(
        "group",
        1,
        None,
        ((first, first), "text"),
        (Slot("pair_scores", "copy"),),
        lambda *_: [("pair_scores", scores(1))],
    )
    [copy] = store.derive(grouped)
    known = Store(store.root, earlier=Index({(one.name, one.partition): one for one in (first, copy)}))
    update = updating(None)
    second = made(known, 2)
    known.derive(
        Job(
            "group",
            1,
            None,
            ((second,), "text"),
            (Slot("pair_scores", "copy"),),
            lambda *_: [("pair_scores", scores(1))],
            update=update,
        )
    )
    [(precedent, inputs)] = update.asked
    assert isinstance(precedent, Precedent)
    assert [one.read() for one in precedent.inputs[0]] == [scores(1), scores(1)]
    assert [one.read() for one in inputs[0]] == [scores(2)]
    assert precedent.inputs[1] == "text"
