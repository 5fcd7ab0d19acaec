from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import pyarrow as pa
import pydantic
import pytest

from flows.comparison import compare
from flows.drawing import margins_of
from flows.housekeeping import Cleaning, clean, history, show_history
from flows.lineage import lineage
from storage.errors import ConfigError
from storage.jobs import Job, Slot
from storage.manifest import Dataset, Reference
from storage.schemas import ID, schema_of
from storage.snapshots import Draft, Snapshot, commit, latest
from storage.store import Store

FIRST = "2024-10"


def _compute(tally, config, name, *numbers):
    schema = schema_of(name)
    ids = pa.array([b"%016d" % int(one) for one in numbers], ID)
    columns = {field.name: ids if field.type == ID else pa.nulls(len(ids), field.type) for field in schema}
    yield name, pa.table(columns, schema)


def _same(tally, config, precedent, *inputs):
    return precedent


def part(store: Store, name: str, partition: str, numbers) -> Reference:
    inputs = (name, *map(str, numbers))
    return store.derive(Job("write", 1, None, inputs, (Slot(name, partition),), _compute, update=_same))[0]


def version(store: Store, *things: Reference, corpus="corpus", crawls=("one",), **facts) -> Snapshot:
    return commit(store, latest(store, corpus), Draft(corpus=corpus, crawls=list(crawls), things=list(things), **facts))


def free(store, corpus):
    return contextlib.nullcontext()


@pytest.fixture
def versions(store):
    """Three versions of one corpus and one of another; the second shares a dataset with the first, the third all."""
    shared = part(store, "corpus", "deu-eng", range(5))
    sentences = part(store, "unique_sentences", "deu_Latn/one", range(3))
    later = Store(store.root, run="later", earlier={("unique_sentences", "deu_Latn/one"): sentences})
    version(store, shared, sentences)
    second = part(later, "unique_sentences", "deu_Latn/two", range(4))
    version(later, shared, sentences, second, crawls=("one", "two"), reason="a new crawl \x1b[2J")
    adopted = part(later, "unique_sentences", "deu_Latn/one", range(4, 7))
    version(later, shared, adopted, second, crawls=("one", "two"), settings={"k": 1})
    version(store, part(store, "corpus", "deu-fra", range(2)), corpus="another")
    return store


def test_history_tells_what_each_version_has_and_what_it_cost(versions):
    first, second, third = history(versions, "corpus")
    assert [one["version"] for one in (first, second, third)] == ["1", "2", "3"]
    assert [one["crawls added"] for one in (first, second, third)] == ["one", "two", ""]
    assert [(one["sentences"], one["pairs"]) for one in (first, second, third)] == [(3, 5), (7, 5), (7, 5)]
    assert first["bytes"] == first["new bytes"]
    assert second["bytes"] == first["bytes"] + second["new bytes"]
    assert third["bytes"] == second["bytes"]
    assert third["new bytes"] == 0  # it took over the files of an earlier dataset
    assert [one["run"] for one in (first, second, third)] == [versions.run, "later", "later"]
    assert [one["why"] for one in (first, second, third)] == ["first", "a new crawl \x1b[2J", "settings"]


def test_history_in_a_terminal_is_of_one_corpus_or_all(versions, capsys):
    show_history(versions.root)
    shown = capsys.readouterr().out
    assert [line.strip() for line in shown.splitlines() if line.strip() in ("another", "corpus")] == [
        "another",
        "corpus",
    ]
    assert "\x1b" not in shown
    show_history(versions.root, "another")
    assert "later" not in capsys.readouterr().out


def test_what_is_not_there_is_refused(versions, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no corpus 'unknown' at .*; there is another, corpus"):
        show_history(versions.root, "unknown")
    with pytest.raises(ConfigError, match=r"there is no corpus '\.\./x'"):
        clean(versions.root, Cleaning(corpus="../x"), free, really=True)
    for wrong in (show_history, lambda root: clean(root, Cleaning(), free, really=True)):
        with pytest.raises(ConfigError, match="there is no corpus at"):
            wrong(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    for wrong in ({"keep": 0}, {"grace_hours": -1}, {"keep": 1.5}):
        with pytest.raises(pydantic.ValidationError):
            Cleaning.model_validate(wrong)


def files(store: Store) -> set[str]:
    filesystem, root = store.place()
    filesystem.invalidate_cache()
    return {str(path).removeprefix(f"{root}/") for path in filesystem.find(root)}


def test_garbage_is_shown_first_and_removed_only_when_asked(versions, capsys):
    before = files(versions)
    part(versions, "pair_scores", "deu-eng/x", range(10))
    lost = files(versions) - before
    shown = clean(versions.root, Cleaning(grace_hours=0), free, really=False)
    text = capsys.readouterr().out
    assert f"Would be removed: 2 files, {shown.bytes:,} bytes." in text
    assert "Nothing was removed; --yes removes it." in text
    (line,) = (line for line in text.splitlines() if line.startswith("│ pair_scores "))
    assert line.split("│")[2:5] == ["        1 ", "     2 ", f" {shown.bytes:>5,} "]
    assert files(versions) == before | lost
    clean(versions.root, Cleaning(grace_hours=0), free, really=True)
    assert f"Removed: 2 files, {shown.bytes:,} bytes." in capsys.readouterr().out
    assert files(versions) == before


def test_what_is_young_is_told_and_stays(versions, capsys):
    part(versions, "pair_scores", "deu-eng/x", range(10))
    clean(versions.root, Cleaning(), free, really=True)
    text = capsys.readouterr().out
    assert "2 files that nothing needs changed in the last 24 hours and stay." in text
    assert "Removed: 0 files, 0 bytes." in text
    assert "--yes" not in text


def test_old_versions_go_when_that_is_asked(versions, capsys):
    old = time.time() - 25 * 3600
    for path in Path(versions.root).rglob("*"):
        os.utime(path, (old, old))
    clean(versions.root, Cleaning(keep=1, corpus="another"), free, really=True)
    assert len(list(history(versions, "corpus"))) == 3
    removed = clean(versions.root, Cleaning(keep=1), free, really=True)
    assert [one.path for one in removed.snapshots] == ["snapshots/corpus/000001.json", "snapshots/corpus/000002.json"]
    assert "versions of corpus" in capsys.readouterr().out
    (only,) = history(Store(versions.root), "corpus")
    assert (only["version"], only["sentences"], only["why"]) == ("3", 7, "")
    for one in latest(versions, "corpus").things:
        assert all(Path(path).exists() for path in versions.paths(one))


def test_every_corpus_is_held_while_garbage_goes(versions):
    held = []

    @contextlib.contextmanager
    def hold(store, corpus):
        held.append((store.root, corpus))
        yield

    clean(versions.root, Cleaning(corpus="another"), hold, really=False)
    assert held == []
    clean(versions.root, Cleaning(corpus="another"), hold, really=True)
    assert held == [(versions.root, "another"), (versions.root, "corpus")]


def test_it_works_on_s3(s3_root):
    store = Store(s3_root)
    version(store, part(store, "corpus", "deu-eng", range(5)))
    version(store, part(store, "corpus", "deu-eng", range(6)))
    before = files(store)
    garbage = clean(s3_root, Cleaning(keep=1, grace_hours=0), free, really=True)
    assert before - files(store) == {one.path for one in garbage.everything}
    assert len(garbage.everything) == 3
    (only,) = history(Store(s3_root), "corpus")
    assert only["pairs"] == 6


def test_a_real_corpus_after_its_old_version_went(build, babelmill, tmp_path):
    languages = {"languages": ["deu_Latn", "eng_Latn"]}
    old = build(tmp_path / "root", (FIRST,), **languages)
    new = build(tmp_path / "root", (FIRST,), mine={"threshold": 1.3}, **languages)
    store, (old, new) = new.store, (old.snapshot, new.snapshot)
    (pair,) = compare(store, old, new).pairs
    assert pair.gained == 0
    assert pair.lost == pair.before - pair.after > 0
    assert [one["new bytes"] < one["bytes"] for one in history(store, "tiny")] == [False, True]
    drawn = lineage(store, new)
    assert re.search(r'"documents<br/>2 parts<br/>\d+ rows"\]:::before', drawn)
    assert re.search(r'"pairs<br/>1 part<br/>\d+ rows"\]:::new', drawn)
    (counts,) = margins_of(store, [Dataset(**one.model_dump()) for one in new.find("pairs")]).values()
    assert counts.sum() == sum(one.rows for one in new.find("pairs"))
    clean(store.root, Cleaning(keep=1, grace_hours=0), free, really=True)
    again = build(tmp_path / "root", (FIRST,), mine={"threshold": 1.3}, **languages)
    assert not again.report.is_new
    kept = {path for one in new.things for path in store.paths(one)}
    kept |= {f"{store.root}/{one.folder}/manifest.json" for one in new.things}
    left = {f"{store.root}/{path}" for path in files(store)}
    assert {path for path in left if "/datasets/" in path} <= kept
    row = store.read(Dataset(**new.find("corpus")[0].model_dump())).slice(0, 1).to_pylist()[0]
    assert row["source_url"] in babelmill("trace", row["pair_id"].hex(), "--root", store.root).stdout
