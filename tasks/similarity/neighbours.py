"""Vectors of two sides in, the exact k nearest neighbours in both directions out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from encoder.threads import on_one_thread_each
from tasks.similarity.candidates import Multiplying, Shortlist, score_error, shortlists
from tasks.similarity.compiled import compiled
from tasks.similarity.different import Different, different
from tasks.similarity.identifiers import ranks
from tasks.similarity.ranking import Ranking, insert, nobody, rank_candidates, rank_more

SLACK = 8  # candidates beyond k; measured: more than 99.9 % of rows are then certified at the first attempt
_BY_DEFAULT = Multiplying()
_ROWS = 4096  # ranked at once: 48 MB of candidates of 256 dimensions, at k = 4


class Neighbours(NamedTuple):
    """Per source row its nearest targets, and per target row its nearest sources."""

    forward: Ranking
    backward: Ranking


def neighbours(
    source: np.ndarray, target: np.ndarray, source_ids: pa.Array, target_ids: pa.Array, k: int
) -> Neighbours:
    """The k nearest rows by cosine in both directions; exactly the same for any thread count or split into blocks.

    Ties are in the order of the ids. A row of zeros has no neighbours and is nobody's.

    Args:
        source: L2-normalised rows (n, d) as stored, float16 or float32, in memory or mapped.
        target: rows (m, d) of the other side.
        source_ids: 16-byte id of each source row.
        target_ids: 16-byte id of each target row.
        k: neighbours per row.

    Raises:
        ValueError: if shapes, types or ids do not fit, or a row is neither zero nor normalised.
    """
    if len(source_ids) != len(source) or len(target_ids) != len(target):
        raise ValueError("there must be one id per vector")
    return search(source, target, (ranks(source_ids), ranks(target_ids)), k)


def search(
    source: np.ndarray,
    target: np.ndarray,
    places: tuple[np.ndarray, np.ndarray],
    k: int,
    *,
    multiplying: Multiplying = _BY_DEFAULT,
) -> Neighbours:
    """As `neighbours`, with the ids' places in order (int64, of both sides) in place of the ids.

    `multiplying` says how candidates are found, and never changes the result.
    """
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1] or k < 1:
        raise ValueError(f"cannot search for {k} neighbours between {source.shape} and {target.shape}")
    sources, targets = (different(side, place) for side, place in zip((source, target), places, strict=True))
    if not sources.size or not targets.size:
        return Neighbours(nobody(len(source), k), nobody(len(target), k))
    is_rounded = multiplying.chosen != "float32"
    count = 2 * k + SLACK if is_rounded else k + SLACK  # wider bounds need more to stand behind the k-th
    forward, backward = shortlists(sources, targets, count, multiplying)
    return Neighbours(certified(sources, targets, forward, k), certified(targets, sources, backward, k))


def certified(queries: Different, targets: Different, shortlist: Shortlist, k: int) -> Ranking:
    """The exact ranking of each row of the queries' side, from a shortlist where that is proof enough.

    It is where the k-th cosine on it is above all that can be missing; the other queries are searched again.
    """
    ranking = nobody(queries.size, k)

    def rank(start: int) -> None:
        part = slice(start, start + _ROWS)
        used, local = np.unique(shortlist.vectors[part], return_inverse=True)
        candidates = local.reshape(-1, shortlist.vectors.shape[1]), shortlist.bounds[part]
        vectors = queries.block(start, start + _ROWS), targets.take(used)
        rows, cosines = rank_candidates(*vectors, candidates, targets.places[used], k)
        ranking.rows[part], ranking.cosines[part] = np.append(used, -1)[rows], cosines

    on_one_thread_each(rank, range(0, queries.size, _ROWS))
    doubtful = np.flatnonzero(ranking.cosines[:, -1] <= shortlist.ceilings)
    _search_again(queries, targets, ranking, doubtful)
    return Ranking(*_expand(ranking, queries.group, targets.members, targets.starts, targets.row_places))


def _search_again(queries: Different, targets: Different, ranking: Ranking, doubtful: np.ndarray) -> None:
    """Rank the doubtful queries against all targets that may be as good as the k-th found so far, in place."""
    error = score_error(queries.stored.shape[1])
    for start in range(0, len(doubtful), 1024):  # 1024 x 8192 scores: 32 MB
        rows = doubtful[start : start + 1024]
        vectors = queries.take(rows)
        least = ranking.cosines[rows, -1].astype(np.float64) - error
        again = nobody(len(rows), ranking.rows.shape[1])
        for first in range(0, targets.size, 8192):
            others = targets.block(first, first + 8192)
            scores = torch.mm(torch.from_numpy(vectors), torch.from_numpy(others).T).numpy()
            rank_more(again, vectors, (others, first), np.argwhere(scores >= least[:, None]), targets.places)
        ranking.rows[rows], ranking.cosines[rows] = again


@compiled
def _expand(
    ranking: Ranking, group: np.ndarray, members: np.ndarray, starts: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From a ranking of different vectors to one of rows: each vector stands for all rows that have it."""
    k = ranking.rows.shape[1]
    rows = np.full((len(group), k), -1, np.int64)
    cosines = np.full((len(group), k), np.float32(-np.inf), np.float32)
    for row in range(len(group)):
        query = group[row]
        for column in range(k if query >= 0 else 0):
            vector, cosine = ranking.rows[query, column], ranking.cosines[query, column]
            if vector < 0 or cosine < cosines[row, k - 1]:
                break
            for member in members[starts[vector] : min(starts[vector + 1], starts[vector] + k)]:
                insert(rows[row], cosines[row], member, cosine, places)
    return rows, cosines
