"""Neighbours in; how much nearer each is than the neighbourhoods of both sentences out."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from tasks.similarity.compiled import compiled
from tasks.similarity.neighbours import Neighbours
from tasks.similarity.ranking import Ranking

Margin = Literal["ratio", "distance", "absolute"]
Margins = tuple[np.ndarray, np.ndarray]  # float32, in the shapes of the forward and of the backward ranking


class Candidates(NamedTuple):
    """Neighbours as pairs of rows, each pair once."""

    source_rows: np.ndarray
    target_rows: np.ndarray
    cosine: np.ndarray
    margin: np.ndarray


def margins(found: Neighbours, kind: Margin) -> Margins:
    """Margin of each neighbour of both rankings, -inf where there is none (Artetxe and Schwenk 2018)."""
    forward, backward = mean_cosines(found.forward), mean_cosines(found.backward)
    return _of_ranking(found.forward, forward, backward, kind), _of_ranking(found.backward, backward, forward, kind)


def mean_cosines(ranking: Ranking) -> np.ndarray:
    """Mean cosine (float64) of each row's neighbours, summed best first; 0 for a row that has none."""
    total = np.zeros(len(ranking.rows), np.float64)
    for column in range(ranking.rows.shape[1]):
        total += np.where(ranking.rows[:, column] >= 0, ranking.cosines[:, column], 0)
    return np.asarray(total / np.maximum((ranking.rows >= 0).sum(axis=1), 1))


def compared(cosine: np.ndarray, own: np.ndarray, others: np.ndarray, kind: Margin) -> np.ndarray:
    """Margin (float32) of each cosine, given the mean cosines of the neighbourhoods of both sentences.

    With m the mean of the two means: ratio is cosine / m, distance is cosine - m, absolute is the cosine. Where m is
    not above zero a ratio would reward a sentence for being far from everything, so it is 0: no evidence.
    """
    cosine = cosine.astype(np.float64)
    mean = (own + others) / 2
    if kind == "ratio":
        margin = np.divide(cosine, mean, out=np.zeros_like(cosine), where=mean > 0)
    else:
        margin = cosine - mean if kind == "distance" else cosine
    return np.asarray(margin, np.float32)


def listed_candidates(found: Neighbours, margin: Margins, least: np.float32) -> Candidates:
    """Return the neighbours of either side with at least this margin: the sources' first, then only the targets'."""
    sources, columns = np.nonzero((found.forward.rows >= 0) & (margin[0] >= least))
    forward = (
        sources,
        found.forward.rows[sources, columns],
        found.forward.cosines[sources, columns],
        margin[0][sources, columns],
    )
    targets, columns = np.nonzero((found.backward.rows >= 0) & (margin[1] >= least))
    sources = found.backward.rows[targets, columns]
    is_new = ~_are_listed(found.forward.rows, sources, targets)
    targets, columns = targets[is_new], columns[is_new]
    backward = sources[is_new], targets, found.backward.cosines[targets, columns], margin[1][targets, columns]
    return Candidates(*(np.concatenate(both) for both in zip(forward, backward, strict=True)))


def without(found: Neighbours, margin: Margins, pairs: tuple[np.ndarray, np.ndarray]) -> Margins:
    """Return the margins with -inf, which no choice takes, for some pairs of source rows and target rows."""
    return with_margins(found, margin, pairs, np.full(len(pairs[0]), -np.inf, np.float32))


def with_margins(
    found: Neighbours, margin: Margins, pairs: tuple[np.ndarray, np.ndarray], values: np.ndarray
) -> Margins:
    """Return the margins with other values for some pairs of source rows and target rows, on the lists of both sides.

    A pair that is on neither list, or has a row of -1, changes nothing.
    """
    known = (pairs[0] >= 0) & (pairs[1] >= 0)
    sources, targets, values = pairs[0][known], pairs[1][known], values[known]
    forward, backward = margin[0].copy(), margin[1].copy()
    _put(found.forward.rows, forward, sources, targets, values)
    _put(found.backward.rows, backward, targets, sources, values)
    return forward, backward


def _of_ranking(ranking: Ranking, own: np.ndarray, others: np.ndarray, kind: Margin) -> np.ndarray:
    present = ranking.rows >= 0
    theirs = others[np.where(present, ranking.rows, 0)] if len(others) else np.zeros(present.shape)
    margin = compared(np.where(present, ranking.cosines, 0), own[:, None], theirs, kind)
    return np.where(present, margin, np.float32(-np.inf))


@compiled
def _are_listed(rows: np.ndarray, owners: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each of `others` is a neighbour of the row in the same place of `owners`."""
    listed = np.zeros(len(owners), np.bool_)
    for pair in range(len(owners)):
        for row in rows[owners[pair]]:
            listed[pair] |= row == others[pair]
    return listed


@compiled
def _put(rows: np.ndarray, margin: np.ndarray, owners: np.ndarray, others: np.ndarray, values: np.ndarray) -> None:
    """Set the margins of some pairs, where they are on the lists of their owners."""
    for pair in range(len(owners)):
        owner = owners[pair]
        for column in range(rows.shape[1]):
            if rows[owner, column] == others[pair]:
                margin[owner, column] = values[pair]
