from __future__ import annotations

import gzip

import pytest

from storage.errors import ConfigError
from tasks.collect_bitext import collect_bitext
from tasks.formats.bitext import BitextSource

LABELS = {"source_language": "deu_Latn", "target_language": "eng_Latn"}


def collect(store, path, **settings):
    return collect_bitext.fn(store, "seed/000", BitextSource(path=str(path), **settings))


def test_a_folder_of_files_is_one_dataset_in_the_order_of_their_names(store, tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "b.tsv").write_text("source\ttarget\nZwei.\tTwo.\n", "utf-8")
    (folder / "a.tsv.gz").write_bytes(gzip.compress(b"source\ttarget\nEins.\tOne.\n"))
    assert store.read(collect(store, folder, **LABELS))["source"].to_pylist() == ["Eins.", "Zwei."]


def test_pairs_without_a_language_or_a_side_are_left_out_and_numbers_are_text(store, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("source\ttarget\tsource_language\na\tb\t\nc\t\tdeu_Latn\n7\te\tdeu_Latn\n", "utf-8")
    (row,) = store.read(collect(store, path, target_language="eng_Latn")).to_pylist()
    assert row == LABELS | {"source": "7", "target": "e"}


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.tsv.gz", b"no gzip", "a.tsv.gz cannot be read: Not a gzipped file"),
        ("a.tsv.gz", gzip.compress(b"source\ttarget\na\tb\n")[:-9], "a.tsv.gz cannot be read: Compressed file ended"),
        ("a.parquet", b"PAR1", "a.parquet cannot be read: "),
        ("a.tsv", b"source\ttarget\na\tb\tc\n", "a.tsv cannot be read: found more fields"),
        ("a.tsv", b"source\ttarget\n\xff\tb\n", "a.tsv cannot be read: invalid utf-8"),
        ("a.tsv", b"", "a.tsv cannot be read: empty"),
        ("a.tsv", b"source\ttarget\n\n", "a.tsv has no pair of sentences"),
    ],
)
def test_a_file_that_is_damaged_or_empty_is_named_and_not_tried_again(store, tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=r"^bitext: ") as caught:
        collect(store, tmp_path / name, **LABELS)
    assert told in str(caught.value)


def test_aligned_files_must_be_text(store, tmp_path):
    (tmp_path / "a.de").write_bytes(b"Ja.\n\xff\n")
    (tmp_path / "a.en").write_bytes(b"Yes.\nNo.\n")
    with pytest.raises(ConfigError, match=r"a\.de is not UTF-8"):
        collect(store, tmp_path / "a.de", target_path=str(tmp_path / "a.en"), **LABELS)


def test_rows_that_nobody_wants_are_named(store, tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("source\ttarget\tcorpus\na\tb\tweb\n", "utf-8")
    with pytest.raises(ConfigError, match="has no pair of sentences with corpus as wanted"):
        collect(store, path, where={"corpus": ["bible"]}, **LABELS)
