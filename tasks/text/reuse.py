"""New and old rows with their keys in, which need not be computed again and the tables put together out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.similarity.identifiers import flat, positions

_ROWS_AT_ONCE = 65_536  # compared together: bounds what is held twice


def unchanged(new: pa.Table, old: pa.Table, key: str, columns: Sequence[str]) -> np.ndarray:
    """For each new row the old row (int64) of the same key whose columns are all equal, -1 where there is none.

    Nulls equal nulls, and numbers are equal if their bits are.

    Args:
        new: rows in any order.
        old: rows whose keys are distinct.
        key: name of a column of 16-byte ids.
        columns: names of the columns to compare, of the same types in both tables.

    Raises:
        ValueError: if keys are no ids, or columns are of different types.
    """
    for name in columns:
        if new[name].type != old[name].type:
            raise ValueError(f"{name} is of type {new[name].type} here and {old[name].type} there")
    found = positions(new[key], old[key])
    rows = np.flatnonzero(found >= 0)
    for name in columns:
        ours, theirs = _indexable(new[name]), _indexable(old[name])
        equal = np.zeros(len(rows), np.bool_)
        for some in _slices(len(rows)):
            equal[some] = _equal(ours.take(pa.array(rows[some])), theirs.take(pa.array(found[rows[some]])))
        found[rows[~equal]] = -1
        rows = rows[equal]
    return found


def sentences_in_order(order: pa.Array | pa.ChunkedArray, reused: pa.Table, computed: pa.Table) -> pa.Table:
    """The sentences of both tables in the order of their documents.

    Args:
        order: doc_id of the documents.
        reused: `sentences` table; those of one document are together, in the order of their positions.
        computed: the same, of other documents.

    Raises:
        ValueError: if a document is in both tables or not in the order, or the tables have other columns.
    """
    _check_same_columns(reused, computed)
    here, there = (positions(table["doc_id"], order) for table in (reused, computed))
    both = np.concatenate([here, there])
    if (both < 0).any():
        raise ValueError("a sentence is of no document in the order")
    if len(np.intersect1d(here, there)):
        raise ValueError("a document's sentences are in both tables")
    return _joined(reused, computed, np.argsort(both, kind="stable"))


def _check_same_columns(reused: pa.Table, computed: pa.Table) -> None:
    if not reused.schema.equals(computed.schema, check_metadata=True):
        raise ValueError(f"the tables have other columns than each other: {reused.schema} and {computed.schema}")


def _joined(reused: pa.Table, computed: pa.Table, order: np.ndarray) -> pa.Table:
    return pa.concat_tables([reused, computed]).take(pa.array(order)).combine_chunks()


def _slices(rows: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, rows, _ROWS_AT_ONCE))


def _indexable(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array, of texts with 64-bit offsets: a crawl's are more than the 2 GiB that 32 bits can say."""
    return flat(column.cast(pa.large_string()) if pa.types.is_string(column.type) else column)


def _equal(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Whether the values of each row are equal, or both null."""
    if not left.null_count and not right.null_count:
        return _equal_values(left, right)
    here, there = (side.is_valid().to_numpy(zero_copy_only=False) for side in (left, right))
    equal = np.asarray(here == there)
    both = np.flatnonzero(here & there)
    equal[both] = _equal_values(left.take(pa.array(both)), right.take(pa.array(both)))
    return equal


def _equal_values(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Whether the values of each row are equal, where none is null."""
    kind = left.type
    if pa.types.is_struct(kind):
        fields = (_equal(one, other) for one, other in zip(left.flatten(), right.flatten(), strict=True))
        return np.asarray(np.logical_and.reduce([np.ones(len(left), np.bool_), *fields]))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _equal_lists(left, right)
    if pa.types.is_floating(kind):
        bits = {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[kind.bit_width]
        left, right = left.view(bits), right.view(bits)
    return np.asarray(pc.equal(left, right).to_numpy(zero_copy_only=False))


def _equal_lists(left: pa.Array, right: pa.Array) -> np.ndarray:
    lengths = pc.list_value_length(left).to_numpy(zero_copy_only=False)
    equal = np.asarray(lengths == pc.list_value_length(right).to_numpy(zero_copy_only=False))
    rows = np.flatnonzero(equal)
    values = _equal(left.take(pa.array(rows)).flatten(), right.take(pa.array(rows)).flatten())
    equal[np.repeat(rows, lengths[rows])[~values]] = False
    return equal
