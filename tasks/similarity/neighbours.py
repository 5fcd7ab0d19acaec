"""Vectors of two sides in, the exact k nearest neighbours in both directions out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.similarity.compiled import compiled
from tasks.similarity.different import Different, different
from tasks.similarity.identifiers import ranks
from tasks.similarity.ranking import Ranking, insert, nobody
from tasks.similarity.sweep import Multiplying, rankings

_BY_DEFAULT = Multiplying()


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
    forward, backward = rankings(sources, targets, k, multiplying)
    return Neighbours(_of_rows(forward, sources, targets), _of_rows(backward, targets, sources))


def _of_rows(ranking: Ranking, queries: Different, targets: Different) -> Ranking:
    """From a ranking of different vectors to one of rows: each vector stands for all rows that have it."""
    return Ranking(*_expand(ranking, queries.group, targets.members, targets.starts, targets.row_places))


@compiled
def _expand(
    ranking: Ranking, group: np.ndarray, members: np.ndarray, starts: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
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
                insert(rows, cosines, row, (member, cosine), places)
    return rows, cosines
