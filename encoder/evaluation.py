"""Vectors of parallel sentences in, how often the true partner is not (xsim) or is (accuracy) the nearest out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Margin = Literal["ratio", "distance", "absolute"]

ROWS_AT_ONCE = 1024  # bounds the memory of a block of cosines

_COMBINE: dict[Margin, Callable[[Matrix, Matrix], Matrix]] = {
    "ratio": lambda cosine, mean: np.divide(cosine, mean, out=np.zeros_like(cosine), where=mean != 0),
    "distance": lambda cosine, mean: cosine - mean,
    "absolute": lambda cosine, _: cosine,
}


@dataclass(frozen=True)
class Accuracy:
    """Share of sentences whose partner is found, from 0 to 1, each way."""

    forward: float
    backward: float

    @property
    def mean(self) -> float:
        """Mean of both directions."""
        return (self.forward + self.backward) / 2


def xsim(  # noqa: PLR0913, PLR0917 - two sides, each with its texts, and how they are compared
    x: Matrix, y: Matrix, x_texts: Sequence[str], y_texts: Sequence[str], margin: Margin = "ratio", k: int = 4
) -> float:
    """Share of the rows of x whose best of k neighbours in y has another text than the row's own partner, from 0 to 1.

    The protocol is LASER's: the text is compared and not the row, so a translation that occurs twice is no error.
    Rows are unit vectors; `x_texts` is there to be counted.
    """
    _check(x, y, k)
    if len(x_texts) != len(x) or len(y_texts) != len(y):
        message = f"{len(x)} and {len(y)} vectors have {len(x_texts)} and {len(y_texts)} texts"
        raise ValueError(message)
    found = best_partners(x, y, margin, k)
    wrong = [y_texts[row] != y_texts[partner] for row, partner in enumerate(found.tolist())]
    return float(np.mean(wrong))


def retrieval_accuracy(x: Matrix, y: Matrix, margin: Margin = "absolute", k: int = 4) -> Accuracy:
    """How often row i of x finds row i of y, and the reverse; "absolute" goes by the cosine alone.

    Rows are unit vectors.
    """
    _check(x, y, k)
    own = np.arange(len(x))
    return Accuracy(
        float((best_partners(x, y, margin, k) == own).mean()), float((best_partners(y, x, margin, k) == own).mean())
    )


def best_partners(x: Matrix, y: Matrix, margin: Margin = "ratio", k: int = 4) -> npt.NDArray[np.int64]:
    """Row of y with the best margin among the k nearest by cosine of every row of x; the lower row wins a tie.

    The margins are those of Artetxe & Schwenk (2019): of the cosine to the mean of both sides' k nearest.
    """
    k = min(k, len(x), len(y))
    columns, cosines = nearest(x, y, k)
    around_x = cosines.mean(axis=1, dtype=np.float64)
    around_y = nearest(y, x, k)[1].mean(axis=1, dtype=np.float64) if margin != "absolute" else np.zeros(len(y))
    scores = _COMBINE[margin](cosines.astype(np.float64), (around_x[:, None] + around_y[columns]) / 2)
    best = np.lexsort((columns, -scores), axis=1)[:, 0]
    return columns[np.arange(len(x)), best]


def nearest(x: Matrix, y: Matrix, k: int) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Rows of y and cosines of the k nearest of every row of x, best first, both of shape (rows of x, k)."""
    columns = np.empty((len(x), k), np.int64)
    cosines = np.empty((len(x), k), np.float32)
    for begin in range(0, len(x), ROWS_AT_ONCE):
        block = x[begin : begin + ROWS_AT_ONCE] @ y.T
        end = begin + len(block)
        columns[begin:end] = _largest(block, k)
        cosines[begin:end] = np.take_along_axis(block, columns[begin:end], axis=1)
    return columns, cosines


def _largest(block: Matrix, k: int) -> npt.NDArray[np.int64]:
    """Columns of the k largest values of every row, largest first; the lower column wins a tie.

    A value and its column become one whole number, so that no two are equal: the bits of floats, with those below the
    sign flipped where it is negative, order as the floats do.
    """
    bits = (block + np.float32(0)).view(np.int32)
    last = block.shape[1] - 1
    keys = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) << 32 | (last - np.arange(last + 1))
    largest = -np.sort(np.partition(-keys, k - 1, axis=1)[:, :k], axis=1)
    columns: npt.NDArray[np.int64] = last - (largest & 0xFFFFFFFF)
    return columns


def _check(x: Matrix, y: Matrix, k: int) -> None:
    if x.shape != y.shape or x.ndim != 2 or not len(x) or k < 1:
        message = f"parallel vectors have one shape, one row at least and k >= 1, not {x.shape}, {y.shape} and k = {k}"
        raise ValueError(message)
