"""The same text in two languages in, how much of it vectors can put together again, and by what margin, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.similarity.margin import margins, mean_cosines
from tasks.similarity.neighbours import Neighbours, search
from tasks.similarity.ranking import Ranking

Matrix = npt.NDArray[np.float32]
RANGE, BINS = (0.5, 2.0), 60  # of ratio margins: a random pair has about 1, a true one of a good encoder 1.1 to 1.6
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Found:
    """Whether the best candidate of each source is its target, and of each target its source."""

    forward: npt.NDArray[np.bool_]
    backward: npt.NDArray[np.bool_]

    @property
    def precision(self) -> float:
        """P@1, mean of both directions, from 0 to 1."""
        return float((self.forward.mean() + self.backward.mean()) / 2)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What is found by the cosine alone and by the ratio margin."""

    by_cosine: Found
    by_margin: Found


@dataclass(frozen=True, eq=False)
class MarginDistribution:
    """Ratio margins of the true pairs and of each source's best wrong candidate.

    `edges` are those of the bins that `true_counts` and `wrong_counts` count; what lies outside is in the first and
    last. The quantiles are by share. `separated` is the share of sources whose own target has the larger margin. A
    wrong margin is -inf, and not counted, where none of the candidates is wrong.
    """

    true_margins: npt.NDArray[np.float32]
    wrong_margins: npt.NDArray[np.float32]
    edges: npt.NDArray[np.float64]
    true_counts: npt.NDArray[np.int64]
    wrong_counts: npt.NDArray[np.int64]
    true_quantiles: dict[float, float]
    wrong_quantiles: dict[float, float]
    separated: float


def reconstruction(x: Matrix, y: Matrix, x_texts: Sequence[str], y_texts: Sequence[str], k: int = 4) -> Reconstruction:
    """Pair every sentence with the best among ALL of the other side, as was done for the UN corpus.

    The protocol is that of Artetxe & Schwenk (2018). Rows are unit vectors, row i of x being the translation of row i
    of y; a sentence that occurs twice is found in either place. Memory is bounded for any number of rows.

    Raises:
        ValueError: if vectors and texts are not parallel.
    """
    _check(x, y, k)
    sources, targets = _groups(x_texts, len(x)), _groups(y_texts, len(y))
    found = _search(x, y, k)
    by_margin = margins(found, "ratio")
    first = Found(_right(found.forward.rows[:, 0], targets), _right(found.backward.rows[:, 0], sources))
    best = [
        np.take_along_axis(side.rows, margin.argmax(axis=1)[:, None], axis=1)[:, 0]
        for side, margin in zip(found, by_margin, strict=True)
    ]
    return Reconstruction(first, Found(_right(best[0], targets), _right(best[1], sources)))


def margin_distribution(x: Matrix, y: Matrix, k: int = 4, texts: Sequence[str] | None = None) -> MarginDistribution:
    """How far apart the margins of true and of wrong pairs are; where `texts` of y are given, equal ones are not wrong.

    The wrong candidate is the one of the largest margin among the k + 1 nearest of a source.

    Raises:
        ValueError: if the vectors are not parallel, or there are fewer than two.
    """
    _check(x, y, k)
    if len(x) < 2:
        raise ValueError("a single pair has no wrong candidate")
    group = np.arange(len(y)) if texts is None else _groups(texts, len(y))
    found = _search(x, y, k + 1)
    around = [mean_cosines(Ranking(side.rows[:, :k], side.cosines[:, :k])) for side in found]
    own = np.arange(len(x))[:, None]
    true = _ratios(np.einsum("ij,ij->i", x, y, dtype=np.float64)[:, None], own, around)[:, 0]
    rows = found.forward.rows
    is_wrong = (rows >= 0) & (group[np.maximum(rows, 0)] != group[own])
    candidates = _ratios(np.where(is_wrong, found.forward.cosines, 0).astype(np.float64), np.maximum(rows, 0), around)
    wrong = np.where(is_wrong, candidates, -np.inf).max(axis=1)
    return _distribution(true, wrong)


def _distribution(true: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]) -> MarginDistribution:
    there = wrong[np.isfinite(wrong)]
    edges = np.linspace(*RANGE, BINS + 1)
    return MarginDistribution(
        true.astype(np.float32),
        wrong.astype(np.float32),
        edges,
        np.histogram(np.clip(true, *RANGE), edges)[0],
        np.histogram(np.clip(there, *RANGE), edges)[0],
        _quantiles(true),
        _quantiles(there),
        float((true > wrong).mean()),
    )


def _quantiles(margin: npt.NDArray[np.float64]) -> dict[float, float]:
    return {share: float(np.quantile(margin, share)) for share in QUANTILES} if len(margin) else {}


def _ratios(
    cosines: npt.NDArray[np.float64], rows: npt.NDArray[np.int64], around: list[npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """Cosine of each source to some targets over the mean of both neighbourhoods; 0 where that is not above zero."""
    mean = (around[0][:, None] + around[1][rows]) / 2
    return np.divide(cosines, mean, out=np.zeros_like(cosines), where=mean > 0)


def _search(x: Matrix, y: Matrix, k: int) -> Neighbours:
    return search(x, y, (np.arange(len(x)), np.arange(len(y))), k)


def _right(found: npt.NDArray[np.int64], group: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether what row i has found, if anything (not -1), is the text of row i."""
    return np.asarray((found >= 0) & (group[found] == group))


def _groups(texts: Sequence[str], count: int) -> npt.NDArray[np.int64]:
    """The same number for equal texts."""
    if len(texts) != count:
        raise ValueError(f"{count} vectors have {len(texts)} texts")
    numbers: dict[str, int] = {}
    return np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), np.int64, count)


def _check(x: Matrix, y: Matrix, k: int) -> None:
    if x.shape != y.shape or x.ndim != 2 or not len(x) or k < 1:
        raise ValueError(f"parallel vectors have one shape and a row at least, not {x.shape} and {y.shape} (k = {k})")
