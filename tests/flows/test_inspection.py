from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.inspection import show_status
from storage.files import write_bytes
from storage.leases import hold
from storage.snapshots import Draft, commit, corpora, latest


def test_status_shows_every_corpus(babelmill, whole):
    result = babelmill("status", "--root", whole.config.root)
    assert result.exit_code == 0
    assert f"tiny: version {whole.report.version} of " in result.stdout
    assert "crawls: 2024-10, 2024-11" in result.stdout
    assert whole.report.release in result.stdout
    rows = sum(one.rows for one in whole.snapshot.find("corpus"))
    assert any(f" {rows:,} " in line for line in result.stdout.splitlines() if line.startswith("│ corpus "))


def test_status_tells_what_lies_there_and_what_is_needed(babelmill, whole):
    (line,) = (line for line in babelmill.lines("status", "--root", whole.config.root) if line.startswith("Stored "))
    stored, needed = (int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d(?= bytes|\.$)", line))
    folders = [Path(whole.config.root, name) for name in ("snapshots", "datasets", "artifacts")]
    assert stored == sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    newest = [latest(whole.store, name) for name in corpora(whole.store)]  # another test may have made one more
    manifests = {one.folder: whole.store.manifest(one) for snapshot in newest for one in snapshot.things}
    assert needed == sum(manifest.bytes for manifest in manifests.values()) < stored


def test_status_tells_of_removals_and_of_a_build_in_flight(store, capsys):
    commit(store, None, Draft(corpus="corpus", crawls=["one"], things=[]))
    show_status(store.root)
    shown = capsys.readouterr().out
    assert "Removals" not in shown
    assert "being built" not in shown
    place = Path(store.root, "removals", "corpus")
    place.mkdir(parents=True)
    for name in ("000001.json", "000002.json"):
        (place / name).write_text("{}")
    with hold(store, "build/corpus", 0):
        show_status(store.root)
    shown = capsys.readouterr().out
    assert "Removals recorded: 2" in shown
    assert f"  being built by run {store.run} on " in shown


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"run": "\\u001b[2Jx"}', "\x1b"])
def test_a_lease_that_nobody_can_read_is_somebodys(store, capsys, content):
    commit(store, None, Draft(corpus="corpus", crawls=["one"], things=[]))
    write_bytes(store.place()[0], f"{store.root}/leases/build/corpus.json", content.encode())
    show_status(store.root)
    shown = capsys.readouterr().out
    assert "being built by " in shown
    assert "\x1b" not in shown


def test_status_of_a_place_without_corpora_is_refused(babelmill, tmp_path):
    assert f"there is no corpus at {tmp_path}" in babelmill.refused("status", "--root", tmp_path)
    assert not list(tmp_path.iterdir())


def told_of(babelmill, pair_id, built):
    """What `trace` says of a pair in this corpus; a root may hold others that have the pair too."""
    result = babelmill("trace", pair_id, "--root", built.config.root)
    assert result.exit_code == 0
    text, found = result.stdout.strip(), []
    while text:
        one, end = json.JSONDecoder().raw_decode(text)
        found, text = [*found, one], text[end:].strip()
    (mine,) = (one for one in found if one["corpus"] == f"{built.report.corpus} version {built.report.version}")
    return mine


def record_at(crawl_file, offset, length):
    data = crawl_file.read_bytes()[offset : offset + length]
    return gzip.decompress(data) if crawl_file.suffix == ".gz" else data


def test_trace_leads_to_the_record_on_disk(babelmill, whole):
    folders = {crawl.name: Path(crawl.path) for crawl in whole.config.crawls}
    release = Path(whole.report.release)
    for name in whole.report.pairs:
        row = pq.read_table(release / "bilingual" / f"{name}.parquet").slice(0, 1).to_pylist()[0]
        told = told_of(babelmill, row["pair_id"].hex(), whole)
        assert (told["pair"], told["kept"]) == (name, True)
        assert told["margin"] == pytest.approx(row["margin"])
        assert told["scores"].keys() == {one.kind for one in whole.config.pair_filters.filters}
        for side in ("source", "target"):
            document = told[side]["document"]
            assert told[side]["text"]
            for field in ("url", "crawl", "file", "offset"):
                assert document[field] == row[f"{side}_{field}"]
            file = folders[document["crawl"]] / document["file"]
            record = record_at(file, document["offset"], document["length"])
            assert record.startswith(b"WARC/1.")
            assert f"\r\nWARC-Target-URI: {document['url']}\r\n".encode() in record


def test_trace_knows_why_a_pair_was_rejected(babelmill, whole):
    part = next(one for one in whole.snapshot.find("rejected_pairs") if one.rows)
    row = pq.ParquetDataset(whole.store.paths(part)).read().slice(0, 1).to_pylist()[0]
    told = told_of(babelmill, row["pair_id"].hex(), whole)
    assert told["kept"] is False
    assert told["rejected_by"]["filter"] == row["filter"]
    assert told["scores"][row["filter"]] == told["rejected_by"]["score"]
    assert json.loads(told["rejected_by"]["limit"])["kind"] == row["filter"]
    assert told["source"]["document"]["url"]


def test_a_pair_id_that_leads_nowhere_is_refused(babelmill, whole, tmp_path):
    root = ("--root", whole.config.root)
    for malformed in ("12", "x" * 32, "", "00" * 17, "\x1b[31m"):
        assert "is no pair_id: it has 32 hexadecimal digits" in babelmill.refused("trace", malformed, *root)
    assert f"has a pair {'0' * 32}, kept or rejected" in babelmill.refused("trace", "0" * 32, *root)
    assert "there is no corpus at" in babelmill.refused("trace", "0" * 32, "--root", tmp_path)
