"""Found pairs and true pairs in, precision, recall and F1 out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Scores(NamedTuple):
    """How good a set of found pairs is, from 0 to 1, and the least score of a pair that is in it."""

    precision: float
    recall: float
    f1: float
    threshold: float = float("-inf")


def scores(right: int, found: int, true: int) -> Scores:
    """Return precision, recall and F1 from the number of right, found and true pairs."""
    precision = right / found if found else 0.0
    recall = right / true if true else 0.0
    return Scores(precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0)


def best_threshold(margins: npt.NDArray[np.float32], is_right: npt.NDArray[np.bool_], true: int) -> Scores:
    """Return the scores at the threshold with the best F1, as the BUCC task tunes it.

    Args:
        margins: of the found pairs, in any order.
        is_right: whether each is a true pair.
        true: number of true pairs, found or not.
    """
    if not len(margins):
        return Scores(0.0, 0.0, 0.0)
    order = np.argsort(-margins, kind="stable")
    right, found = np.cumsum(is_right[order]), np.arange(1, len(order) + 1)
    last = np.append(margins[order][1:] != margins[order][:-1], True)  # equal margins are cut together
    f1 = np.where(last, 2 * right / (found + true), -1)
    best = int(np.argmax(f1))
    return scores(int(right[best]), best + 1, true)._replace(threshold=float(margins[order][best]))
