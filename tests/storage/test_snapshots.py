from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.manifest import Artifact, Dataset, Reference
from storage.snapshots import Draft, commit, corpora, latest, load
from storage.store import Store

ONE = Dataset(name="documents", partition="crawl-1", fingerprint="f1", rows=3)
TWO = Dataset(name="documents", partition="crawl-2", fingerprint="f2", rows=4)
CARD = Artifact(name="release", partition="corpus", fingerprint="f3")


def draft(corpus, crawls, things, **facts):
    return Draft(corpus=corpus, crawls=crawls, things=things, **facts)


def test_before_the_first_version_there_is_none(any_store):
    assert latest(any_store, "corpus") is None
    assert load(any_store, "corpus", 1) is None
    assert corpora(any_store) == []


def test_versions_follow_each_other_and_stay(any_store):
    first = commit(any_store, None, draft("corpus", ["crawl-1"], [ONE]))
    second = commit(any_store, latest(any_store, "corpus"), draft("corpus", ["crawl-1", "crawl-2"], [TWO, CARD, ONE]))
    commit(any_store, None, draft("another", [], []))
    assert (first.number, second.number) == (1, 2)
    assert latest(any_store, "corpus") == second
    assert load(any_store, "corpus", 1) == first
    assert corpora(any_store) == ["another", "corpus"]
    assert second.run == any_store.run


def test_what_has_not_changed_is_no_new_version(any_store):
    commit(any_store, None, draft("corpus", ["crawl-1"], [ONE, CARD]))
    base = latest(any_store, "corpus")
    assert commit(any_store, base, draft("corpus", ["crawl-1"], [CARD, ONE])) is base
    assert latest(any_store, "corpus").number == 1


@pytest.mark.parametrize(("crawls", "things"), [(["crawl-0"], [ONE]), (["crawl-1"], [TWO]), (["crawl-1"], [])])
def test_what_has_changed_is_one(store, crawls, things):
    base = commit(store, None, draft("corpus", ["crawl-1"], [ONE]))
    assert commit(store, base, draft("corpus", crawls, things)).number == 2


def test_other_settings_make_a_new_version_of_the_same_things(store):
    base = commit(store, None, draft("corpus", ["crawl-1"], [ONE], settings={"pivot": None}))
    assert commit(store, base, draft("corpus", ["crawl-1"], [ONE], settings={"pivot": None}, reason="again")) is base
    assert commit(store, base, draft("corpus", ["crawl-1"], [ONE], settings={"pivot": "eng_Latn"})).number == 2


def test_the_second_of_two_commits_upon_one_base_loses_and_can_build_again(any_store):
    base = commit(any_store, None, draft("corpus", [], []))
    won = commit(any_store, base, draft("corpus", ["crawl-1"], [ONE]))
    assert commit(any_store, base, draft("corpus", ["crawl-2"], [TWO])) is None
    assert latest(any_store, "corpus") == won
    assert commit(any_store, won, draft("corpus", ["crawl-1", "crawl-2"], [ONE, TWO])).number == 3


def test_of_racing_commits_exactly_one_wins(root):
    racers = 8
    start = threading.Barrier(racers)

    def race(racer):
        start.wait()
        thing = ONE.model_copy(update={"fingerprint": f"racer-{racer}"})
        return commit(Store(root, run=f"run-{racer}"), None, draft("corpus", ["crawl"], [thing]))

    with ThreadPoolExecutor(racers) as threads:
        [won] = [snapshot for snapshot in threads.map(race, range(racers)) if snapshot]
    assert latest(Store(root), "corpus") == won


def test_numbers_are_numbers(store):
    base = None
    for number in range(1, 12):
        base = commit(store, base, draft("corpus", [], [ONE.model_copy(update={"rows": number})]))
    assert latest(store, "corpus").number == 11


def test_what_else_lies_in_the_folder_is_no_version(store, tmp_path):
    commit(store, None, draft("corpus", [], []))
    folder = tmp_path / "root" / "snapshots" / "corpus"
    for leftover in ("000002.json.0badcafe.tmp", "notes.json", ".DS_Store", "000003"):
        (folder / leftover).write_text("{")
    assert latest(store, "corpus").number == 1


@pytest.mark.parametrize("corpus", ["../corpus", "/corpus", "a/../b", "", ".."])
def test_a_corpus_cannot_leave_its_folder(store, tmp_path, corpus):
    with pytest.raises(ValueError, match="may hold letters"):
        commit(store, None, draft(corpus, [], []))
    assert list(tmp_path.iterdir()) == []


def test_things_are_found_by_name_and_partition(store):
    snapshot = commit(store, None, draft("corpus", [], [TWO, CARD, ONE]))
    assert [one.partition for one in snapshot.find("documents")] == ["crawl-1", "crawl-2"]
    assert snapshot.find("documents", "crawl-2") == [Reference(**TWO.model_dump())]
    assert snapshot.find("release") == [Reference(**CARD.model_dump())]
    assert snapshot.find("pairs") == []
