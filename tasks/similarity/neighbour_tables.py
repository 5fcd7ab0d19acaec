"""Neighbours in, their Arrow table out; tables of blocks in, the table of the whole out, and back to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.schemas import COSINES, IDS, check, empty
from tasks.similarity.compiled import compiled
from tasks.similarity.identifiers import flat, keys, positions, ranks
from tasks.similarity.neighbours import Neighbours
from tasks.similarity.ranking import Ranking

SIDES = ("source", "target")


class Sides(NamedTuple):
    """What a neighbours table holds, as arrays: the ids of both sides and who is near to whom."""

    source_ids: pa.Array
    target_ids: pa.Array
    neighbours: Neighbours


def neighbour_table(found: Neighbours, source_ids: pa.Array, target_ids: pa.Array) -> pa.Table:
    """Neighbours as a table of the `neighbours` schema: one row per sentence, sources first, in the order of ids.

    A sentence without neighbours has an empty list.
    """
    source_ids, target_ids = flat(source_ids), flat(target_ids)
    sides = [
        _side_table("source", source_ids, target_ids, found.forward),
        _side_table("target", target_ids, source_ids, found.backward),
    ]
    return check("neighbours", pa.concat_tables(sides).combine_chunks())


def merge_tables(tables: Sequence[pa.Table], k: int) -> pa.Table:
    """The k best neighbours of each sentence over all tables, whatever their order, grouping or overlap."""
    if not tables:
        return empty("neighbours")
    table = pa.concat_tables(check("neighbours", table) for table in tables).combine_chunks()
    if not table.num_rows:
        return table
    ids, cosines, offsets = _flat_lists(table)
    side = pc.index_in(flat(table["side"]), pa.array(SIDES)).to_numpy(zero_copy_only=False)
    owners = keys(table["sentence_id"])
    order = np.lexsort((owners[:, 1], owners[:, 0], side))
    new = np.ones(len(order), np.bool_)
    new[1:] = (side[order][1:] != side[order][:-1]) | (owners[order][1:] != owners[order][:-1]).any(axis=1)
    groups = np.append(np.flatnonzero(new), len(order))
    picked, counts = _merge_lists((order, groups), offsets, cosines, keys(ids), k)
    firsts = pa.array(order[groups[:-1]])
    return _table(
        table["side"].take(firsts),
        table["sentence_id"].take(firsts),
        ids.take(pa.array(picked)),
        cosines[picked],
        counts,
    )


def sides_of(table: pa.Table, k: int) -> Sides:
    """A neighbours table as arrays of each sentence's first k neighbours.

    Raises:
        ValueError: if a neighbour has no row of its own on its side, or a sentence has two.
    """
    halves = [table.filter(pc.equal(table["side"], side)) for side in SIDES]
    source_ids, target_ids = (flat(half["sentence_id"]) for half in halves)
    for ids in (source_ids, target_ids):
        places = positions(ids, ids)
        if not np.array_equal(places, np.arange(len(ids))):
            raise ValueError("a sentence has more than one row: merge the tables first")
    forward = _ranking(halves[0], target_ids, k)
    backward = _ranking(halves[1], source_ids, k)
    return Sides(source_ids, target_ids, Neighbours(forward, backward))


def _ranking(half: pa.Table, others: pa.Array, k: int) -> Ranking:
    ids, cosines, offsets = _flat_lists(half)
    rows = positions(ids, others)
    if (rows < 0).any():
        raise ValueError("a neighbour has no row of its own: both directions are needed")
    index = offsets[:-1, None] + np.arange(k)
    inside = index < offsets[1:, None]
    index = np.where(inside, index, 0)
    if not len(rows):
        return Ranking(np.full(index.shape, -1, np.int64), np.full(index.shape, -np.inf, np.float32))
    return Ranking(np.where(inside, rows[index], -1), np.where(inside, cosines[index], np.float32(-np.inf)))


def _flat_lists(table: pa.Table) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """All neighbours' ids and cosines end to end, and the n + 1 offsets of the rows into them."""
    ids, cosines = flat(table["neighbour_ids"]), flat(table["cosines"])
    lengths = pc.list_value_length(ids).to_numpy(zero_copy_only=False).astype(np.int64)
    if not pc.list_value_length(cosines).equals(pc.list_value_length(ids)):
        raise ValueError("a sentence has not as many cosines as neighbours")
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return ids.flatten(), cosines.flatten().to_numpy(), offsets


def _side_table(side: str, ids: pa.Array, others: pa.Array, ranking: Ranking) -> pa.Table:
    order = np.argsort(ranks(ids))
    rows, cosines = ranking.rows[order], ranking.cosines[order]
    present = rows >= 0
    names = pa.array(np.zeros(len(order), np.int8))
    sides = pa.DictionaryArray.from_arrays(names, [side]).cast(pa.string())
    counts = present.sum(axis=1)
    return _table(sides, ids.take(pa.array(order)), others.take(pa.array(rows[present])), cosines[present], counts)


def _table(
    sides: pa.Array, ids: pa.Array, neighbour_ids: pa.Array, cosines: np.ndarray, counts: np.ndarray
) -> pa.Table:
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    lists = (
        pa.ListArray.from_arrays(offsets, neighbour_ids, type=IDS),
        pa.ListArray.from_arrays(offsets, pa.array(cosines, pa.float32()), type=COSINES),
    )
    return pa.Table.from_arrays([sides, ids, *lists], schema=empty("neighbours").schema)


@compiled
def _merge_lists(
    rows: tuple[np.ndarray, np.ndarray], offsets: np.ndarray, cosines: np.ndarray, words: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each group of rows the flat positions of its k best neighbours, best first, and how many there are."""
    order, groups = rows
    picked = np.empty(min(len(cosines), (len(groups) - 1) * k), np.int64)
    counts = np.zeros(len(groups) - 1, np.int64)
    total = 0
    for group in range(len(groups) - 1):
        best = picked[total : total + k]
        count = 0
        for row in order[groups[group] : groups[group + 1]]:
            for entry in range(offsets[row], offsets[row + 1]):
                count = _insert(best, count, entry, cosines, words)
        counts[group] = count
        total += count
    return picked[:total].copy(), counts


@compiled
def _insert(best: np.ndarray, count: int, entry: int, cosines: np.ndarray, words: np.ndarray) -> int:
    """Put one entry where it belongs among the `count` best so far; return how many there are now."""
    place = count
    while place > 0 and _before(entry, best[place - 1], cosines, words):
        place -= 1
    if place == len(best) or (place > 0 and not _before(best[place - 1], entry, cosines, words)):
        return count  # worse than all, or there already
    count = min(count + 1, len(best))
    for index in range(count - 1, place, -1):
        best[index] = best[index - 1]
    best[place] = entry
    return count


@compiled
def _before(left: int, right: int, cosines: np.ndarray, words: np.ndarray) -> bool:
    """Whether one entry is better than another: by cosine, then by the bytes of the id."""
    if cosines[left] != cosines[right]:
        return bool(cosines[left] > cosines[right])
    if words[left, 0] != words[right, 0]:
        return bool(words[left, 0] < words[right, 0])
    return bool(words[left, 1] < words[right, 1])
