"""Candidates with scores in, the k best in an order without ties out; lists of bests in, the best of all out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.similarity.compiled import compiled

_PAIRS_AT_ONCE = 65_536


class Ranking(NamedTuple):
    """The k best rows of the other side (n, k) int64, best first, and their cosines (n, k) float32.

    Where there are fewer, row -1 and cosine -inf fill up. Equal cosines are in the order of the rows' ids.
    """

    rows: np.ndarray
    cosines: np.ndarray


def nobody(rows: int, k: int) -> Ranking:
    """The ranking of rows that have no neighbours yet."""
    return Ranking(np.full((rows, k), -1, np.int64), np.full((rows, k), -np.inf, np.float32))


def merge(rankings: Sequence[Ranking], places: np.ndarray) -> Ranking:
    """The k best of the union of some rankings of the same rows: in any order and grouping the same.

    Args:
        rankings: lists of one k over one numbering of the other side; a row on several lists counts once.
        places: place of each row of the other side in the order of ids.
    """
    merged = nobody(*rankings[0].rows.shape)
    for ranking in rankings:
        merge_into(merged.rows, merged.cosines, ranking.rows, ranking.cosines, places)
    return merged


@compiled
def merge_into(
    rows: np.ndarray, cosines: np.ndarray, more_rows: np.ndarray, more_cosines: np.ndarray, places: np.ndarray
) -> None:
    """Add the candidates of a second ranking to a first one, in place."""
    for row in range(len(rows)):
        for column in range(more_rows.shape[1]):
            if more_rows[row, column] >= 0:
                insert(rows[row], cosines[row], more_rows[row, column], more_cosines[row, column], places)


@compiled
def insert(rows: np.ndarray, cosines: np.ndarray, row: int, cosine: np.float32, places: np.ndarray) -> None:
    """Put one candidate where it belongs on a sorted list of fixed length, unless it is worse than all or there."""
    last = len(rows) - 1
    if cosine < cosines[last] or (cosine == cosines[last] and rows[last] >= 0 and places[row] >= places[rows[last]]):
        return
    place = 0
    while rows[place] >= 0 and (
        cosines[place] > cosine or (cosines[place] == cosine and places[rows[place]] < places[row])
    ):
        place += 1
    if rows[place] == row:
        return
    for index in range(last, place, -1):
        rows[index] = rows[index - 1]
        cosines[index] = cosines[index - 1]
    rows[place] = row
    cosines[place] = cosine


@compiled
def cosine_of(left: np.ndarray, right: np.ndarray) -> np.float32:
    """Dot product of two float32 vectors, the same on every machine: float64, one order, rounded once to float32.

    Element i goes to sum i mod 8. A product of two float32 is exact in float64: fusing it with the sum changes nothing.
    """
    a = b = c = d = e = f = g = h = np.float64(0.0)
    whole = len(left) // 8 * 8
    for i in range(0, whole, 8):
        a += np.float64(left[i]) * np.float64(right[i])
        b += np.float64(left[i + 1]) * np.float64(right[i + 1])
        c += np.float64(left[i + 2]) * np.float64(right[i + 2])
        d += np.float64(left[i + 3]) * np.float64(right[i + 3])
        e += np.float64(left[i + 4]) * np.float64(right[i + 4])
        f += np.float64(left[i + 5]) * np.float64(right[i + 5])
        g += np.float64(left[i + 6]) * np.float64(right[i + 6])
        h += np.float64(left[i + 7]) * np.float64(right[i + 7])
    for i in range(whole, len(left)):
        a += np.float64(left[i]) * np.float64(right[i])
    return np.float32(((a + b) + (c + d)) + ((e + f) + (g + h)))


def cosines_of(source: np.ndarray, target: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Cosine (float32) of each pair of rows of two arrays of vectors, float16 or float32, in memory or mapped."""
    cosines = np.empty(len(pairs[0]), np.float32)
    for start in range(0, len(cosines), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        left, right = source[pairs[0][part]].astype(np.float32), target[pairs[1][part]].astype(np.float32)
        cosines[part] = _row_by_row(left, right)
    return cosines


@compiled
def _row_by_row(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    cosines = np.empty(len(left), np.float32)
    for row in range(len(left)):
        cosines[row] = cosine_of(left[row], right[row])
    return cosines


@compiled
def rank_candidates(
    queries: np.ndarray,
    targets: np.ndarray,
    candidates: tuple[np.ndarray, np.ndarray],
    places: np.ndarray,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Exact cosines of each query's candidates (n, c), and the k best of them as a ranking.

    A candidate whose bound is below the k-th cosine so far is passed over: most are, where the best come first.
    """
    listed, bounds = candidates
    rows = np.full((len(queries), k), -1, np.int64)
    cosines = np.full((len(queries), k), -np.inf, np.float32)
    for query in range(len(queries)):
        for place in range(listed.shape[1]):
            if bounds[query, place] < cosines[query, k - 1]:
                continue
            row = listed[query, place]
            insert(rows[query], cosines[query], row, cosine_of(queries[query], targets[row]), places)
    return rows, cosines


@compiled
def rank_more(
    ranking: Ranking,
    queries: np.ndarray,
    targets: tuple[np.ndarray, int],
    candidates: np.ndarray,
    places: np.ndarray,
) -> None:
    """Add some candidates to a ranking of the queries, in place.

    Args:
        ranking: of the queries, over the whole other side.
        queries: their vectors.
        targets: some vectors of the other side that follow each other, and the number of the first.
        candidates: rows (query, target) of those vectors (n, 2).
        places: place of each vector of the whole other side.
    """
    vectors, first = targets
    for index in range(len(candidates)):
        query, row = candidates[index]
        cosine = cosine_of(queries[query], vectors[row])
        insert(ranking.rows[query], ranking.cosines[query], first + row, cosine, places)
