"""Neighbours in; how much nearer each is than the neighbourhoods of both sentences out."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tasks.similarity.neighbours import Neighbours
from tasks.similarity.ranking import Ranking

Margin = Literal["ratio", "distance", "absolute"]


def margins(found: Neighbours, kind: Margin) -> tuple[np.ndarray, np.ndarray]:
    """Margin (float32) of each neighbour of both rankings, -inf where there is none (Artetxe and Schwenk 2018).

    With m the mean of the two sentences' mean cosines to their nearest neighbours (k, or as many as there are):
    ratio is cosine / m, distance is cosine - m, absolute is the cosine. Where m is not above zero a ratio would reward
    a sentence for being far from everything, so it is 0: no evidence.
    """
    forward, backward = mean_cosines(found.forward), mean_cosines(found.backward)
    return _margin(found.forward, forward, backward, kind), _margin(found.backward, backward, forward, kind)


def mean_cosines(ranking: Ranking) -> np.ndarray:
    """Mean cosine (float64) of each row's neighbours, summed best first; 0 for a row that has none."""
    total = np.zeros(len(ranking.rows), np.float64)
    for column in range(ranking.rows.shape[1]):
        total += np.where(ranking.rows[:, column] >= 0, ranking.cosines[:, column], 0)
    return np.asarray(total / np.maximum((ranking.rows >= 0).sum(axis=1), 1))


def _margin(ranking: Ranking, own: np.ndarray, others: np.ndarray, kind: Margin) -> np.ndarray:
    present = ranking.rows >= 0
    cosine = np.where(present, ranking.cosines, 0).astype(np.float64)
    theirs = others[np.where(present, ranking.rows, 0)] if len(others) else np.zeros(present.shape)
    mean = (own[:, None] + theirs) / 2
    if kind == "ratio":
        margin = np.divide(cosine, mean, out=np.zeros_like(cosine), where=mean > 0)
    elif kind == "distance":
        margin = cosine - mean
    else:
        margin = cosine
    return np.where(present, margin, -np.inf).astype(np.float32)
