"""Candidates with scores in, the k best in an order without ties out; lists of bests in, the best of all out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.similarity.compiled import compiled, compiled_in_any_order

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
                insert(rows, cosines, row, (more_rows[row, column], more_cosines[row, column]), places)


@compiled
def insert(
    rows: np.ndarray, cosines: np.ndarray, owner: int, candidate: tuple[int, np.float32], places: np.ndarray
) -> None:
    """Put a row and its cosine where they belong on their owner's list of a ranking, unless worse than all or there."""
    row, cosine = candidate
    last = rows.shape[1] - 1
    lowest = cosines[owner, last]
    if cosine < lowest or (cosine == lowest and rows[owner, last] >= 0 and places[row] >= places[rows[owner, last]]):
        return
    place = 0
    while rows[owner, place] >= 0 and (
        cosines[owner, place] > cosine or (cosines[owner, place] == cosine and places[rows[owner, place]] < places[row])
    ):
        place += 1
    if rows[owner, place] == row:
        return
    for index in range(last, place, -1):
        rows[owner, index] = rows[owner, index - 1]
        cosines[owner, index] = cosines[owner, index - 1]
    rows[owner, place] = row
    cosines[owner, place] = cosine


@compiled
def cosine_of(left: np.ndarray, right: np.ndarray) -> np.float32:
    """Dot product of two float32 vectors, the same on every machine, as if summed in one order in float64.

    The vectors are no longer than about 1, or the same one. The fastest order serves wherever it cannot matter.
    """
    cosine = _in_any_order(left, right)
    return np.float32(cosine) if rounds_the_same(cosine, len(left)) else _in_one_order(left, right)


@compiled
def rounds_the_same(cosine: np.float64, dimension: int) -> bool:
    """Whether every order of summing a dot product in float64 rounds to the same float32 as this one.

    Sums in any two orders differ by at most 2 d u / (1 - d u) of sum |x_i y_i| (Higham 2002, section 3.1). One in a
    million is that near to where float32 rounds the other way.
    """
    error = 2.5 * dimension * 2.0**-53 * max(1.0, abs(cosine))
    return bool(np.float32(cosine - error) == np.float32(cosine + error))


@compiled_in_any_order
def _in_any_order(left: np.ndarray, right: np.ndarray) -> np.float64:
    total = np.float64(0.0)
    for place in range(len(left)):
        total += np.float64(left[place]) * np.float64(right[place])
    return total


@compiled
def _in_one_order(left: np.ndarray, right: np.ndarray) -> np.float32:
    """In float64, rounded once to float32: element i goes to sum i mod 8.

    A product of two float32 is exact in float64: fusing it with the sum changes nothing.
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
