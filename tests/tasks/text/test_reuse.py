from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schemas import ID, SPANS, empty, schema_of
from tasks.text.reuse import sentences_in_order, unchanged


def ids_of(numbers):
    return pa.array([int(number).to_bytes(16) for number in numbers], ID)


SPAN = st.fixed_dictionaries(
    {"start": st.integers(0, 1), "end": st.just(3), "kind": st.sampled_from(["ip", "email", None])}
)
FLOATS = st.none() | st.sampled_from([0.0, -0.0, 1.5, float("nan")])
COLUMNS = {
    "text": (pa.string(), st.none() | st.sampled_from(["", "a", "b\x00", "\u00fc"])),
    "score": (pa.float32(), FLOATS),
    "half": (pa.float16(), FLOATS),
    "place": (pa.int64(), st.none() | st.integers(0, 1)),
    "at": (pa.timestamp("ms", tz="UTC"), st.none() | st.integers(0, 1)),
    "owner": (ID, st.none() | st.sampled_from([b"a" * 16, b"b" * 16])),
    "pii": (SPANS, st.none() | st.lists(st.none() | SPAN, max_size=2)),
    "vector": (
        pa.list_(pa.field("element", pa.float16()), 2),
        st.none() | st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=2),
    ),
}


@st.composite
def tables(draw):
    """A table with distinct keys of a few, in chunks as they come, with few different values."""
    numbers = draw(st.lists(st.integers(0, 8), unique=True, max_size=8))
    columns = {"key": ids_of(numbers)}
    for name, (kind, values) in COLUMNS.items():
        columns[name] = pa.array(draw(st.lists(values, min_size=len(numbers), max_size=len(numbers))), kind)
    table = pa.table(columns)
    cut = draw(st.integers(0, len(numbers)))
    return pa.concat_tables([table.slice(0, cut), table.slice(cut)])


def bits(value):
    return value.hex() if isinstance(value, float) else value


@given(tables(), tables(), st.lists(st.sampled_from(list(COLUMNS)), unique=True))
def test_what_is_unchanged_by_the_definition(new, old, names):
    there = {row["key"]: (number, [bits(row[name]) for name in names]) for number, row in enumerate(old.to_pylist())}
    expected = []
    for row in new.to_pylist():
        number, values = there.get(row["key"], (-1, None))
        expected.append(number if [bits(row[name]) for name in names] == values else -1)
    found = unchanged(new, old, "key", names)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@given(tables(), st.randoms(use_true_random=False))
def test_a_table_is_unchanged_in_any_order(table, random):
    order = list(range(table.num_rows))
    random.shuffle(order)
    assert unchanged(table.take(pa.array(order, pa.int64())), table, "key", list(COLUMNS)).tolist() == order


def test_other_types_and_null_keys_are_refused():
    table = pa.table({"key": ids_of([1]), "text": ["a"]})
    with pytest.raises(ValueError, match="text is of type"):
        unchanged(table, pa.table({"key": ids_of([1]), "text": [1]}), "key", ["text"])
    with pytest.raises(ValueError, match="without nulls"):
        unchanged(table, pa.table({"key": pa.nulls(1, ID), "text": ["a"]}), "key", ["text"])


def sentences_of(documents):
    """A table of the `sentences` schema with some sentences of each (document, count)."""
    rows = [
        {"sentence_id": bytes([document, place]) * 8, "doc_id": bytes([document]) * 16, "position": place,
         "confidence": 0.5, "text": f"{document} {place}", "pii": []}
        for document, count in documents
        for place in range(count)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema_of("sentences"))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.booleans()), unique_by=lambda one: one[0]))
def test_sentences_come_in_the_order_of_their_documents(documents):
    order = pa.array([bytes([document]) * 16 for document, *_ in documents], ID)
    reused, computed = (
        sentences_of([(document, count) for document, count, is_reused in documents if is_reused == which])
        for which in (True, False)
    )
    whole = sentences_of([(document, count) for document, count, _ in documents])
    backwards = sentences_of([(document, count) for document, count, is_reused in documents[::-1] if is_reused])
    assert sentences_in_order(order, reused, computed).equals(whole, check_metadata=True)
    assert sentences_in_order(pa.chunked_array([order]), backwards, computed).equals(whole)
    assert sentences_in_order(order, whole, empty("sentences")).equals(whole)


def test_sentences_of_unknown_documents_or_of_both_tables_are_refused():
    order = pa.array([b"\x01" * 16, b"\x02" * 16], ID)
    with pytest.raises(ValueError, match="no document in the order"):
        sentences_in_order(order, sentences_of([(3, 1)]), empty("sentences"))
    with pytest.raises(ValueError, match="both tables"):
        sentences_in_order(order, sentences_of([(1, 1), (2, 1)]), sentences_of([(2, 2)]))
    with pytest.raises(ValueError, match="other columns"):
        sentences_in_order(order, sentences_of([(1, 1)]), empty("unique_sentences"))
