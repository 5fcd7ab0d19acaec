from __future__ import annotations

import csv
import io
import logging
import re
import shutil
from collections import Counter
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from flows.config import CorpusConfig
from flows.opening import all_crawls
from storage.children import stop_children
from storage.errors import ConfigError

FIRST, SECOND = "2024-10", "2024-11"
SAMPLES = Path(__file__).parents[2] / "samples"
BUILT_FROM_DOCUMENTS = ("documents", "languages", "document_scores", "kept_documents", "rejected_documents")


def listing(root):
    """Every file below a folder with all that changes when it is written."""
    return {
        str(path.relative_to(root)): (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
        for path in Path(root).rglob("*")
        if path.is_file()
    }


def crawls_of(thing):
    """Names of the crawls that a partition is about."""
    return set(thing.partition.split("/")) & {FIRST, SECOND}


def texts_of(release):
    """All that people read in a release, whatever the format, by file."""
    texts = {}
    for name, data in release.items():
        if name.endswith(".parquet"):
            table = pq.read_table(io.BytesIO(data))
            columns = [name for name in ("title", "text", "source", "target") if name in table.column_names]
            texts[name] = "\n".join(
                value for column in columns for value in table[column].to_pylist() if value is not None
            )
        else:
            texts[name] = data.decode()
    return texts


@pytest.fixture(scope="module")
def updated(build, tmp_path_factory):
    """A corpus of the first crawl, and the same after the second; what the folder held in between."""
    root = tmp_path_factory.mktemp("updated")
    first = build(root, (FIRST,))
    before = listing(root)
    return first, before, build(root)


def test_a_second_run_writes_nothing_and_shows_every_stage_as_done_before(build, whole, caplog):
    before = listing(whole.config.root)
    with caplog.at_level(logging.INFO, "prefect.task_runs"):
        again = build(whole.config.root)
    assert listing(whole.config.root) == before
    assert not again.report.is_new
    assert again.report.version == whole.report.version == 1
    assert again.report.release == whole.report.release
    runs = [record.getMessage() for record in caplog.records if record.name == "prefect.task_runs"]
    told = [line for line in runs if line.startswith("Finished in state")]
    assert len(told) > 10
    assert all(line.startswith("Finished in state Cached") for line in told)


def test_an_update_equals_a_rebuild(updated, whole):
    _, _, second = updated
    assert (second.report.version, whole.report.version) == (2, 1)
    assert second.parts() == whole.parts()
    assert second.release() == whole.release()
    assert second.report.funnel == whole.report.funnel


def test_an_update_computes_only_what_is_new(updated):
    first, before, second = updated
    after = listing(second.config.root)
    measured = {"rates.json"}
    assert {name: after.get(name) for name in before.keys() - measured} == {
        name: before[name] for name in before.keys() - measured
    }
    run = first.report.flow_run.replace("-", "")[:12]
    old = {one for one, manifest in second.manifests().items() if manifest.run == run}
    per_crawl = {
        one
        for one in second.snapshot.things
        if one.name
        in {*BUILT_FROM_DOCUMENTS, "signatures", "sentences", "unique_sentences", "embeddings", "neighbours"}
        and crawls_of(one) == {FIRST}
    }
    assert old == per_crawl
    assert {one.name for one in old} == {one.name for one in first.snapshot.things} - {
        "pairs", "pair_scores", "corpus", "rejected_pairs", "release",
    }  # fmt: skip
    # one block of the grid for each of three language pairs is old; a row and a column of it are new
    blocks = second.snapshot.find("neighbours")
    assert (len(blocks), len(old & set(blocks))) == (12, 3)


def test_pairs_are_found_across_crawls(updated, whole):
    first, _, second = updated
    assert sum(second.report.pairs.values()) > sum(first.report.pairs.values()) > 0
    for part in whole.snapshot.find("corpus"):
        table = pq.ParquetDataset(whole.store.paths(part)).read()
        across = sum(
            one != other
            for one, other in zip(table["source_crawl"].to_pylist(), table["target_crawl"].to_pylist(), strict=True)
        )
        assert across > 0


def test_processes_and_threads_change_no_byte(build, updated, tmp_path):
    first, _, _ = updated
    other = build(tmp_path, (FIRST,), resources={"workers": 2, "threads": 2})
    stop_children()
    assert other.parts() == first.parts()
    assert other.release() == first.release()


def test_s3_holds_the_same_bytes_as_a_folder(build, crawls, tmp_path, s3_root):
    two = {"languages": ["eng_Latn", "fra_Latn"]}
    local = build(tmp_path, (SECOND,), **two)
    files = fsspec.filesystem("s3")
    files.put(f"{crawls[SECOND]}/", f"{s3_root}/input/", recursive=True)
    two["crawls"] = [{"name": SECOND, "path": f"{s3_root}/input"}]
    remote = build(f"{s3_root}/runs", **two)
    assert remote.parts() == local.parts()
    assert remote.release() == local.release()
    assert remote.report.release.startswith("s3://")

    def objects():
        files.invalidate_cache()
        return {name: (one["ETag"], one["LastModified"]) for name, one in files.find(s3_root, detail=True).items()}

    before = objects()
    assert not build(f"{s3_root}/runs", **two).report.is_new
    assert objects() == before


def test_a_corpus_keeps_the_order_in_which_it_saw_its_crawls(build, updated):
    _, _, second = updated
    again = build(second.config.root, (SECOND, FIRST))
    assert not again.report.is_new
    assert again.snapshot.crawls == [FIRST, SECOND]
    assert again.parts() == second.parts()


def test_the_accounts_balance(whole):
    store, snapshot, funnel = whole.store, whole.snapshot, whole.report.funnel
    rows = {name: sum(one.rows for one in snapshot.find(name)) for name in {one.name for one in snapshot.things}}
    assert rows["documents"] == rows["kept_documents"] + rows["rejected_documents"] == funnel["records"]
    assert rows["languages"] == rows["documents"]
    assert rows["document_scores"] == len(whole.config.documents.filters) * rows["documents"]
    assert sum(whole.report.rejected_documents.values()) == rows["rejected_documents"]
    duplicates = sum(manifest.dropped.get("duplicate", 0) for manifest in whole.manifests("unique_sentences").values())
    assert rows["sentences"] == rows["unique_sentences"] + duplicates == funnel["sentences"]
    assert rows["embeddings"] == rows["unique_sentences"] == funnel["unique sentences"]
    assert rows["pairs"] == rows["corpus"] + rows["rejected_pairs"] == funnel["mined pairs"]
    assert sum(whole.report.rejected_pairs.values()) == rows["rejected_pairs"]
    for one, manifest in whole.manifests().items():
        assert one.rows == manifest.rows
    tables = [pq.ParquetDataset(store.paths(one)).read(["reason"]) for one in snapshot.find("rejected_documents")]
    told = Counter(reason for table in tables for reason in table["reason"].to_pylist())
    assert told == whole.report.rejected_documents


def gold(name):
    with (SAMPLES / "gold" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_documents_meet_the_fate_that_the_gold_expects(whole):
    fates = {}
    for name, fate in (("kept_documents", "kept"), ("rejected_documents", "rejected")):
        for one in whole.snapshot.find(name):
            table = pq.ParquetDataset(whole.store.paths(one)).read(["url"])
            fates |= {(one.partition.split("/")[0], url): fate for url in table["url"].to_pylist() if url}
    files = {(crawl.name, path.name) for crawl in whole.config.crawls for path in Path(crawl.path).iterdir()}
    rows = {(row["crawl"], row["url"]): row for row in gold("documents.tsv") if (row["crawl"], row["file"]) in files}
    copies = {
        (row["crawl"], row["url"])
        for row in gold("duplicates.tsv")
        if (row["duplicate_of_crawl"], row["duplicate_of_url"]) not in rows
    }  # of what is in files that are not here
    expected = {
        key: row["expected"]
        for key, row in rows.items()
        # how near near-duplicates are depends on what the extractor leaves around the articles
        if row["expected"] and row["kind"] != "near_duplicate" and key not in copies
    }
    assert Counter(expected.values()) == {"kept": 51, "rejected": 9}
    assert {key: fates.get(key) for key in expected} == expected


def test_a_new_limit_of_a_filter_runs_no_score_again(build, whole):
    filters = [one.model_dump(mode="json") for one in whole.config.pair_filters.filters]
    stricter = [one | {"limit": 1.2} if one["kind"] == "length_ratio" else one for one in filters]
    other = build(whole.config.root, corpus="stricter", pair_filters={"filters": stricter})
    assert other.manifests("pair_scores") == whole.manifests("pair_scores")
    assert other.report.rejected_pairs["length_ratio"] > whole.report.rejected_pairs["length_ratio"]
    assert sum(other.report.pairs.values()) < sum(whole.report.pairs.values())

    documents = [one.model_dump(mode="json") for one in whole.config.documents.filters]
    longer = [one | {"limit": 1800.0} if one["kind"] == "text_length" else one for one in documents]
    other = build(whole.config.root, corpus="longer", documents={"filters": longer})
    assert other.manifests("document_scores") == whole.manifests("document_scores")
    assert other.report.rejected_documents["text_length"] > whole.report.rejected_documents["text_length"]


def test_an_encoder_is_trained_first_from_a_recipe(build, tmp_path):
    recipe = {
        "bitext": [{"path": str(SAMPLES / "seed" / "seed.tsv"), "where": {"source_language": ["fra_Latn"]}}],
        "vocabulary": {"size": 1000},
        "training": {"architecture": {"kind": "static", "dimension": 32}, "steps": 20},
    }
    changes = {"languages": ["eng_Latn", "fra_Latn"], "encoder": recipe}
    built = build(tmp_path, (SECOND,), **changes)
    assert built.report.pairs.keys() == {"eng_Latn-fra_Latn"}
    assert {path.parts[-4] for path in tmp_path.glob("artifacts/*/*/*/manifest.json")} >= {"encoder", "vocabulary"}
    before = listing(tmp_path)
    assert not build(tmp_path, (SECOND,), **changes).report.is_new
    assert listing(tmp_path) == before


def test_personal_data_is_masked_in_a_release(build, whole):
    personal = ("h.vane-ellis@example.org", "020 7946 0142", "+1 202 555 0117")
    masked = texts_of(whole.release())
    assert not [(name, one) for name, text in masked.items() for one in personal if one in text]
    assert not [name for name, text in masked.items() if re.search(r"[\w.-]+@[\w-]+\.", text)]
    kept = build(whole.config.root, corpus="kept", publish={"pii": "keep"})
    as_is = texts_of(kept.release())
    for name in (f"monolingual/eng_Latn/{FIRST}.documents.parquet", f"monolingual/eng_Latn/{FIRST}.sentences.txt"):
        assert all(one in as_is[name] for one in personal)
        assert masked[name].count("<email>") >= 1
        assert masked[name].count("<phone>") >= 2
    # only the release differs: what lies behind it is the same
    assert {one for one in kept.parts() if one[0] != "release"} == {one for one in whole.parts() if one[0] != "release"}


def test_approval_is_refused_where_nobody_could_start_the_run_again(build, tmp_path):
    with pytest.raises(ConfigError, match="approval: only a run of a deployment"):
        build(tmp_path, approval=True)
    assert not list(tmp_path.glob("datasets/*"))


def test_crawls_are_found_in_their_folder(crawls, build_config, whole, tmp_path):
    folder = tmp_path / "crawls"
    for name, path in crawls.items():
        shutil.copytree(path, folder / name)
    (folder / SECOND / "_SUCCESS").touch()
    (folder / ".hidden").mkdir()
    config = CorpusConfig.model_validate(build_config(tmp_path, crawls=[], crawl_folder=str(folder)))
    assert [crawl.name for crawl in all_crawls(config)] == [FIRST, SECOND]
    named = config.model_copy(update={"crawls": whole.config.crawls[1:]})
    assert [crawl.name for crawl in all_crawls(named)] == [SECOND, FIRST]
    marked = config.model_copy(update={"crawl_marker": "_SUCCESS"})
    assert [crawl.name for crawl in all_crawls(marked)] == [SECOND]
    (folder / "no name").mkdir()
    with pytest.raises(ConfigError, match="crawl_folder: 'no name' cannot name a crawl"):
        all_crawls(config)
    with pytest.raises(ConfigError, match="there is none in"):
        all_crawls(config.model_copy(update={"crawl_folder": str(tmp_path / "crawls" / FIRST)}))
