"""Vectors of parallel sentences in, how often the true partner is not (xsim) or is (accuracy) the nearest out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Correct = npt.NDArray[np.bool_]
Margin = Literal["ratio", "distance", "absolute"]

_Float64 = npt.NDArray[np.float64]

ROWS_AT_ONCE = 1024  # bounds the memory of a block of cosines


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
    return float(np.mean(~xsim_correct(x, y, x_texts, y_texts, margin, k)))


def xsim_correct(  # noqa: PLR0913, PLR0917 - as xsim
    x: Matrix, y: Matrix, x_texts: Sequence[str], y_texts: Sequence[str], margin: Margin = "ratio", k: int = 4
) -> Correct:
    """Whether each row is no error to `xsim` (n,): what a bootstrap of it draws from."""
    _check(x, y, k)
    if len(x_texts) != len(x) or len(y_texts) != len(y):
        message = f"{len(x)} and {len(y)} vectors have {len(x_texts)} and {len(y_texts)} texts"
        raise ValueError(message)
    found = best_partners(x, y, margin, k)
    return np.array([y_texts[row] == y_texts[partner] for row, partner in enumerate(found.tolist())])


def retrieval_accuracy(x: Matrix, y: Matrix, margin: Margin = "absolute", k: int = 4) -> Accuracy:
    """How often row i of x finds row i of y, and the reverse; "absolute" goes by the cosine alone.

    Rows are unit vectors.
    """
    forward, backward = retrieval_correct(x, y, margin, k)
    return Accuracy(float(forward.mean()), float(backward.mean()))


def retrieval_correct(x: Matrix, y: Matrix, margin: Margin = "absolute", k: int = 4) -> tuple[Correct, Correct]:
    """Whether row i of x finds row i of y, and the reverse, for each i (n,)."""
    _check(x, y, k)
    forward, backward = mutual_partners(x, y, margin, k)
    own = np.arange(len(x))
    return forward == own, backward == own


def best_partners(x: Matrix, y: Matrix, margin: Margin = "ratio", k: int = 4) -> npt.NDArray[np.int64]:
    """Row of y with the best margin among the k nearest by cosine of every row of x; the lower row wins a tie.

    The margins are those of Artetxe & Schwenk (2019): of the cosine to the mean of both sides' k nearest.
    """
    if margin == "absolute":
        return nearest(x, y, 1)[0][:, 0]
    k = min(k, len(x), len(y))
    return _best(*nearest(x, y, k), _around(nearest(y, x, k)[1]), margin)


def mutual_partners(
    x: Matrix, y: Matrix, margin: Margin = "ratio", k: int = 4
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`best_partners` of x in y and of y in x, for the price of one."""
    if margin == "absolute":
        return nearest(x, y, 1)[0][:, 0], nearest(y, x, 1)[0][:, 0]
    k = min(k, len(x), len(y))
    forward, backward = nearest(x, y, k), nearest(y, x, k)
    return _best(*forward, _around(backward[1]), margin), _best(*backward, _around(forward[1]), margin)


def _best(
    columns: npt.NDArray[np.int64], cosines: Matrix, around_columns: _Float64, margin: Literal["ratio", "distance"]
) -> npt.NDArray[np.int64]:
    mean = (_around(cosines)[:, None] + around_columns[columns]) / 2
    cosine = cosines.astype(np.float64)
    scores = cosine - mean if margin == "distance" else _ratio(cosine, mean)
    best = np.lexsort((columns, -scores), axis=1)[:, 0]
    return columns[np.arange(len(columns)), best]


def _around(cosines: Matrix) -> _Float64:
    return np.asarray(cosines.mean(axis=1, dtype=np.float64))


def _ratio(cosine: _Float64, mean: _Float64) -> _Float64:
    return np.divide(cosine, mean, out=np.zeros_like(cosine), where=mean != 0)


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
    """Columns of the k largest values of every row, largest first; the lower column wins a tie."""
    least = -np.partition(-block, k - 1, axis=1)[:, k - 1 : k]
    rows, columns = np.nonzero(~(block < least))  # not >=: what is not a number stays, and comes last
    order = np.lexsort((columns, -block[rows, columns], rows))
    first = np.searchsorted(rows, np.arange(len(block)))  # nonzero goes row by row
    largest: npt.NDArray[np.int64] = columns[order[first[:, None] + np.arange(k)]]
    return largest


def _check(x: Matrix, y: Matrix, k: int) -> None:
    if x.shape != y.shape or x.ndim != 2 or not len(x) or k < 1:
        message = f"parallel vectors have one shape, one row at least and k >= 1, not {x.shape}, {y.shape} and k = {k}"
        raise ValueError(message)
