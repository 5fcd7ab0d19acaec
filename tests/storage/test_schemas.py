from __future__ import annotations

import pyarrow as pa
import pytest

from storage.errors import SchemaError
from storage.schemas import ID, SCHEMAS, check, conform, embeddings_schema, empty, schema_of

SCORES = schema_of("pair_scores")


@pytest.mark.parametrize("name", [*SCHEMAS, "embeddings"])
def test_every_dataset_has_a_schema_that_its_tables_pass_and_carry(name):
    table = empty(name)
    assert check(name, table).schema.equals(table.schema, check_metadata=True)
    assert table.schema.metadata[b"name"] == name.encode()
    assert int(table.schema.metadata[b"version"]) >= 1
    assert len(table.schema.names) == len(set(table.schema.names))


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (pa.table({"pair_id": pa.array([], ID)}), "score: float"),
        (pa.table({"pair_id": pa.array([], ID), "score": pa.array([], pa.float64())}), "score: double"),
        (pa.table({"score": pa.array([], pa.float32()), "pair_id": pa.array([], ID)}), "score: float, pair_id"),
        (empty("pair_scores").append_column("extra", pa.array([], pa.int8())), "extra: int8"),
        (
            pa.schema([pa.field("pair_id", ID, nullable=False), ("score", pa.float32())]).empty_table(),
            r"pair_id: fixed_size_binary\[16\] not null",
        ),
    ],
    ids=["missing", "type", "order", "extra", "not null"],
)
def test_a_wrong_table_is_refused_with_the_names_of_its_columns(table, named):
    with pytest.raises(SchemaError, match=named) as refused:
        check("pair_scores", table)
    assert str(refused.value).startswith("pair_scores: ")


@pytest.mark.parametrize(
    "columns", [{}, {"vector": pa.array([[1.0]])}, {"vector": [1]}], ids=["none", "list", "number"]
)
def test_embeddings_without_fixed_size_vectors_are_refused(columns):
    with pytest.raises(SchemaError, match="vector"):
        check("embeddings", pa.table(columns))


def test_an_unknown_dataset_is_refused_with_the_known_ones():
    with pytest.raises(SchemaError, match=r"no dataset called 'pears'; known: .*pairs"):
        schema_of("pears")


def test_embeddings_need_a_dimension():
    assert embeddings_schema(8).field("vector").type.byte_width == 16
    assert empty("embeddings", 8).schema == embeddings_schema(8)
    with pytest.raises(SchemaError, match="dimension"):
        schema_of("embeddings")


def test_what_does_not_matter_is_made_exact():
    """Arrow calls lists equal whose elements have other names, and fields with other metadata; Parquet files differ."""
    ids = pa.array([[b"x" * 16]], pa.list_(pa.field("item", ID)))
    cosines = pa.array([[1.0]], pa.list_(pa.field("item", pa.float32())))
    fields = [
        pa.field("side", pa.string(), metadata={"a": "b"}),
        ("sentence_id", ID),
        ("neighbour_ids", ids.type),
        ("cosines", cosines.type),
    ]
    table = pa.table([pa.array(["source"]), pa.array([b"y" * 16], ID), ids, cosines], schema=pa.schema(fields))
    for exact in (check("neighbours", table), conform("neighbours", table)):
        assert exact.schema.equals(schema_of("neighbours"), check_metadata=True)
        assert exact.to_pylist() == table.to_pylist()


def test_conform_casts_selects_and_orders():
    loose = pa.table({"more": [1], "score": [0.5], "pair_id": pa.array([b"x" * 16], pa.large_binary())})
    assert conform("pair_scores", loose).schema.equals(SCORES, check_metadata=True)


@pytest.mark.parametrize("loose", [pa.table({"score": [0.5]}), pa.table({"score": ["much"], "pair_id": [b"x" * 16]})])
def test_conform_refuses_what_cannot_be_cast(loose):
    with pytest.raises(SchemaError, match="score"):
        conform("pair_scores", loose)
