"""Vectors of two sides in, the exact k nearest neighbours in both directions out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.similarity.candidates import NORM_TOLERANCE, Shortlist, score_error, shortlists
from tasks.similarity.compiled import compiled
from tasks.similarity.identifiers import ranks
from tasks.similarity.ranking import Ranking, insert, merge_into, nobody, rank_candidates, rank_more

SLACK = 8  # candidates beyond k; measured: more than 99.9 % of rows are then certified at the first attempt
BLOCK_ROWS = 32_768  # rows a side held as float32 at once: 32 MB of 256 dimensions


class Neighbours(NamedTuple):
    """Per source row its nearest targets, and per target row its nearest sources."""

    forward: Ranking
    backward: Ranking


class Distinct(NamedTuple):
    """The different non-zero vectors of a block; equal ones share their search, so that none hides another."""

    vectors: np.ndarray  # (u, d) float32
    places: np.ndarray  # (u,) place of the first id that has the vector
    row_places: np.ndarray  # (n,) place of each row's id
    group: np.ndarray  # (n,) which vector each row has, -1 for a zero row
    members: np.ndarray  # rows, grouped by vector, in the order of ids
    starts: np.ndarray  # (u + 1,) where each group starts in members


def neighbours(
    source: np.ndarray, target: np.ndarray, source_ids: pa.Array, target_ids: pa.Array, k: int
) -> Neighbours:
    """The k nearest rows by cosine in both directions; exactly the same for any thread count or split into blocks.

    Ties are in the order of the ids. A row of zeros has no neighbours and is nobody's.

    Args:
        source: L2-normalised rows (n, d) as stored, float16 or float32.
        target: rows (m, d) of the other side.
        source_ids: 16-byte id of each source row.
        target_ids: 16-byte id of each target row.
        k: neighbours per row.

    Raises:
        ValueError: if shapes, types or ids do not fit, or a row is neither zero nor normalised.
    """
    if len(source_ids) != len(source) or len(target_ids) != len(target):
        raise ValueError("there must be one id per vector")
    return search(source, target, (ranks(source_ids), ranks(target_ids)), k)


def search(
    source: np.ndarray,
    target: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    k: int,
    *,
    block_rows: int = BLOCK_ROWS,
) -> Neighbours:
    """As `neighbours`, with the ids' places in order (int64, of both sides) in place of the ids.

    `block_rows` a side bounds the memory and never changes the result.
    """
    source_places, target_places = places
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1] or k < 1 or block_rows < 1:
        raise ValueError(f"cannot search for {k} neighbours between {source.shape} and {target.shape}")
    found = Neighbours(nobody(len(source), k), nobody(len(target), k))
    for top in range(0, len(source), block_rows):
        rows = slice(top, top + block_rows)
        sources = distinct(source[rows], source_places[rows])
        for left in range(0, len(target), block_rows):
            columns = slice(left, left + block_rows)
            targets = distinct(target[columns], target_places[columns])
            block = _search_block(sources, targets, k)
            _add(found.forward, rows, block.forward, left, target_places)
            _add(found.backward, columns, block.backward, top, source_places)
    return found


def _add(total: Ranking, rows: slice, block: Ranking, offset: int, places: np.ndarray) -> None:
    numbered = np.where(block.rows >= 0, block.rows + offset, -1)
    merge_into(total.rows[rows], total.cosines[rows], numbered, block.cosines, places)


def _search_block(source: Distinct, target: Distinct, k: int) -> Neighbours:
    if not len(source.vectors) or not len(target.vectors):
        return Neighbours(nobody(len(source.group), k), nobody(len(target.group), k))
    forward, backward = shortlists(source.vectors, target.vectors, k + SLACK)
    return Neighbours(certified(source, target, forward, k), certified(target, source, backward, k))


def certified(queries: Distinct, targets: Distinct, shortlist: Shortlist, k: int) -> Ranking:
    """The exact ranking for each row of the queries' block, from a shortlist where that is proof enough.

    It is where the k-th cosine on it is above all that can be missing; the other queries are searched again.
    """
    candidates = shortlist.rows, shortlist.bounds
    ranking = Ranking(*rank_candidates(queries.vectors, targets.vectors, candidates, targets.places, k))
    doubtful = np.flatnonzero(ranking.cosines[:, -1] <= shortlist.ceilings)
    _search_again(queries.vectors, targets, ranking, doubtful)
    return Ranking(*_expand(ranking, queries.group, targets.members, targets.starts, targets.row_places))


def _search_again(queries: np.ndarray, targets: Distinct, ranking: Ranking, doubtful: np.ndarray) -> None:
    """Rank the doubtful queries against all targets that may be as good as the k-th found so far, in place."""
    error = score_error(queries.shape[1])
    for start in range(0, len(doubtful), 1024):  # 1024 x 8192 scores: 32 MB
        rows = doubtful[start : start + 1024]
        least = ranking.cosines[rows, -1].astype(np.float64) - error
        again = nobody(len(rows), ranking.rows.shape[1])
        for first in range(0, len(targets.vectors), 8192):
            scores = queries[rows] @ targets.vectors[first : first + 8192].T
            candidates = np.argwhere(scores >= least[:, None]) + np.array([0, first])
            rank_more(again, queries[rows], targets.vectors, candidates, targets.places)
        ranking.rows[rows], ranking.cosines[rows] = again


def distinct(block: np.ndarray, places: np.ndarray) -> Distinct:
    """Bring equal vectors of a block together and leave zeros out.

    Raises:
        ValueError: if a row is neither zero nor normalised.
    """
    vectors = np.ascontiguousarray(block, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if not np.all((norms == 0) | (np.abs(norms - 1) <= NORM_TOLERANCE)):
        raise ValueError("vectors must be L2-normalised or zero")
    bits = vectors.view(np.uint32)
    hashes = _row_hashes(bits)
    order = np.lexsort((places, hashes))
    order = order[norms[order] > 0]
    starts, group = _group(bits, hashes, order)
    first = order[starts[:-1]]
    return Distinct(vectors[first], places[first], places, group, order, starts)


@compiled
def _row_hashes(bits: np.ndarray) -> np.ndarray:
    """One 64-bit hash per row, to bring equal rows together; a collision costs nothing but time."""
    hashes = np.empty(len(bits), np.uint64)
    for row in range(len(bits)):
        value = np.uint64(0)
        for word in bits[row]:
            value = (value ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(32)
        hashes[row] = value
    return hashes


@compiled
def _group(bits: np.ndarray, hashes: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of equal rows starts in the order (and its end), and the run of each row, -1 if not in it."""
    starts = np.empty(len(order) + 1, np.int64)
    group = np.full(len(bits), -1, np.int64)
    count = 0
    for place in range(len(order)):
        row = order[place]
        first = order[starts[count - 1]] if count else row
        if count == 0 or hashes[row] != hashes[first] or not np.array_equal(bits[row], bits[first]):
            starts[count] = place
            count += 1
        group[row] = count - 1
    starts[count] = len(order)
    return starts[: count + 1].copy(), group


@compiled
def _expand(
    ranking: Ranking, group: np.ndarray, members: np.ndarray, starts: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From a ranking of different vectors to one of rows: each vector stands for all rows that have it."""
    k = ranking.rows.shape[1]
    rows = np.full((len(group), k), -1, np.int64)
    cosines = np.full((len(group), k), np.float32(-np.inf), np.float32)
    for row in range(len(group)):
        query = group[row]
        for column in range(k if query >= 0 else 0):
            vector, cosine = ranking.rows[query, column], ranking.cosines[query, column]
            if vector < 0 or cosine < cosines[row, k - 1]:
                break
            for member in members[starts[vector] : min(starts[vector + 1], starts[vector] + k)]:
                insert(rows[row], cosines[row], member, cosine, places)
    return rows, cosines
