"""Pairs mined from held-out text in, the threshold for a wanted precision or the best F1 out, with its uncertainty."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from storage.fingerprint import Settings
from tasks.similarity.judging import Judge
from tasks.similarity.margin import Margin
from tasks.similarity.scoring import best_threshold, scores

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

LEAST_GOLD = 10  # hidden translations; an interval from fewer says nothing
_LEAST_FOUND = 10  # pairs that must pass a threshold for its precision to count
_CUTS = 2_000  # thresholds that are compared; of more, so many are taken at equal distances in rank
_POINTS = 50  # of the curve
_LEVEL = 0.95  # of every interval
_Z = 1.959964  # of the normal distribution at that level, both sides


class TargetConfig(Settings):
    """What a threshold is chosen for."""

    precision: Annotated[
        float | None, Field(gt=0, lt=1, description="Share of right pairs to reach; null: the best F1 instead")
    ] = None
    confident: Annotated[
        bool, Field(description="Of a wanted precision, the lower end of the interval must reach it, not the estimate")
    ] = True
    samples: Annotated[int, Field(ge=100, le=100_000, description="Resamples for the intervals")] = 1000
    seed: Annotated[int, Field(ge=0, description="Of what is hidden and resampled")] = 0


class Found(NamedTuple):
    """What mining without a threshold found between two sides whose translations are known, in any order.

    Sources 0 to gold - 1 have their translation on the other side, the distractors after them have none.
    """

    sources: Counts  # row of each pair's source
    margins: npt.NDArray[np.float32]
    is_right: npt.NDArray[np.bool_]
    gold: int
    distractors: int


class Estimate(Settings):
    """A number and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Point(Settings):
    """What one threshold gives, from 0 to 1."""

    threshold: float
    precision: float
    recall: float
    f1: float


class Choice(Settings):
    """A threshold, what it gives from 0 to 1, and what others would give."""

    target: Literal["f1"] | float  # or the precision that was wanted
    confident: bool
    threshold: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    curve: list[Point]


class HeldOut(Settings):
    """What was hidden in held-out text, and how it was searched and judged."""

    pair: tuple[str, str]  # labels of source and target
    encoders: tuple[str, str]  # fingerprints
    margin: Margin
    retrieval: str
    k: int
    judge: Judge | None = None
    judge_encoder: str | None = None  # fingerprint, if it is another one than those of the sentences
    gold: int  # translations that were hidden
    distractors: int  # sentences without one, on each side


class Calibration(Choice, HeldOut):
    """A threshold together with all that it holds for."""


class _Counted(NamedTuple):
    """Right and found pairs above each threshold: of shape (thresholds,), or (samples, thresholds)."""

    right: Counts
    found: Counts

    @property
    def precision(self) -> Numbers:
        return np.asarray(self.right / np.maximum(self.found, 1))


def choose(found: Found, config: TargetConfig) -> Choice:
    """Return the smallest threshold of the wanted precision, or the one with the best F1.

    A threshold lies in the middle between two margins that were found. Its interval is that of the same choice from
    other sentences; those of precision, recall and F1 are at the chosen threshold. The sources are resampled, with all
    that was found for them: those with a translation and those without, each as many as there are.

    Raises:
        ValueError: if there is too little to judge by, or no threshold has the wanted precision; then with the best.
    """
    if found.gold < LEAST_GOLD or not found.is_right.any() or len(found.margins) < _LEAST_FOUND:
        right = int(np.count_nonzero(found.is_right))
        raise ValueError(
            f"{right} of {found.gold} hidden translations among {len(found.margins)} mined pairs are too few"
        )
    order = np.argsort(-found.margins, kind="stable")
    ranked = found._replace(sources=found.sources[order], margins=found.margins[order], is_right=found.is_right[order])
    last = _cuts(ranked)
    thresholds = thresholds_between(ranked.margins)[last]
    seen = _Counted(np.cumsum(ranked.is_right, dtype=np.int64)[last], last + 1)
    resampled = _resampled(ranked, last, config)
    place, places = _chosen(seen, resampled, thresholds, found.gold, config)
    at = _Counted(resampled.right[:, place], resampled.found[:, place])
    right, count = int(seen.right[place]), int(seen.found[place])
    exact = scores(right, count, found.gold)
    precision = _estimate(exact.precision, at.precision)
    threshold = _estimate(float(thresholds[place]), thresholds[places])
    return Choice(
        target="f1" if config.precision is None else config.precision,
        confident=config.precision is not None and config.confident,
        threshold=threshold,
        precision=precision.model_copy(update={"low": min(precision.low, float(_wilson(right, count)))}),
        recall=_estimate(exact.recall, at.right / found.gold),
        f1=_estimate(exact.f1, 2 * at.right / (at.found + found.gold)),
        curve=_curve(ranked, threshold.value),
    )


def thresholds_between(margins: npt.NDArray[np.float32]) -> Numbers:
    """Return, for margins in falling order, a threshold that lets each in and keeps the next smaller one out.

    It is the midpoint, which fits new candidates better than a margin that was seen, as BUCC's scorer does it; the
    margin itself where no float32 lies between, or nothing below.
    """
    values, place = np.unique(margins, return_inverse=True)
    below = np.concatenate([values[:1], values[:-1]]).astype(np.float64)
    middle = (values + below) / 2
    return np.asarray(np.where(middle.astype(np.float32) > below, middle, values)[place])


def _cuts(ranked: Found) -> Counts:
    """Return the places of the last pairs above some thresholds, that with the best F1 among them.

    Equal margins are cut together.
    """
    margins = ranked.margins
    last = np.flatnonzero(np.append(margins[1:] != margins[:-1], True))
    best = np.searchsorted(-margins, -best_threshold(margins, ranked.is_right, ranked.gold).threshold, "right") - 1
    if len(last) > _CUTS:
        last = np.union1d(last[np.linspace(0, len(last) - 1, _CUTS).astype(np.int64)], best)
    return last


def _resampled(ranked: Found, last: Counts, config: TargetConfig) -> _Counted:
    """Count again in samples of the sources that are drawn with replacement."""
    chance = np.random.default_rng(config.seed)
    gold, others = ranked.gold, ranked.distractors
    counted = _Counted(*(np.empty((config.samples, len(last)), np.int64) for _ in range(2)))
    for sample in range(config.samples):
        drawn = chance.integers(gold, size=gold), gold + chance.integers(max(others, 1), size=others)
        weights = np.bincount(np.concatenate(drawn), minlength=gold + others)[ranked.sources]
        counted.found[sample] = np.cumsum(weights)[last]
        counted.right[sample] = np.cumsum(weights * ranked.is_right)[last]
    return counted


def _chosen(
    seen: _Counted, resampled: _Counted, thresholds: Numbers, gold: int, config: TargetConfig
) -> tuple[int, Counts]:
    """Return the place of the chosen threshold, and of the one that each sample would choose.

    Raises:
        ValueError: if nothing that was seen has the wanted precision.
    """
    if config.precision is None:
        return int(_best(seen, gold)), _best(resampled, gold)
    bound = seen.precision
    if config.confident:
        low = np.quantile(resampled.precision, (1 - _LEVEL) / 2, axis=0)
        bound = np.minimum(low, _wilson(seen.right, seen.found))
    bound = np.where(seen.found >= _LEAST_FOUND, bound, -np.inf)
    best = int(np.argmax(bound))
    if bound[best] < config.precision:
        reached = np.floor(1000 * bound[best]) / 1000  # rounded up it might be what was wanted
        sure = f" with {_LEVEL:.0%} confidence" if config.confident else ""
        raise ValueError(
            f"no threshold reaches a precision of {config.precision:g}{sure}; the best is {reached:.3f}, at "
            f"{thresholds[best]:.4f}, where the recall is {seen.right[best] / gold:.3f}"
        )
    needed = config.precision + (seen.precision - bound)  # of a sample: it is as far above its own bound
    return int(_smallest(bound >= config.precision, best)), _smallest(resampled.precision >= needed, best)


def _best(counted: _Counted, gold: int) -> Counts:
    return np.asarray(np.argmax(2 * counted.right / (counted.found + gold), axis=-1))


def _smallest(reached: npt.NDArray[np.bool_], otherwise: int) -> Counts:
    """Return the place of the smallest threshold that is good enough."""
    place = reached.shape[-1] - 1 - np.argmax(reached[..., ::-1], axis=-1)
    return np.where(reached.any(axis=-1), place, otherwise)


def _wilson(right: Counts | int, found: Counts | int) -> Numbers:
    """Return the lower limit of a share (Wilson 1927).

    The bootstrap knows of no error that it has not seen: where ten of ten are right, its interval is a point.
    """
    found = np.maximum(found, 1)
    share, square = right / found, _Z**2 / found
    return np.asarray((share + square / 2 - np.sqrt(square * (share * (1 - share) + square / 4))) / (1 + square))


def _estimate(value: float, resampled: Numbers) -> Estimate:
    low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def _curve(ranked: Found, threshold: float) -> list[Point]:
    """Return the scores at thresholds from the least that matter to where hardly a right pair is left."""
    low, high = np.quantile(ranked.margins, 0.05), np.quantile(ranked.margins[ranked.is_right], 0.99)
    ends = min(float(low), threshold), min(max(float(high), threshold), float(ranked.margins[0]))
    at = np.unique(np.linspace(*ends, _POINTS).astype(np.float32))
    found = np.searchsorted(-ranked.margins, -at, "right")
    right = np.concatenate([[0], np.cumsum(ranked.is_right)])[found]
    points = zip(at.tolist(), right.tolist(), found.tolist(), strict=True)
    found_at = ((margin, scores(one, count, ranked.gold)) for margin, one, count in points)
    return [Point(threshold=margin, precision=one.precision, recall=one.recall, f1=one.f1) for margin, one in found_at]
