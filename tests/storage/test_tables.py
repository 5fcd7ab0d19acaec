from __future__ import annotations

import uuid
from functools import cache
from itertools import pairwise

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import SchemaError, SourceError
from storage.fingerprint import digest
from storage.schemas import ID, check, embeddings_schema, empty, schema_of
from storage.tables import ROW_GROUP, SHARD_ROWS, StoredFile, TableWriter, read_batches, read_table

ROWS = 2 * ROW_GROUP + 1234


@cache
def table(name: str) -> pa.Table:
    """Rows enough for three row groups, with nulls, lists and texts of many lengths."""
    random = np.random.default_rng(0)
    ids = pa.FixedSizeBinaryArray.from_buffers(ID, ROWS, [None, pa.py_buffer(random.bytes(16 * ROWS))])
    offsets = pa.array(np.concatenate([[0], random.integers(0, 3, ROWS).cumsum()]), pa.int32())
    texts = pa.array([f"{number:x}" * (number % 5) if number % 7 else None for number in range(ROWS)])
    floats = pa.array(random.random(ROWS), pa.float32(), mask=random.random(ROWS) < 0.1)
    columns = {
        "rejected_documents": [ids, texts, texts, texts, floats, floats, ids],
        "signatures": [
            ids,
            pa.ListArray.from_arrays(offsets, pa.array(random.integers(0, 99, offsets[-1].as_py()), pa.uint32())),
        ],
    }
    return check(name, pa.table(columns[name], names=schema_of(name).names))


def written(name: str, tables: list[pa.Table], run: str = "run") -> list[bytes]:
    """The files that a writer makes of these tables."""
    memory, folder = fsspec.filesystem("memory"), f"/{uuid.uuid4().hex}"
    with TableWriter(memory, folder, name, run) as writer:
        for part in tables:
            writer.write(part)
    files = [memory.cat_file(f"{folder}/{shard.path}") for shard in writer.shards]
    assert [(shard.bytes, shard.digest) for shard in writer.shards] == [(len(file), digest(file)) for file in files]
    assert sum(shard.rows for shard in writer.shards) == sum(part.num_rows for part in tables)
    memory.rm(folder, recursive=True)
    return files


@settings(deadline=None, max_examples=12)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=6), name=st.sampled_from(["rejected_documents", "signatures"]))
def test_equal_rows_are_equal_bytes_however_they_come(cuts, name):
    whole = table(name)
    parts = [whole.slice(start, end - start) for start, end in pairwise([0, *sorted(cuts), ROWS])]
    assert written(name, parts) == written(name, [whole])


def test_many_small_tables_are_the_same_bytes_as_one():
    whole = table("signatures").slice(0, 300)
    assert written("signatures", [whole.slice(row, 1) for row in range(300)]) == written("signatures", [whole])


def test_tables_from_a_file_are_the_same_bytes_as_those_in_memory():
    whole = table("signatures")
    [file] = written("signatures", [whole])
    again = pq.read_table(pa.BufferReader(file))
    lists = pa.list_(pa.field("item", pa.uint32()))  # what numpy and polars make
    renamed = again.set_column(1, "minhashes", again["minhashes"].cast(lists))
    assert written("signatures", [again]) == written("signatures", [renamed]) == [file]


def test_row_groups_are_fixed():
    [file] = written("signatures", [table("signatures")])
    metadata = pq.ParquetFile(pa.BufferReader(file)).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [
        ROW_GROUP,
        ROW_GROUP,
        1234,
    ]


def test_shards_are_cut_at_a_fixed_number_of_rows():
    rows = SHARD_ROWS + 5
    ids = pa.FixedSizeBinaryArray.from_buffers(ID, rows, [None, pa.py_buffer(bytes(16 * rows))])
    scores = check("pair_scores", pa.table({"pair_id": ids, "score": pa.array(np.zeros(rows, np.float32))}))
    files = written("pair_scores", [scores.slice(0, 7), scores.slice(7)])
    assert [pq.read_metadata(pa.BufferReader(file)).num_rows for file in files] == [SHARD_ROWS, 5]
    assert files == written("pair_scores", [scores])


def test_no_rows_are_one_empty_file_with_the_schema():
    [file] = written("documents", [])
    assert pq.read_schema(pa.BufferReader(file)).equals(schema_of("documents"), check_metadata=True)
    [file] = written("embeddings", [empty("embeddings", 6)])
    assert pq.read_schema(pa.BufferReader(file)).equals(embeddings_schema(6), check_metadata=True)


def test_vectors_of_two_dimensions_are_refused():
    with pytest.raises(SchemaError, match="dimension"):
        written("embeddings", [empty("embeddings", 6), empty("embeddings", 7)])


def test_the_run_is_in_the_names_of_files_only():
    assert written("signatures", [table("signatures")], "one") == written("signatures", [table("signatures")], "two")


@pytest.fixture
def file(tmp_path):
    """A shard on disk."""
    path = tmp_path / "part.parquet"
    path.write_bytes(written("signatures", [table("signatures")])[0])
    return path


def test_reading_is_in_order_in_batches_of_bounded_size(file):
    local = fsspec.filesystem("file")
    batches = list(read_batches(local, [StoredFile(str(file))] * 2, "signatures", None, 10_000))
    assert max(batch.num_rows for batch in batches) <= 10_000
    assert pa.concat_tables(batches).equals(pa.concat_tables([table("signatures")] * 2))
    assert all(batch.schema.equals(schema_of("signatures"), check_metadata=True) for batch in batches)


@pytest.mark.parametrize("columns", [["minhashes", "doc_id"], ["minhashes"]])
def test_some_columns_come_in_the_order_asked_for_with_rows_and_without(file, tmp_path, columns):
    (tmp_path / "empty").write_bytes(written("signatures", [])[0])
    for path in (file, tmp_path / "empty"):
        assert (
            read_table(fsspec.filesystem("file"), [StoredFile(str(path))], "signatures", columns).schema.names
            == columns
        )


def test_an_unknown_column_is_refused_with_the_known_ones(file):
    with pytest.raises(SchemaError, match="no column length; there are doc_id, minhashes"):
        read_table(fsspec.filesystem("file"), [StoredFile(str(file))], "signatures", ["doc_id", "length"])


def test_a_file_of_another_dataset_is_refused(file):
    with pytest.raises(SchemaError, match="pairs: expected columns"):
        read_table(fsspec.filesystem("file"), [StoredFile(str(file))], "pairs", None)


@pytest.mark.parametrize("keep", [0, 3, 5000], ids=["nothing", "magic", "half"])
def test_a_damaged_file_is_a_source_error_that_names_it(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(SourceError, match=f"{file} is damaged"):
        read_table(fsspec.filesystem("file"), [StoredFile(str(file))], "signatures", None)


def test_damaged_rows_are_a_source_error(file):
    data = bytearray(file.read_bytes())
    data[1000:2000] = bytes(1000)
    file.write_bytes(data)
    with pytest.raises(SourceError, match=str(file)):
        read_table(fsspec.filesystem("file"), [StoredFile(str(file))], "signatures", None)


def test_a_missing_file_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match=r"cannot read .*gone\.parquet"):
        read_table(fsspec.filesystem("file"), [StoredFile(str(tmp_path / "gone.parquet"))], "signatures", None)
