"""Sentence vectors of two documents that translate each other in, which sentences translate which out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from storage.fingerprint import Settings
from tasks.similarity.compiled import compiled
from tasks.similarity.folding import UNSPACED_SCRIPTS
from tasks.similarity.ranking import cosine_of

EXACT_CELLS = 90_000  # 300 x 300, up to which vecalign too searches everything
_SMALLEST = 1e-6  # mean distance to others: where all vectors are equal, nothing is divided by zero


class AlignConfig(Settings):
    """How the sentences of two documents are aligned (Thompson and Koehn 2019)."""

    max_size: Annotated[
        int, Field(ge=2, le=8, description="Most sentences of a link, both sides together: 4 has 1-1 to 1-3 and 2-2")
    ] = 4
    samples: Annotated[
        int, Field(ge=1, le=1000, description="Sentences of the other side that tell how far away chance is")
    ] = 32
    deletion: Annotated[
        float,
        Field(
            ge=0, le=1, description="Quantile of what links by chance cost, of which two sentences left cost as much"
        ),
    ] = 0.3
    window: Annotated[
        int, Field(ge=2, le=1000, description="Sentences around a coarse alignment that long documents are searched in")
    ] = 10
    max_sentences: Annotated[
        int, Field(ge=1, le=100_000, description="Sentences of a document above which it is left out")
    ] = 20_000

    @property
    def longest(self) -> int:
        """Most sentences of one side of a link."""
        return self.max_size - 1


class Links(NamedTuple):
    """Runs of sentences that translate each other, in order; all int64 (l,), save the scores, float32 (l,).

    `alignment` is 1 - distance / (mean distance of both to sentences by chance): 1 if both are the same, 0 if they are
    as near as chance.
    """

    source_starts: np.ndarray
    source_counts: np.ndarray
    target_starts: np.ndarray
    target_counts: np.ndarray
    cosine: np.ndarray
    alignment: np.ndarray


class _Sides(NamedTuple):
    """Vectors (longest, n, d) of both sides, and how far each is from sentences by chance (longest, n)."""

    source: np.ndarray
    target: np.ndarray
    source_distances: np.ndarray
    target_distances: np.ndarray


class _Band(NamedTuple):
    """Cells (i, j) to look at: for i sentences of the source, j from `low[i]` to `high[i]` of the target."""

    low: np.ndarray
    high: np.ndarray
    offsets: np.ndarray  # (n + 2,) where each row starts in a flat array


def overlaps(texts: Sequence[str], longest: int, language: str) -> list[list[str]]:
    """For each length from 2 to `longest` the texts of all runs of so many sentences."""
    return [
        [joined(texts[start : start + length], language) for start in range(len(texts) - length + 1)]
        for length in range(2, longest + 1)
    ]


def joined(texts: Sequence[str], language: str) -> str:
    """Consecutive sentences as one text, with spaces between them where the language has them between words."""
    return ("" if language.rpartition("_")[2] in UNSPACED_SCRIPTS else " ").join(texts)


def align(source: np.ndarray, target: np.ndarray, config: AlignConfig) -> Links:
    """The links between two documents' sentences that cost least in all; sentences without a link were left alone.

    A link of n and m sentences costs n m (1 - cosine) / mean of (1 - cosine) of both to samples of the other document,
    a sentence alone what `config.deletion` says. Up to EXACT_CELLS the least cost is exact, and beyond it is searched
    for around an alignment of pairs of sentences, found in the same way.

    Args:
        source: vectors (longest, n, d), normalised or zero; at [c - 1, i] that of the c sentences from i on together.
            Where fewer than c are left, anything.
        target: the same (longest, m, d) of the other document.
        config: `config.longest` is the first dimension of both.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if source.ndim != 3 or target.ndim != 3 or source.shape[2] != target.shape[2]:
        raise ValueError(f"cannot align vectors of shapes {source.shape} and {target.shape}")
    if len(source) != config.longest or len(target) != config.longest:
        raise ValueError(f"links of {config.max_size} sentences need vectors of up to {config.longest} sentences")
    if not source.shape[1] or not target.shape[1]:
        return _links(np.empty((0, 4), np.int64), np.empty((0, 2)))
    source, target = (np.ascontiguousarray(side, dtype=np.float32) for side in (source, target))
    sides = _sides(source, target, config.samples)
    path = _search(sides, config, config.max_size)
    links = path[(path[:, 1] > 0) & (path[:, 3] > 0)]
    return _links(links, _scored(sides, links))


def _links(path: np.ndarray, scores: np.ndarray) -> Links:
    return Links(*np.ascontiguousarray(path.T), *np.ascontiguousarray(scores.T, dtype=np.float32))


def _sides(source: np.ndarray, target: np.ndarray, samples: int) -> _Sides:
    distances = (
        _mean_distances(side, other[0, _sample(other.shape[1], samples)])
        for side, other in ((source, target), (target, source))
    )
    return _Sides(source, target, *distances)


def _sample(rows: int, count: int) -> np.ndarray:
    """At most so many rows, evenly spread."""
    count = min(count, rows)
    return (2 * np.arange(count) + 1) * rows // (2 * count)


def _search(sides: _Sides, config: AlignConfig, max_size: int) -> np.ndarray:
    """The cheapest path (l, 4): start and number of sentences of both sides, none for a side that is left out."""
    rows, columns = sides.source.shape[1], sides.target.shape[1]
    if (rows + 1) * (columns + 1) <= EXACT_CELLS:
        low, high = np.zeros(rows + 1, np.int64), np.full(rows + 1, columns, np.int64)
    else:
        halves = _sides(_halve(sides.source[0]), _halve(sides.target[0]), config.samples)
        low, high = _around(_search(halves, config, 2), rows, columns, config.window)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(high - low + 1)])
    return _cheapest(sides, _penalty(sides, config), _Band(low, high, offsets), max_size)


@compiled
def _mean_distances(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Mean of 1 - cosine of each vector (longest, n, d) to some others, the nearest aside: that may translate it."""
    distances = np.empty(vectors.shape[:2], np.float64)
    for length in range(vectors.shape[0]):
        for row in range(vectors.shape[1]):
            total, nearest = 0.0, np.inf
            for other in range(len(others)):
                distance = 1.0 - float(cosine_of(vectors[length, row], others[other]))
                total += distance
                nearest = min(nearest, distance)
            count = len(others) - 1
            distances[length, row] = max((total - nearest) / count, _SMALLEST) if count else 1.0
    return distances


@compiled
def _distance(
    sides: _Sides, source_count: int, source_row: int, target_count: int, target_row: int
) -> tuple[float, float]:
    """How far two runs of sentences are from each other, as a multiple of how far chance is; and their cosine."""
    cosine = float(cosine_of(sides.source[source_count - 1, source_row], sides.target[target_count - 1, target_row]))
    chance = sides.source_distances[source_count - 1, source_row] + sides.target_distances[target_count - 1, target_row]
    return max(0.0, 2.0 * (1.0 - cosine) / chance), cosine


def _penalty(sides: _Sides, config: AlignConfig) -> float:
    """What a sentence costs that stays alone: half a quantile of what links cost by chance, not being a row's cheapest.

    So two sentences stay alone rather than be a link no better than chance. Vecalign takes the whole quantile for each:
    measured on news, F1 of all links is then 79 in place of 92 (German), 78 for 88 (Russian).
    """
    costs = _sampled_costs(sides, *(_sample(side.shape[1], config.samples) for side in (sides.source, sides.target)))
    by_chance = costs[(costs > costs.min(axis=0)) & (costs > costs.min(axis=1)[:, None])]
    return float(np.quantile(by_chance, config.deletion)) / 2 if by_chance.size else 0.5


@compiled
def _sampled_costs(sides: _Sides, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    costs = np.empty((len(rows), len(columns)))
    for row in range(len(rows)):
        for column in range(len(columns)):
            costs[row, column] = _distance(sides, 1, rows[row], 1, columns[column])[0]
    return costs


@compiled
def _cheapest(sides: _Sides, penalty: float, band: _Band, max_size: int) -> np.ndarray:
    """The links (l, 4) of the path through a band's cells that costs least; of equals the one tried first.

    A cell is reached from one with a sentence less on one side, or with up to `max_size` less on both together.
    """
    rows = sides.source.shape[1]
    costs = np.full(band.offsets[-1], np.inf)
    steps = np.zeros((band.offsets[-1], 2), np.int8)
    costs[0] = 0.0
    for i in range(rows + 1):
        for j in range(band.low[i], band.high[i] + 1):
            cell = band.offsets[i] + j - band.low[i]
            for a in range(min(i, max_size - 1) + 1):
                for b in range(min(j, max_size - 1) + 1):
                    if (a + b > max_size) or (a * b == 0 and a + b != 1):
                        continue
                    if not band.low[i - a] <= j - b <= band.high[i - a]:
                        continue
                    cost = costs[band.offsets[i - a] + j - b - band.low[i - a]]
                    if cost >= costs[cell]:  # no link costs less than nothing
                        continue
                    cost += penalty if a * b == 0 else a * b * _distance(sides, a, i - a, b, j - b)[0]
                    if cost < costs[cell]:
                        costs[cell] = cost
                        steps[cell, 0] = a
                        steps[cell, 1] = b
    return _walk(steps, band)


@compiled
def _walk(steps: np.ndarray, band: _Band) -> np.ndarray:
    """The path back from the last cell, in order, sentences alone as links of none."""
    i, j = len(band.low) - 1, band.high[-1]
    path = np.empty((i + j, 4), np.int64)
    count = 0
    while i or j:
        a, b = steps[band.offsets[i] + j - band.low[i]]
        i -= a
        j -= b
        count += 1
        link = path[len(path) - count]
        link[0], link[1], link[2], link[3] = i, a, j, b
    return path[len(path) - count :].copy()


@compiled
def _scored(sides: _Sides, path: np.ndarray) -> np.ndarray:
    scores = np.empty((len(path), 2), np.float32)
    for link in range(len(path)):
        source_row, source_count, target_row, target_count = path[link]
        distance, cosine = _distance(sides, source_count, source_row, target_count, target_row)
        scores[link, 0] = cosine
        scores[link, 1] = 1.0 - distance
    return scores


@compiled
def _halve(vectors: np.ndarray) -> np.ndarray:
    """Normalised sums (1, n / 2, d) of the vectors of each two neighbours (n, d), of the last one alone if n is odd."""
    halves = np.zeros((1, (len(vectors) + 1) // 2, vectors.shape[1]), np.float32)
    for row in range(halves.shape[1]):
        square = 0.0
        for column in range(vectors.shape[1]):
            total = np.float64(vectors[2 * row, column])
            if 2 * row + 1 < len(vectors):
                total += np.float64(vectors[2 * row + 1, column])
            halves[0, row, column] = total
            square += total * total
        for column in range(vectors.shape[1]):
            if square > 0.0:
                halves[0, row, column] = np.float32(halves[0, row, column] / np.sqrt(square))
    return halves


@compiled
def _around(path: np.ndarray, rows: int, columns: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Per row of twice as fine a grid the first and last column at most `window` from a coarse path."""
    low, high = np.full(rows + 1, columns, np.int64), np.zeros(rows + 1, np.int64)
    for step in range(len(path)):
        i, a, j, b = 2 * path[step]
        for row in range(max(0, i - window), min(rows, i + a + window) + 1):
            low[row] = min(low[row], max(0, j - window))
            high[row] = max(high[row], min(columns, j + b + window))
    return low, high
