"""Sentences of two languages with some translations hidden among them in, how well mining finds those out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.evaluation.mined import Counts, Mined
from tasks.similarity.retrieval import MarginConfig, MineConfig, mine_vectors
from tasks.similarity.scoring import Scores, best_threshold, scores

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class BuccConfig(MarginConfig):
    """How candidates are found and how the halves are drawn; the defaults are LASER's for BUCC."""

    seed: Annotated[int, Field(ge=0, description="Of the split into halves")] = 0


class Hidden(NamedTuple):
    """Rows of a parallel text that make up each side, and which places of both sides (n, 2) translate each other."""

    source_rows: Rows
    target_rows: Rows
    gold: Rows


@dataclass(frozen=True, eq=False)
class Bucc:
    """Means over two halves, each scored at the threshold with the best F1 of the other, from 0 to 1.

    `halves` has both; `tuned` is what the best threshold for everything would give, which is how the scores on BUCC's
    training sets were published; `recalled` says for each gold pair whether it was found, and `mined` what was found
    for each source.
    """

    f1: float
    precision: float
    recall: float
    threshold: float
    halves: tuple[Scores, Scores]
    tuned: Scores
    recalled: npt.NDArray[np.bool_]
    mined: Mined


def bucc(x: Matrix, y: Matrix, gold: Rows, settings: BuccConfig) -> Bucc:
    """Mine between unit vectors x (m, d) and y (l, d), and score what is found against the gold rows (n, 2).

    A half is of the sources: what is found for them, and the gold pairs that they are in.

    Raises:
        ValueError: if there are fewer than two gold pairs, one is out of range, or a source is in two.
    """
    gold = np.asarray(gold, np.int64).reshape(-1, 2)
    _check(gold, len(x), len(y))
    target_of = np.full(len(x), -1, np.int64)
    target_of[gold[:, 0]] = gold[:, 1]
    mine = MineConfig(margin=settings.margin, retrieval=settings.retrieval, k=settings.k, threshold=-np.inf)
    sources, targets, _, margin = mine_vectors(x, y, mine)
    is_right = target_of[sources] == targets
    half = _halves(gold[:, 0], len(x), settings.seed)
    true = [int(np.count_nonzero(half[gold[:, 0]] == side)) for side in (0, 1)]
    halves, is_kept = [], np.zeros(len(margin), np.bool_)
    for side in (0, 1):
        tuned_on, scored = half[sources] != side, half[sources] == side
        threshold = _threshold(margin[tuned_on], is_right[tuned_on], true[1 - side])
        kept = scored & (margin >= threshold)
        is_kept |= kept
        right, found = int(is_right[kept].sum()), int(kept.sum())
        halves.append(scores(right, found, true[side])._replace(threshold=threshold))
    tuned = best_threshold(margin, is_right, len(gold))
    means = Scores(*(float(np.mean(values)) for values in zip(*halves, strict=True)))
    recalled = np.isin(gold[:, 0], sources[is_kept & is_right])
    mined = Mined(
        half.astype(np.int32),
        _per_source(sources[is_kept & is_right], len(x)),
        _per_source(sources[is_kept], len(x)),
        _per_source(gold[:, 0], len(x)),
    )
    return Bucc(
        means.f1, means.precision, means.recall, means.threshold, (halves[0], halves[1]), tuned, recalled, mined
    )


def hide(
    sources: Sequence[str], targets: Sequence[str], pairs: int, seed: int = 0, distractors: int | None = None
) -> Hidden:
    """Make a test of parallel sentences: `pairs` of them stay together, of the others each side has one part.

    Of rows that share a text, directly or through other rows, only the first is used: no text occurs twice on its side,
    and none has two translations there. Half of what is not gold gives its source to the distractors and the other half
    its target, `distractors` a side at most, so that no pair is true but the gold.

    Raises:
        ValueError: if the sides are not equally long or have too few different sentences.
    """
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources cannot be parallel to {len(targets)} targets")
    rows = unrelated(sources, targets)
    if not 0 < pairs <= len(rows):
        raise ValueError(f"cannot hide {pairs} pairs of {len(rows)} different ones")
    chance = np.random.default_rng(seed)
    rows = chance.permutation(rows)
    true, others = rows[:pairs], rows[pairs:]
    count = min(len(others) // 2, len(others) if distractors is None else distractors)
    source_rows = chance.permutation(np.concatenate([true, others[:count]]))
    target_rows = chance.permutation(np.concatenate([true, others[count : 2 * count]]))
    return Hidden(source_rows, target_rows, np.stack([_places(true, source_rows), _places(true, target_rows)], axis=1))


def once(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which texts occur only once: BUCC's scorer knows no others, as a text that occurs twice has no one id."""
    counts = Counter(texts)
    return np.fromiter((counts[text] == 1 for text in texts), np.bool_, len(texts))


def unrelated(sources: Sequence[str], targets: Sequence[str]) -> Rows:
    """The first row of each set of rows that hang together by equal texts."""
    parents = np.arange(len(sources))
    for texts in (sources, targets):
        first: dict[str, int] = {}
        for row, text in enumerate(texts):
            roots = _root(parents, row), _root(parents, first.setdefault(text, row))
            parents[max(roots)] = min(roots)
    return np.flatnonzero(parents == np.arange(len(sources)))


def _root(parents: Rows, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]  # each walk halves the next
        row = int(parents[row])
    return row


def _check(gold: Rows, sources: int, targets: int) -> None:
    if len(gold) < 2 or gold.min() < 0 or (gold.max(axis=0) >= (sources, targets)).any():
        raise ValueError(f"{len(gold)} gold pairs are too few, or not of {sources} sources and {targets} targets")
    if len(np.unique(gold[:, 0])) < len(gold):
        raise ValueError("a source is in two gold pairs")


def _halves(gold_sources: Rows, count: int, seed: int) -> npt.NDArray[np.int64]:
    """0 or 1 for each source, both equally often among those with and without a gold pair."""
    chance = np.random.default_rng(seed)
    half = np.zeros(count, np.int64)
    for rows in (np.sort(gold_sources), np.setdiff1d(np.arange(count), gold_sources)):
        half[chance.permutation(rows)[: len(rows) // 2]] = 1
    return half


def _per_source(rows: Rows, count: int) -> Counts:
    return np.bincount(rows, minlength=count).astype(np.int32)


def _threshold(margin: Matrix, is_right: npt.NDArray[np.bool_], true: int) -> float:
    """Midpoint between the last margin that is in at the best F1 and the next one; nothing passes where none is right.

    A threshold between two candidates fits new ones better than one of them, which is why BUCC's scorer does this.
    """
    if not is_right.any():
        return float("inf")
    last = best_threshold(margin, is_right, true).threshold
    below = margin[margin < np.float32(last)]
    return (last + float(below.max())) / 2 if len(below) else last


def _places(wanted: Rows, rows: Rows) -> Rows:
    order = np.argsort(rows)
    return np.asarray(order[np.searchsorted(rows, wanted, sorter=order)])
