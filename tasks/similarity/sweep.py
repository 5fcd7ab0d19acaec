"""The different vectors of two sides in; for each its k nearest by exact cosine, from one product of the sides, out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from encoder.threads import on_one_thread_each
from tasks.similarity.compiled import compiled, compiled_in_any_order
from tasks.similarity.different import Different
from tasks.similarity.products import Product, Rounded, allowances, buffer, fastest_product, multiply, rounded
from tasks.similarity.ranking import Ranking, cosine_of, insert, nobody, rounds_the_same

TILE = 1024  # vectors a side that are multiplied at once: 4 MB of scores, and as much or less of vectors
_PANEL = 32 << 20  # bytes of rows a thread keeps, as float32, while it goes through all columns
_LANES = 32  # scores that are compared with their limits before anything is done about one of them
_CROWDED = 16  # if more than one score in so many has to be looked at, a float32 product costs less than looking


class Multiplying(NamedTuple):
    """How neighbours are found: never a matter of what they are.

    Args:
        product: how scores are computed; without it, what should be fastest here.
        tile: vectors a side that are multiplied at once: bounds the memory besides the rankings.
    """

    product: Product | None = None
    tile: int = TILE

    @property
    def chosen(self) -> Product:
        """What is multiplied."""
        return self.product or fastest_product()


class _Lists(NamedTuple):
    """The nearest so far of each vector of a side."""

    rows: np.ndarray  # (n, k) int64: numbers of the other side's vectors, -1 where there is none
    cosines: np.ndarray  # (n, k) float32
    least: np.ndarray  # (n,) float32: the last of each list
    places: np.ndarray  # (m,) of the other side's vectors, in the order of ids


class _Tile(NamedTuple):
    """Vectors that follow each other, as the scores of a tile are looked at."""

    true: np.ndarray  # (n, d) float32
    scales: np.ndarray  # (n,) float32
    first: int  # number of the first


def rankings(source: Different, target: Different, k: int, multiplying: Multiplying) -> tuple[Ranking, Ranking]:
    """The k nearest targets of each source and sources of each target; ties in the order of places.

    Scores are computed once for both directions, as cheaply as the machine can, tile by tile. Whatever rounding can
    have taken from a score is allowed for; the exact cosine is computed of every pair that might then belong on one of
    its two lists. So nothing is missed, and nothing has to be searched again.
    """
    forward, backward = (_nothing(own, other, k) for own, other in ((source, target), (target, source)))
    parts = torch.get_num_threads()
    cuts = [np.linspace(0, side.size, parts + 1).astype(int).tolist() for side in (source, target)]

    def work(piece: tuple[int, int]) -> None:
        rows, columns = (slice(*cut[at : at + 2]) for cut, at in zip(cuts, piece, strict=True))
        _sweep((source, target), (forward, backward), (rows, columns), multiplying)

    for shift in range(parts):  # as in a Latin square no two threads ever have rows or columns in common
        on_one_thread_each(work, [(part, (part + shift) % parts) for part in range(parts)])
    return Ranking(forward.rows, forward.cosines), Ranking(backward.rows, backward.cosines)


def _nothing(own: Different, other: Different, k: int) -> _Lists:
    return _Lists(*nobody(own.size, k), np.full(own.size, -np.inf, np.float32), other.places)


def _sweep(
    sides: tuple[Different, Different],
    lists: tuple[_Lists, _Lists],
    spans: tuple[slice, slice],
    multiplying: Multiplying,
) -> None:
    """Multiply some rows with some columns, tile by tile, and put what belongs there on the lists of both."""
    product, tile = multiplying.chosen, multiplying.tile
    cheap, sharp = (buffer(tile * tile, one) for one in (product, "float32"))
    down, across = spans
    tall = max(1, _PANEL // (4 * tile * sides[0].stored.shape[1])) * tile
    for panel in range(down.start, down.stop, tall):
        tops = range(panel, min(panel + tall, down.stop), tile)
        panels = [rounded(sides[0].block(top, min(top + tile, down.stop)), product) for top in tops]
        for left in range(across.start, across.stop, tile):
            columns = rounded(sides[1].block(left, min(left + tile, across.stop)), product)
            for top, rows in zip(tops, panels, strict=True):
                done = _enter_product((rows, columns), (top, left), lists, cheap)
                if done < len(rows.true):
                    true = rounded(rows.true[done:], "float32"), rounded(columns.true, "float32")
                    _enter_product(true, (top + done, left), lists, sharp)


def _enter_product(
    sides: tuple[Rounded, Rounded], corner: tuple[int, int], lists: tuple[_Lists, _Lists], room: torch.Tensor
) -> int:
    """Multiply a tile and enter its pairs; return of how many rows: a cheap product may leave too much to look at."""
    scores = multiply(*sides, room).numpy()
    most = scores.size if sides[0].is_exact else scores.size // _CROWDED
    rows, columns = (_Tile(side.true, side.scales, first) for side, first in zip(sides, corner, strict=True))
    return int(_enter(scores, (rows, columns), allowances(*sides), lists, most))


@compiled
def _enter(
    scores: np.ndarray,
    tiles: tuple[_Tile, _Tile],
    allowances: np.ndarray,
    lists: tuple[_Lists, _Lists],
    most: int,
) -> int:
    """Put the pairs of a tile on the lists of its rows and columns, until too many were looked at."""
    rows, columns = tiles
    width = scores.shape[1]
    least, scales, limits = lists[0].least, columns.scales, lists[1].least[columns.first : columns.first + width]
    whole = width // _LANES * _LANES
    runs = np.empty(whole // _LANES + 1, np.int64)
    looked = 0
    for row in range(len(scores)):
        if looked > most:
            return row
        limit, allowance, inverse = least[rows.first + row], allowances[row], np.float32(1) / rows.scales[row]
        count = 0
        for start in range(0, whole, _LANES):
            stop = start + _LANES
            line, factors, others = scores[row, start:stop], scales[start:stop], limits[start:stop]
            hit = np.int32(0)
            for lane in range(_LANES):  # without branches, so that the compiler makes it sixteen at a time
                hit |= np.int32(
                    np.float32(line[lane]) * factors[lane] >= (min(limit, others[lane]) - allowance) * inverse
                )
            runs[count] = start
            count += int(hit)
        runs[count] = whole
        count += int(whole < width)
        if count:
            looked += _enter_runs(scores[row], runs[:count], (row, allowance, inverse), tiles, lists)
    return len(scores)


@compiled_in_any_order
def _enter_runs(
    scores: np.ndarray,
    runs: np.ndarray,
    asked: tuple[int, np.float32, np.float32],
    tiles: tuple[_Tile, _Tile],
    lists: tuple[_Lists, _Lists],
) -> int:
    """Look at the promising scores of a row, and return how many they were.

    What is in the tuples is named first: numba counts references whenever it takes something out of one.
    """
    row, allowance, inverse = asked
    (left, _, top), (right, scales, first) = tiles
    (forward, forward_cosines, forward_least, targets), (backward, backward_cosines, backward_least, sources) = lists
    owner, looked = top + row, 0
    for start in runs:
        for column in range(start, min(start + _LANES, len(scores))):
            other = first + column
            limit = min(forward_least[owner], backward_least[other])
            if np.float32(scores[column]) * scales[column] < (limit - allowance) * inverse:
                continue
            looked += 1
            total = np.float64(0.0)
            for place in range(left.shape[1]):
                total += np.float64(left[row, place]) * np.float64(right[column, place])
            cosine = np.float32(total) if rounds_the_same(total, left.shape[1]) else cosine_of(left[row], right[column])
            if cosine >= forward_least[owner]:
                insert(forward, forward_cosines, owner, (other, cosine), targets)
                forward_least[owner] = forward_cosines[owner, -1]
            if cosine >= backward_least[other]:
                insert(backward, backward_cosines, other, (owner, cosine), sources)
                backward_least[other] = backward_cosines[other, -1]
    return looked
