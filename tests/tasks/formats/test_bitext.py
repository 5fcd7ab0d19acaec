from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.formats.bitext import BitextSource, read_aligned, read_bitext

COLUMNS = {"lang": ["deu", "fra", "deu"], "text": ["Eins.", "Deux.", " "], "eng": ["One.", "Two.", "Three."]}
NAMES = {"source_column": "text", "target_column": "eng", "source_language_column": "lang", "target_language": "eng"}


def parquet(columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return io.BytesIO(buffer.getvalue())


def rows(tables):
    return pa.concat_tables(tables).to_pylist()


def test_parquet_columns_are_named_in_the_settings_and_empty_sides_left_out():
    found = rows(read_bitext(parquet(COLUMNS), "x.parquet", BitextSource(path="x", **NAMES)))
    assert [tuple(row.values()) for row in found] == [("deu", "eng", "Eins.", "One."), ("fra", "eng", "Deux.", "Two.")]


def test_where_keeps_only_named_values():
    source = BitextSource(path="x", **NAMES, where={"lang": ["fra"]})
    assert [row["source"] for row in rows(read_bitext(parquet(COLUMNS), "x.parquet", source))] == ["Deux."]


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz"])
def test_tsv_with_quotes_is_taken_as_it_is(name):
    data = b'source\ttarget\n"Ja", sagte er.\t"Yes," he said.\n'
    data = gzip.compress(data) if name.endswith("gz") else data
    source = BitextSource(path="x", source_language="deu", target_language="eng")
    assert rows(read_bitext(io.BytesIO(data), name, source))[0]["source"] == '"Ja", sagte er.'


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"no column lang; it has eng, text"):
        list(read_bitext(parquet({"eng": ["a"], "text": ["b"]}), "x.parquet", BitextSource(path="x", **NAMES)))


def test_other_files_are_refused():
    with pytest.raises(ValueError, match=r"bitext is \.parquet"):
        list(read_bitext(io.BytesIO(b""), "x.docx", BitextSource(path="x")))


def test_aligned_files():
    source = BitextSource(path="a.de", target_path="a.en", source_language="deu", target_language="eng")
    found = rows(read_aligned(io.BytesIO(b"Eins.\r\nZwei.\n"), io.BytesIO(b"One.\nTwo.\n"), source))
    assert [(row["source"], row["target"]) for row in found] == [("Eins.", "One."), ("Zwei.", "Two.")]
    with pytest.raises(ValueError, match="same number of lines"):
        list(read_aligned(io.BytesIO(b"Eins.\n"), io.BytesIO(b"One.\nTwo.\n"), source))


def test_aligned_files_need_their_languages():
    with pytest.raises(ValidationError, match="source_language and target_language"):
        BitextSource(path="a", target_path="b")
