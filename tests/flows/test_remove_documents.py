"""Take-down: every table follows, as if the documents had never been there, and they stay away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pytest

from flows.config import CorpusConfig, RemoveConfig
from flows.removals import logged
from flows.remove_documents import remove_documents
from storage.errors import ConfigError
from storage.snapshots import latest
from tasks.text.removals import Removals, personal_digest

FIRST, SECOND = "2024-10", "2024-11"


def kept_documents(built, language):
    """Kept documents of a language, as rows, in the order of the corpus."""
    parts = sorted(built.manifests("kept_documents").values(), key=lambda manifest: manifest.reference.partition)
    tables = [built.store.read(manifest.finished_reference) for manifest in parts]
    return [row for table in tables for row in table.to_pylist() if row["language"] == language]


@pytest.fixture(scope="module")
def taken_down(build, whole, tmp_path_factory):
    """The whole corpus after a take-down of one document, one address, one host's documents and one e-mail address."""
    root = tmp_path_factory.mktemp("taken_down")
    shutil.copytree(whole.config.root, root, dirs_exist_ok=True)
    documents = kept_documents(whole, "deu_Latn")
    removed = documents[0], documents[5]
    config = RemoveConfig(
        root=str(root),
        corpus="tiny",
        documents=[removed[0]["doc_id"].hex()],
        urls=[removed[1]["url"]],
        personal=[personal_digest("h.vane-ellis@example.org")],
        reason="asked for by the author",
        resources={"workers": 0, "threads": 1},
    )
    report = remove_documents(config)
    return type(whole)(whole.config.model_copy(update={"root": str(root)}), report), removed


@pytest.fixture(scope="module")
def rebuilt(build, taken_down, tmp_path_factory):
    """A rebuild from nothing that never lets the documents in."""
    built, _ = taken_down
    removals = [entry.removals for entry in logged(built.store, "tiny")]
    return build(tmp_path_factory.mktemp("rebuilt"), removals=removals[0].model_dump())


def test_the_result_is_that_of_a_rebuild_without_the_documents(taken_down, rebuilt):
    built, _ = taken_down
    assert built.parts() == rebuilt.parts()
    assert built.release() == rebuilt.release()
    assert built.report.funnel == rebuilt.report.funnel
    assert built.report.rejected_documents == rebuilt.report.rejected_documents
    assert built.report.dropped_sentences == rebuilt.report.dropped_sentences


def test_the_documents_are_gone_and_counted(taken_down, whole):
    built, removed = taken_down
    texts = [row["text"] for row in kept_documents(built, "deu_Latn")]
    assert not {one["text"] for one in removed} & set(texts)
    assert built.report.rejected_documents["withheld"] >= 3
    assert built.report.funnel["records"] == whole.report.funnel["records"]
    assert built.report.version == 2
    assert latest(built.store, "tiny").reason.startswith("take-down of ")


def test_only_what_is_affected_is_made_anew(taken_down, whole):
    built, _ = taken_down
    mine = {one: manifest for one, manifest in built.manifests().items() if manifest.run != latest_run(whole)}
    ways = {}
    for one, manifest in mine.items():
        ways.setdefault(one.name, set()).add(manifest.way)
    assert "computed" not in ways["documents"] | ways["languages"] | ways["document_scores"] | ways["sentences"]
    assert "adopted" in ways["documents"]  # files of which nothing goes
    assert "updated" in ways["neighbours"]
    untouched = {one for one in built.manifests("languages") if one not in mine}
    assert untouched  # what follows from an adopted file is as it was


def latest_run(built):
    return latest(built.store, "tiny").run


def test_the_log_has_addresses_and_digests_but_no_text(taken_down):
    built, removed = taken_down
    (log,) = (Path(built.config.root) / "removals" / "tiny").iterdir()
    written = log.read_text("utf-8")
    assert removed[0]["url"] in written  # so that the page does not come back with a later crawl
    assert "h.vane-ellis@example.org" not in written
    assert not any(sentence in written for one in removed for sentence in one["text"].split("\n") if len(sentence) > 20)


def test_a_later_crawl_does_not_bring_them_back(build, taken_down, crawls, tmp_path):
    built, removed = taken_down
    config = built.config.model_dump(mode="json")
    again = {"name": "2024-12", "path": crawls[FIRST]}  # the same pages, crawled once more
    later = build(built.config.root, crawls=[*config["crawls"], again])
    documents = [later.store.read(one.finished_reference) for one in later.manifests("documents").values()]
    texts = {text for table in documents for text in table["text"].to_pylist()}
    assert not {one["text"] for one in removed} & texts
    withheld = [pc.sum(pc.equal(table["reason"], "withheld")).as_py() or 0 for table in documents]
    assert sum(withheld) > built.report.rejected_documents["withheld"]


def test_a_purge_leaves_nothing_of_the_text(build, tmp_path, whole):
    shutil.copytree(whole.config.root, tmp_path / "root")
    for other in (tmp_path / "root/snapshots").iterdir():  # another corpus may rightly hold the same text
        if other.name != "tiny":
            shutil.rmtree(other)
    (one, *_) = kept_documents(whole, "fra_Latn")
    config = {"documents": [one["doc_id"].hex()], "purge": True, "resources": {"workers": 0, "threads": 1}}
    report = remove_documents(RemoveConfig(root=str(tmp_path / "root"), corpus="tiny", **config))
    built = type(whole)(CorpusConfig(root=str(tmp_path / "root"), corpus="tiny"), report)
    assert [path.name for path in (tmp_path / "root/snapshots/tiny").iterdir()] == ["000002.json"]
    shards = {path for name in built.snapshot.things for path in built.store.paths(name)}
    assert {str(path) for path in (tmp_path / "root").glob("*/**/*.parquet")} <= shards
    for name in ("documents", "kept_documents"):
        for manifest in built.manifests(name):
            assert one["text"] not in built.store.read(manifest)["text"].to_pylist()


def test_an_impossible_take_down_is_refused(whole, in_process):
    with pytest.raises(ValueError, match="name what is to be removed"):
        RemoveConfig(root=whole.config.root, corpus="tiny")
    with pytest.raises(ConfigError, match="there is none called 'other'"):
        remove_documents(RemoveConfig(root=whole.config.root, corpus="other", hosts=["example.org"]))


def test_removals_of_nothing_change_nothing(whole, in_process, tmp_path):
    assert not Removals()
    shutil.copytree(whole.config.root, tmp_path / "root")
    config = RemoveConfig(root=str(tmp_path / "root"), corpus="tiny", hosts=["not-there.example"])
    report = remove_documents(config.model_copy(update={"resources": whole.config.resources}))
    assert not report.rejected_documents.get("withheld")
    assert report.funnel == whole.report.funnel
