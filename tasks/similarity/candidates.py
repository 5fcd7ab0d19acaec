"""The different vectors of two sides in; for each a shortlist of its nearest, and how good the rest can be, out."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch

from encoder.threads import on_one_thread_each
from tasks.similarity.compiled import compiled
from tasks.similarity.different import NORM_TOLERANCE, Different

Product = Literal["float32", "bfloat16"]

UNIT = 2.0**-24  # unit roundoff of float32
TILE = 1024  # vectors a side that are multiplied at once: 4 MB of scores, and half of that or less of vectors
_PANEL = 8  # tiles of rows that are read once for each tile of columns
_LANES = 32  # scores that are compared with their limits before anything is done about one of them


class Multiplying(NamedTuple):
    """How candidates are found: never a matter of what the neighbours are.

    Args:
        product: how scores are computed; bfloat16 is for processors that multiply it, and gives wider bounds. Without
            it, what should be fastest here.
        tile: vectors a side that are multiplied at once: bounds the memory besides the lists.
    """

    product: Product | None = None
    tile: int = TILE

    @property
    def chosen(self) -> Product:
        """What is multiplied."""
        return self.product or fastest_product()


class Shortlist(NamedTuple):
    """Numbers of the other side's vectors (n, count) int32, bounds on their cosines (n, count), and ceilings (n,).

    No vector on a list has an exact cosine (`ranking.cosine_of`) above its bound, and none that is missing from a list
    has one above the list's ceiling. Nothing else is promised: the order in which they were found does not matter.
    """

    vectors: np.ndarray
    bounds: np.ndarray
    ceilings: np.ndarray


class _Best(NamedTuple):
    """The best scores so far, best first (n, count) float32, whose they are, and the last of each list (n,)."""

    scores: np.ndarray
    vectors: np.ndarray
    least: np.ndarray

    @classmethod
    def none(cls, rows: int, count: int) -> _Best:
        lowest = np.float32(-np.inf)
        return cls(np.full((rows, count), lowest), np.full((rows, count), -1, np.int32), np.full(rows, lowest))


def shortlists(
    source: Different, target: Different, count: int, multiplying: Multiplying
) -> tuple[Shortlist, Shortlist]:
    """Up to `count` targets per source and sources per target, from one product of the two sides, neither empty."""
    product = multiplying.chosen
    forward = _Best.none(source.size, min(count, target.size))
    backward = _Best.none(target.size, min(count, source.size))
    distances = np.zeros(source.size), np.zeros(target.size)
    parts = torch.get_num_threads()
    cuts = [np.linspace(0, side.size, parts + 1).astype(np.int64) for side in (source, target)]

    def work(piece: tuple[int, int]) -> None:
        rows, columns = ((int(cut[at]), int(cut[at + 1])) for cut, at in zip(cuts, piece, strict=True))
        _sweep((source, target), (forward, backward), (rows, columns), (product, multiplying.tile), distances)

    for shift in range(parts):  # as in a Latin square no two threads ever have rows or columns in common
        on_one_thread_each(work, [(part, (part + shift) % parts) for part in range(parts)])
    return _shortlist(forward, distances, target, product), _shortlist(backward, distances[::-1], source, product)


def fastest_product() -> Product:
    """Return bfloat16 where the processor has instructions for it (AVX512_BF16, AMX), else float32."""
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"


def score_error(dimension: int) -> float:
    """Bound on |float32 dot product - exact cosine| of two vectors that are normalised within NORM_TOLERANCE.

    A float32 dot product in any order, fused or not, is within d u / (1 - d u) of sum |x_i y_i| (Higham 2002, section
    3.1), which is at most |x| |y|. The rest pays for rounding the exact one to float32, the norms and the denominator.
    """
    return 1.05 * (dimension + 4) * UNIT


def _sweep(
    sides: tuple[Different, Different],
    best: tuple[_Best, _Best],
    spans: tuple[tuple[int, int], tuple[int, int]],
    how: tuple[Product, int],
    distances: tuple[np.ndarray, np.ndarray],
) -> None:
    """Multiply some rows with some columns, tile by tile, and enter what is good enough on the lists of both."""
    (first_row, last_row), (first_column, last_column) = spans
    product, tile = how
    scores = torch.empty(tile * tile, dtype=getattr(torch, product))
    for panel in range(first_row, last_row, _PANEL * tile):
        tops = range(panel, min(panel + _PANEL * tile, last_row), tile)
        rows = [_rounded(sides[0], (top, last_row), how, distances[0]) for top in tops]
        for left in range(first_column, last_column, tile):
            columns = _rounded(sides[1], (left, last_column), how, distances[1])
            for top, some in zip(tops, rows, strict=True):
                shape = len(some), len(columns)
                found = torch.mm(some, columns.T, out=scores[: shape[0] * shape[1]].view(shape))
                _enter(found.float().numpy(), (top, left), best[0], best[1])


def _rounded(side: Different, span: tuple[int, int], how: tuple[Product, int], distances: np.ndarray) -> torch.Tensor:
    """The next tile of a side as it is multiplied; note how far that is from each of the true vectors."""
    product, tile = how
    start, stop = span[0], min(span[0] + tile, span[1])
    true = torch.from_numpy(side.block(start, stop))
    if product == "float32":
        return true
    rounded = true.to(getattr(torch, product))
    distances[start:stop] = torch.linalg.vector_norm((true - rounded.float()).double(), dim=1).numpy()
    return rounded


def _shortlist(best: _Best, distances: tuple[np.ndarray, np.ndarray], others: Different, product: Product) -> Shortlist:
    """Turn scores into what a true cosine can be at most.

    With x = x' + r and y = y' + s, x y = x' y' + x s + r y' exceeds the product of the rounded ones by at most
    |s| |x| + |r| |y'|, and that product was itself rounded to 8 bits.
    """
    own, theirs = distances
    error = score_error(others.stored.shape[1])
    if product == "float32":
        bounds = best.scores + np.float64(error)
    else:
        longest = 1 + NORM_TOLERANCE
        farthest = theirs.max()
        rounding = 2.0**-8 * np.abs(best.scores.astype(np.float64))
        moved = longest * (own + farthest) + own * farthest
        bounds = best.scores + rounding + (1.01 * moved + error)[:, None]
    whole = best.scores.shape[1] == others.size
    return Shortlist(best.vectors, bounds, np.full(len(bounds), -np.inf) if whole else bounds.min(axis=1))


@compiled
def _enter(scores: np.ndarray, corner: tuple[int, int], forward: _Best, backward: _Best) -> None:
    """Put the scores of a tile, whose first row and column are the corner, on the lists of its rows and columns."""
    top, left = corner
    rows, columns = scores.shape
    whole = columns // _LANES * _LANES
    for row in range(rows):
        for first in range(0, whole, _LANES):
            line = scores[row, first : first + _LANES]
            limits = backward.least[left + first : left + first + _LANES]
            limit = forward.least[top + row]
            hits = np.int32(0)
            for lane in range(_LANES):  # without branches, so that the compiler makes it sixteen at a time
                hits |= np.int32(line[lane] > min(limit, limits[lane]))
            if hits:
                _enter_run(line, (top + row, left + first), forward, backward)
        _enter_run(scores[row, whole:], (top + row, left + whole), forward, backward)


@compiled
def _enter_run(scores: np.ndarray, corner: tuple[int, int], forward: _Best, backward: _Best) -> None:
    row, left = corner
    for place in range(len(scores)):
        score, column = scores[place], left + place
        if score > forward.least[row]:
            _insert(forward, row, column, score)
        if score > backward.least[column]:
            _insert(backward, column, row, score)


@compiled
def _insert(best: _Best, owner: int, vector: int, score: np.float32) -> None:
    """Put a score on its owner's list, from which the last one falls."""
    scores, vectors = best.scores[owner], best.vectors[owner]
    place = len(scores) - 1
    while place > 0 and scores[place - 1] < score:
        scores[place], vectors[place] = scores[place - 1], vectors[place - 1]
        place -= 1
    scores[place], vectors[place] = score, vector
    best.least[owner] = scores[len(scores) - 1]
