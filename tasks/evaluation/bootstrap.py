"""One value per test sentence in, how far the mean of such values can be trusted out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64] | npt.NDArray[np.float32] | npt.NDArray[np.bool_]


class Difference(NamedTuple):
    """Mean of a - b, its confidence interval, and the two-sided p of there being none."""

    mean: float
    low: float
    high: float
    p: float


def interval(values: Values, seed: int = 0, samples: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of (n,) values; a share, where they are True and False.

    Raises:
        ValueError: if there are no values, or one is not finite.
    """
    return limits(_resampled(values, seed, samples), level)


def difference(a: Values, b: Values, seed: int = 0, samples: int = 1000, level: float = 0.95) -> Difference:
    """Compare the means of two sets of values of the same sentences; both are resampled by the same rows.

    Raises:
        ValueError: if there are no values, they are not equally many, or one is not finite.
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"values of the same sentences are compared, not {np.shape(a)} with {np.shape(b)}")
    both = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return told(float(both.mean()), _resampled(both, seed, samples), level)


def told(difference: float, drawn: npt.NDArray[np.float64], level: float = 0.95) -> Difference:
    """Return what differences in resamples say of a difference.

    p is twice the share of resamples in which the difference is not on the side where most are, counting the sample
    itself as one, so that it is never 0.
    """
    smaller = min(int(np.count_nonzero(drawn <= 0)), int(np.count_nonzero(drawn >= 0)))
    return Difference(difference, *limits(drawn, level), min(1.0, 2 * (smaller + 1) / (len(drawn) + 1)))


def limits(drawn: npt.NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Return the quantiles between which the middle share `level` of what was drawn lies.

    Raises:
        ValueError: if the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1 and is not {level}")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(values: Values, seed: int, samples: int) -> npt.NDArray[np.float64]:
    """Means of samples drawn with replacement, one in memory at a time; the order of the values does not matter."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or samples < 1:
        raise ValueError(f"a mean is resampled from finite values, one per sentence, not from {values.shape}")
    ordered, count, chance = np.sort(values), len(values), np.random.default_rng(seed)
    drawn = (ordered[chance.integers(count, size=count, dtype=np.int32)] for _ in range(samples))
    return np.fromiter((sample.mean() for sample in drawn), np.float64, samples)
