"""Two blocks of vectors in; for each row a shortlist of its nearest neighbours, and how good the rest can be, out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NORM_TOLERANCE = 0.01  # float16 components are within 2**-11 of the true ones, so norms well within this
UNIT = 2.0**-24  # unit roundoff of float32
# Rows of targets that FAISS multiplies at once, with up to 4,096 queries. 1,024 is its default and best for two wide
# sides; where a new crawl meets an old one, 2,276 x 32,768 of 512 dimensions, 2,304 give 90 and 97 GFLOP/s a core
# instead of 72 and 85.
NARROW_ROWS, NARROW_TILE, WIDE_TILE = 4096, 2304, 1024


class Shortlist(NamedTuple):
    """Rows of the other side (n, count) int64, a bound for each (n, count) float64, and ceilings (n,) float64.

    No row on a list has an exact cosine (`ranking.cosine_of`) above its bound, and none that is missing from a list has
    one above the list's ceiling. Nothing else is promised: the order in which the rows were found does not matter.
    """

    rows: np.ndarray
    bounds: np.ndarray
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

    is_narrow = min(len(queries), len(targets)) <= NARROW_ROWS
    faiss.cvar.distance_compute_blas_database_bs = NARROW_TILE if is_narrow else WIDE_TILE
    scores, rows = faiss.knn(queries, targets, min(count, len(targets)), metric=faiss.METRIC_INNER_PRODUCT)
    bounds = scores.astype(np.float64) + score_error(queries.shape[1])
    return Shortlist(rows, bounds, np.full(len(queries), -np.inf) if count >= len(targets) else bounds.min(axis=1))
