"""Tables row by row beside what was computed from an earlier version of them in, what is to be computed now out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ROWS = 16_384


def recomputed(
    before: Iterable[pa.Table],
    after: Iterable[pa.Table],
    known: Iterable[pa.Table],
    compute: Callable[[pa.Table], pa.Table],
) -> Iterator[pa.Table]:
    """Yield what `compute` makes of the rows of `after`, calling it only for those that differ from `before`.

    Args:
        before: the earlier rows, in tables of any size.
        after: as many rows of the same columns.
        known: what was computed from each earlier row.
        compute: makes one row of each row, whatever stands beside it.
    """
    for earlier, rows, found in in_step(before, after, known):
        changed = changed_rows(earlier, rows)
        yield patched(found, compute(rows.filter(changed)), changed) if pc.any(changed).as_py() else found


def in_step(*streams: Iterable[pa.Table], rows: int = _ROWS) -> Iterator[tuple[pa.Table, ...]]:
    """Yield from each stream a table of as many rows; all streams have equally many in all, cut anywhere.

    Raises:
        ValueError: if one has more rows than another.
    """
    yield from zip(*(_cut(stream, rows) for stream in streams), strict=True)


def changed_rows(before: pa.Table, after: pa.Table) -> pa.Array:
    """Say of each row whether any column differs; null equals null."""
    changed = np.zeros(after.num_rows, np.bool_)
    for name in after.column_names:
        left, right = before[name], after[name]
        differ = pc.fill_null(pc.not_equal(left, right), False)
        changed |= differ.to_numpy() | (left.is_null().to_numpy() != right.is_null().to_numpy())
    return pa.array(changed)


def patched(known: pa.Table, found: pa.Table, changed: pa.Array) -> pa.Table:
    """Put the rows of `found`, in order, in the places of the changed rows of `known`."""
    places = np.arange(known.num_rows)
    places[changed.to_numpy(zero_copy_only=False)] = known.num_rows + np.arange(found.num_rows)
    return pa.concat_tables([known, found]).take(pa.array(places))


def _cut(stream: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    pending: list[pa.Table] = []
    for table in stream:
        pending.append(table)
        if sum(one.num_rows for one in pending) >= rows:
            whole = pa.concat_tables(pending)
            while whole.num_rows >= rows:
                yield whole.slice(0, rows)
                whole = whole.slice(rows)
            pending = [whole]
    if any(one.num_rows for one in pending):
        yield pa.concat_tables(pending)
