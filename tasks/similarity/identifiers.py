"""Columns of 128-bit ids in, their order and their positions out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from storage.schemas import ID
from tasks.similarity.compiled import compiled


def keys(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Each id as two big-endian uint64 (n, 2), so that comparing the numbers compares the bytes.

    Raises:
        ValueError: if the column is not of 16-byte ids or has nulls.
    """
    column = flat(ids)
    if column.type != ID or column.null_count:
        raise ValueError(f"expected 16-byte ids without nulls, got {column.type} with {column.null_count} nulls")
    if not len(column):
        return np.empty((0, 2), np.uint64)
    words = np.frombuffer(column.buffers()[1], dtype=">u8", count=2 * len(column), offset=16 * column.offset)
    return words.astype(np.uint64).reshape(-1, 2)


def ranks(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Place of each id (int64) when the column is sorted by bytes; equal ids in the order of their rows."""
    words = keys(ids)
    order = np.lexsort((words[:, 1], words[:, 0]))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def positions(wanted: pa.Array | pa.ChunkedArray, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Row (int64) of each wanted id in a column of distinct ids, -1 where it is not there."""
    table = np.full(1 << max(4, (2 * len(ids)).bit_length()), -1, np.int64)
    return _look_up(keys(ids), keys(wanted), table)


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.combine_chunks() if column.num_chunks else pa.array([], column.type)


@compiled
def _look_up(known: np.ndarray, wanted: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Open addressing on the low bits: ids are hashes already. The table is at most half full."""
    mask = np.uint64(len(table) - 1)
    one = np.uint64(1)
    for row in range(len(known)):
        slot = known[row, 1] & mask
        while table[slot] >= 0:
            slot = (slot + one) & mask
        table[slot] = row
    found = np.full(len(wanted), -1, np.int64)
    for row in range(len(wanted)):
        slot = wanted[row, 1] & mask
        while table[slot] >= 0:
            candidate = table[slot]
            if known[candidate, 1] == wanted[row, 1] and known[candidate, 0] == wanted[row, 0]:
                found[row] = candidate
                break
            slot = (slot + one) & mask
    return found
