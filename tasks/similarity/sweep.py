"""The different vectors of two sides in; for each its k nearest by exact cosine, from one product of the sides, out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from encoder.threads import on_one_thread_each
from tasks.similarity.compiled import compiled_in_any_order
from tasks.similarity.different import Different
from tasks.similarity.products import (
    Device,
    Product,
    Rounded,
    buffer,
    fastest_device,
    fastest_product,
    multiply,
    rounded,
)
from tasks.similarity.promising import Pairs, promising
from tasks.similarity.ranking import Ranking, cosine_of, insert, nobody, rounds_the_same

# vectors a side that are multiplied at once. CPU: 4 MB of scores, and as much or less of vectors; a GPU needs more to
# be busy
_TILES = {"cpu": 1024, "cuda": 4096}
_PANEL = 32 << 20  # bytes of rows a thread keeps, as float32, while it goes through all columns
_CROWDED = 16  # if more than one score in so many has to be looked at, a float32 product costs less than looking


class Multiplying(NamedTuple):
    """How neighbours are found: never a matter of what they are.

    Args:
        product: how scores are computed; without it, what should be fastest here.
        tile: vectors a side that are multiplied at once: bounds the memory besides the rankings.
        device: where; without it a GPU if there is one.
    """

    product: Product | None = None
    tile: int | None = None
    device: Device | None = None

    def chosen(self) -> tuple[Product, int, Device]:
        """What is multiplied, how many vectors a side at once, and where."""
        device = self.device or fastest_device()
        return self.product or fastest_product(device), self.tile or _TILES[device], device


class _Lists(NamedTuple):
    """The nearest so far of each vector of a side."""

    rows: np.ndarray  # (n, k) int64: numbers of the other side's vectors, -1 where there is none
    cosines: np.ndarray  # (n, k) float32
    least: np.ndarray  # (n,) float32: the last of each list
    places: np.ndarray  # (m,) of the other side's vectors, in the order of ids


class _Room(NamedTuple):
    """What a thread writes scores and the pairs among them into."""

    scores: torch.Tensor
    pairs: Pairs


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
    product, tile, device = multiplying.chosen()
    pairs = Pairs.room(tile * tile + 1 if device == "cpu" else 0)
    cheap, sharp = (_Room(buffer(tile * tile, one, device), pairs) for one in (product, "float32"))
    down, across = spans
    tall = max(1, _PANEL // (4 * tile * sides[0].stored.shape[1])) * tile
    for panel in range(down.start, down.stop, tall):
        tops = range(panel, min(panel + tall, down.stop), tile)
        panels = [rounded(sides[0].block(top, min(top + tile, down.stop)), product, device) for top in tops]
        for left in range(across.start, across.stop, tile):
            columns = rounded(sides[1].block(left, min(left + tile, across.stop)), product, device)
            for top, rows in zip(tops, panels, strict=True):
                done = _enter_product((rows, columns), (top, left), lists, cheap)
                if done < len(rows.true):
                    true = rounded(rows.true[done:], "float32", device), rounded(columns.true, "float32", device)
                    _enter_product(true, (top + done, left), lists, sharp)


def _enter_product(
    sides: tuple[Rounded, Rounded], corner: tuple[int, int], lists: tuple[_Lists, _Lists], room: _Room
) -> int:
    """Multiply a tile and enter its pairs; return of how many rows: a cheap product may leave too much to look at."""
    scores = multiply(*sides, room.scores)
    spans = [slice(first, first + len(side.true)) for first, side in zip(corner, sides, strict=True)]
    found = promising(scores, sides, (lists[0].least[spans[0]], lists[1].least[spans[1]]), room.pairs)
    most = scores.numel() if sides[0].is_exact else scores.numel() // _CROWDED
    done = int(_enter(found, (sides[0].true, sides[1].true), corner, lists, most))
    return int(found.rows[done]) if done < len(found.rows) else len(sides[0].true)


@compiled_in_any_order
def _enter(
    pairs: Pairs,
    vectors: tuple[np.ndarray, np.ndarray],
    corner: tuple[int, int],
    lists: tuple[_Lists, _Lists],
    most: int,
) -> int:
    """Put pairs of a tile on the lists of its rows and columns until too many were looked at; return how many are done.

    What is in the tuples is named first: numba counts references whenever it takes something out of one.
    """
    (rows, columns, ceilings), (left, right), (top, first) = pairs, vectors, corner
    (forward, forward_cosines, forward_least, targets), (backward, backward_cosines, backward_least, sources) = lists
    looked = 0
    for pair in range(len(rows)):
        row, column = rows[pair], columns[pair]
        owner, other = top + row, first + column
        if ceilings[pair] < min(forward_least[owner], backward_least[other]):
            continue
        if looked == most:
            return pair
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
    return len(rows)
