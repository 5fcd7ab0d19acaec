"""A block's old neighbours, its vectors before and after in, its new neighbours out, searching only what changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.similarity.compiled import compiled
from tasks.similarity.identifiers import positions, ranks
from tasks.similarity.neighbour_tables import Sides, neighbour_table, sides_of
from tasks.similarity.neighbours import Neighbours, search
from tasks.similarity.ranking import Ranking, merge, merge_into, nobody

WORTH = 0.5  # share of the full search above which repairing may take longer, as it also reads and compares


class Embedded(NamedTuple):
    """One side of a block: the distinct 16-byte ids of its sentences and their vectors (n, d), normalised or zero."""

    ids: pa.Array
    vectors: np.ndarray


class Block(NamedTuple):
    """The two sides between which neighbours are found."""

    source: Embedded
    target: Embedded


def repair(old: pa.Table, before: Block, after: Block, k: int) -> pa.Table | None:
    """The table that `neighbours` and `neighbour_table` give for the block after, from that of the block before.

    A sentence stayed if its id and every bit of its vector did. Searched against the whole other side are those that
    came, and those that stayed but lost one of k neighbours: the next in line is not on their list. A list of fewer
    than k holds the whole other side, so that losses leave it true. All other lists stay true of what stayed, as the
    order of (cosine, id) does not depend on who else is there, and only what came to the other side can enter them.

    Args:
        old: `neighbours` table of the block before, of this k or a larger one.
        before: what the old table was made of, in any order of rows.
        after: what the new table is to be of.
        k: neighbours per row.

    Returns:
        The new table, or None where the searches are more than WORTH of a full one (sources searched x targets and
        targets searched x sources, against sources x targets): search anew then.

    Raises:
        ValueError: if ids repeat or are not one per vector, or the old table is not of the block before and this k.
    """
    held = _held(old, before, k)
    source_origin = _origins(held.source_ids, before.source, after.source)
    target_origin = _origins(held.target_ids, before.target, after.target)
    forward_moved = _renumbered(held.neighbours.forward.rows, _inverse(target_origin, len(held.target_ids)))
    backward_moved = _renumbered(held.neighbours.backward.rows, _inverse(source_origin, len(held.source_ids)))
    stale_sources = _stale(held.neighbours.forward.rows, forward_moved, source_origin)
    stale_targets = _stale(held.neighbours.backward.rows, backward_moved, target_origin)
    sources, targets = len(source_origin), len(target_origin)
    if len(stale_sources) * targets + len(stale_targets) * sources > WORTH * sources * targets:
        return None
    places = ranks(after.source.ids), ranks(after.target.ids)
    found = Neighbours(
        _carried(Ranking(forward_moved, held.neighbours.forward.cosines), source_origin, places[1]),
        _carried(Ranking(backward_moved, held.neighbours.backward.cosines), target_origin, places[0]),
    )
    _search_stale(found, after, (stale_sources, stale_targets), places)
    return neighbour_table(found, after.source.ids, after.target.ids)


def _held(old: pa.Table, before: Block, k: int) -> Sides:
    """The old table as arrays, once it is known to be whole and of the block before."""
    held = sides_of(old, k)
    for ids, side in ((held.source_ids, before.source), (held.target_ids, before.target)):
        if not np.array_equal(np.sort(positions(side.ids, ids)), np.arange(len(ids))):
            raise ValueError("the old table is not of the sentences before")
    forward, backward = ((ranking.rows >= 0).sum(axis=1) for ranking in held.neighbours)
    for counts, others in ((forward, backward), (backward, forward)):
        # a row without neighbours is zero; every other row has all of the other side that is not zero, up to k
        if not ((counts == 0) | (counts == min(k, np.count_nonzero(others)))).all():
            raise ValueError(f"the old table is not of {k} neighbours")
    return held


def _origins(held_ids: pa.Array, before: Embedded, after: Embedded) -> np.ndarray:
    """Row in the old table (int64) of each sentence after that stayed, -1 for those that came."""
    for side in (before, after):
        if len(side.ids) != len(side.vectors):
            raise ValueError("there must be one id per vector")
    if not np.array_equal(positions(after.ids, after.ids), np.arange(len(after.ids))):
        raise ValueError("an id is there twice")
    old, new = before.vectors, after.vectors
    if old.dtype != new.dtype or old.shape[1:] != new.shape[1:]:  # another encoder's: none stayed
        return np.full(len(new), -1, np.int64)
    rows = positions(after.ids, before.ids)
    _forget_changed(rows, _bytes(old), _bytes(new))
    return _renumbered(rows, positions(before.ids, held_ids))


def _bytes(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors).view(np.uint8)


@compiled
def _forget_changed(rows: np.ndarray, old: np.ndarray, new: np.ndarray) -> None:
    """Set to -1, in place, the old row of each new row that differs from it."""
    for row in range(len(rows)):
        if rows[row] >= 0 and not np.array_equal(old[rows[row]], new[row]):
            rows[row] = -1


def _inverse(origin: np.ndarray, count: int) -> np.ndarray:
    """New row (int64) of each of the `count` old ones, -1 for those that are gone."""
    stayed = np.flatnonzero(origin >= 0)
    destination = np.full(count, -1, np.int64)
    destination[origin[stayed]] = stayed
    return destination


def _renumbered(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The number of each row, and -1, which is no row, for -1."""
    return np.asarray(np.append(numbers, -1)[rows])


def _stale(old_rows: np.ndarray, moved: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The new rows whose lists must be searched anew: no old list, or a full one that lost a neighbour."""
    lost = ((moved < 0) & (old_rows >= 0)).any(axis=1) & (old_rows[:, -1] >= 0)
    return np.flatnonzero(np.append(lost, True)[origin])


def _carried(moved: Ranking, origin: np.ndarray, places: np.ndarray) -> Ranking:
    """The old lists without what is gone as the ranking of the new rows; those that came have none."""
    carried = nobody(len(origin), moved.rows.shape[1])
    stayed = np.flatnonzero(origin >= 0)
    lists = Ranking(moved.rows[origin[stayed]], moved.cosines[origin[stayed]])
    carried.rows[stayed], carried.cosines[stayed] = merge([lists], places)  # closes the gaps
    return carried


def _search_stale(
    found: Neighbours, after: Block, stale: tuple[np.ndarray, np.ndarray], places: tuple[np.ndarray, np.ndarray]
) -> None:
    """Replace the lists of the stale rows, and offer the stale rows to all others, in place.

    What came is among the stale; a stale row that stayed is on the lists of others already, or too far for them.
    """
    (source, target), (source_places, target_places) = (side.vectors for side in after), places
    k = found.forward.rows.shape[1]
    rows, columns = stale
    ahead = search(source[rows], target, (source_places[rows], target_places), k)
    back = search(source, target[columns], (source_places, target_places[columns]), k)
    found.forward.rows[rows], found.forward.cosines[rows] = ahead.forward
    found.backward.rows[columns], found.backward.cosines[columns] = back.backward
    _offer(found.forward, back.forward, columns, target_places)
    _offer(found.backward, ahead.backward, rows, source_places)


def _offer(total: Ranking, more: Ranking, numbers: np.ndarray, places: np.ndarray) -> None:
    merge_into(total.rows, total.cosines, _renumbered(more.rows, numbers), more.cosines, places)
