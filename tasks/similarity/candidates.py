"""Two blocks of vectors in; for each row a shortlist of its nearest neighbours, and how good the rest can be, out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NORM_TOLERANCE = 0.01  # float16 components are within 2**-11 of the true ones, so norms well within this
UNIT = 2.0**-24  # unit roundoff of float32


class Shortlist(NamedTuple):
    """Rows of the other side (n, count) int64, and ceilings (n,) float64.

    No row that is missing from a list has an exact cosine (`ranking.cosine_of`) above the list's ceiling. Nothing else
    is promised: the scores and the order by which the rows were found do not matter.
    """

    rows: np.ndarray
    ceilings: np.ndarray


def shortlists(source: np.ndarray, target: np.ndarray, count: int) -> tuple[Shortlist, Shortlist]:
    """Up to `count` targets per source and sources per target, of normalised float32 vectors, neither side empty."""
    return _search(source, target, count), _search(target, source, count)


def score_error(dimension: int) -> float:
    """Bound on |float32 dot product - exact cosine| of two vectors that are normalised within NORM_TOLERANCE.

    A float32 dot product in any order, fused or not, is within d u / (1 - d u) of sum |x_i y_i| (Higham 2002, section
    3.1), which is at most |x| |y|. The rest pays for rounding the exact one to float32, the norms and the denominator.
    """
    return 1.05 * (dimension + 4) * UNIT


def _search(queries: np.ndarray, targets: np.ndarray, count: int) -> Shortlist:
    import faiss

    scores, rows = faiss.knn(queries, targets, min(count, len(targets)), metric=faiss.METRIC_INNER_PRODUCT)
    if count >= len(targets):
        return Shortlist(rows, np.full(len(queries), -np.inf))
    return Shortlist(rows, scores.min(axis=1).astype(np.float64) + score_error(queries.shape[1]))
