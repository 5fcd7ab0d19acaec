"""Vectors of parallel sentences in, how each side's nearest neighbours rank the true partner out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.similarity.compiled import compiled

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ROWS_AT_ONCE = 1024  # bounds the memory of a block of cosines


class Partners(NamedTuple):
    """For each row of x its best row of y, and for each row of y its best row of x."""

    forward: Rows
    backward: Rows


class Ranked(NamedTuple):
    """Rows and cosines of the k nearest, best first, (n, k); the lower row comes first in a tie."""

    rows: Rows
    cosines: Matrix


class BothWays(NamedTuple):
    """Each side's nearest neighbours on the other."""

    forward: Ranked
    backward: Ranked

    def by_cosine(self) -> Partners:
        """Return the nearest of each row."""
        return Partners(self.forward.rows[:, 0], self.backward.rows[:, 0])

    def by_margin(self) -> Partners:
        """Return the neighbour of each row with the best ratio margin (Artetxe & Schwenk 2018)."""
        x, y = (one.cosines.mean(axis=1, dtype=np.float64) for one in self)
        return Partners(_best(self.forward, x, y), _best(self.backward, y, x))


def both_ways(x: Matrix, y: Matrix, k: int = 4) -> BothWays:
    """Return the k nearest of every row of x (n, d) in y (m, d) and the reverse; rows are unit vectors."""
    k = min(k, len(x), len(y))
    forward, backward = _nothing(len(x), k), _nothing(len(y), k)
    for begin in range(0, len(x), ROWS_AT_ONCE):
        block = np.ascontiguousarray(x[begin : begin + ROWS_AT_ONCE] @ y.T, np.float32)
        _rank(block, begin, *forward, *backward)
    return BothWays(forward, backward)


def same_text(texts: Sequence[str], found: Rows) -> Flags:
    """Return for each row whether the row that was found for it has the same text as itself."""
    numbers = _numbered(texts)
    return np.asarray(numbers[found] == numbers, np.bool_)


def errors_between(
    vectors: Mapping[str, Matrix], texts: Mapping[str, Sequence[str]], k: int = 4
) -> Iterator[tuple[str, str, float]]:
    """Yield (source language, target language, xsim as a share) for every two languages of an n-way text, both ways."""
    languages = sorted(vectors)
    numbers = {
        one: np.unique(np.asarray(texts[one], dtype=object).astype(str), return_inverse=True)[1] for one in languages
    }
    for place, source in enumerate(languages):
        for target in languages[place + 1 :]:
            found = both_ways(vectors[source], vectors[target], k).by_margin()
            own_source, own_target = numbers[source], numbers[target]
            yield source, target, float((own_target[found.forward] != own_target).mean())
            yield target, source, float((own_source[found.backward] != own_source).mean())


def _numbered(texts: Sequence[str]) -> Rows:
    """Return a number for each text, equal for equal texts."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts], np.int64)


def _nothing(rows: int, k: int) -> Ranked:
    return Ranked(np.full((rows, k), -1, np.int64), np.full((rows, k), -np.inf, np.float32))


def _best(ranked: Ranked, own: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> Rows:
    """Return the candidate with the best ratio margin; the lower row wins a tie."""
    mean = (own[:, None] + other[ranked.rows]) / 2
    margins = np.divide(ranked.cosines, mean, out=np.zeros(mean.shape), where=mean != 0)
    best = np.lexsort((ranked.rows, -margins), axis=1)[:, 0]
    found: Rows = ranked.rows[np.arange(len(best)), best]
    return found


@compiled
def _rank(  # noqa: PLR0913, PLR0917 - numba takes arrays
    block: np.ndarray,
    begin: int,
    rows: np.ndarray,
    cosines: np.ndarray,
    back_rows: np.ndarray,
    back_cosines: np.ndarray,
) -> None:
    """Add a block of cosines, whose first row is row `begin`, to the rankings of both sides, in place.

    Candidates come in the order of their rows, so that of equal ones the first stays before the next.
    """
    last = rows.shape[1] - 1
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            cosine = block[i, j]
            if cosine > cosines[begin + i, last]:
                _insert(rows[begin + i], cosines[begin + i], j, cosine)
            if cosine > back_cosines[j, last]:
                _insert(back_rows[j], back_cosines[j], begin + i, cosine)


@compiled
def _insert(rows: np.ndarray, cosines: np.ndarray, row: int, cosine: np.float32) -> None:
    place = len(rows) - 1
    while place > 0 and cosines[place - 1] < cosine:
        rows[place] = rows[place - 1]
        cosines[place] = cosines[place - 1]
        place -= 1
    rows[place] = row
    cosines[place] = cosine
