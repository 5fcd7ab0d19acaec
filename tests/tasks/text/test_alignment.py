from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.text.alignment import changed_rows, in_step, patched, recomputed

CELLS = st.one_of(st.none(), st.text(max_size=3))


def cut(table, sizes):
    """The table in pieces, of these sizes as long as there are rows."""
    start = 0
    for size in sizes:
        yield table.slice(start, size)
        start += size
    yield table.slice(start)


def upper(rows):
    """Something that is computed row by row."""
    return pa.table(
        {"loud": pa.array([None if text is None else text.upper() for text in rows["text"].to_pylist()], pa.string())}
    )


def texts(values):
    return pa.table({"id": pa.array(range(len(values))), "text": pa.array(values, pa.string())})


@given(
    st.lists(st.tuples(CELLS, CELLS)),
    st.lists(st.integers(0, 4)),
    st.lists(st.integers(0, 4)),
    st.lists(st.integers(0, 4)),
)
def test_recomputing_what_changed_gives_what_computing_everything_gives(pairs, one, two, three):
    before, after = texts([left for left, _ in pairs]), texts([right for _, right in pairs])
    asked = []

    def compute(rows):
        asked.extend(rows["id"].to_pylist())
        return upper(rows)

    found = list(recomputed(cut(before, one), cut(after, two), cut(upper(before), three), compute))
    assert pa.concat_tables([upper(texts([])), *found]).equals(upper(after))
    assert asked == [place for place, (left, right) in enumerate(pairs) if left != right]


def test_streams_are_cut_to_the_same_rows():
    table = texts(["a"] * 7)
    steps = list(in_step(cut(table, [1, 5]), cut(table, [3]), rows=2))
    assert [[part.num_rows for part in step] for step in steps] == [[2, 2], [2, 2], [2, 2], [1, 1]]
    assert pa.concat_tables(left for left, _ in steps).equals(table)


def test_streams_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        list(in_step([texts(["a"] * 5)], [texts(["a"] * 2)], rows=2))


def test_null_equals_null_and_nothing_else():
    before, after = texts([None, None, "", "a"]), texts([None, "", None, "a"])
    assert changed_rows(before, after).to_pylist() == [False, True, True, False]


def test_found_rows_go_where_rows_changed():
    known, found = texts(["a", "b", "c"]), texts(["x", "y"])
    assert patched(known, found, pa.array([True, False, True]))["text"].to_pylist() == ["x", "b", "y"]
