"""What mining found for each source sentence in, F1 and how far it can be trusted out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.evaluation.bootstrap import Difference, limits, told

Counts = npt.NDArray[np.int32]
Samples = npt.NDArray[np.float64]


class Mined(NamedTuple):
    """For each source sentence (n,): its half (0 or 1), and how many of its pairs are right, are found, and are true.

    A pair is found if it passes the threshold that was tuned on the other half.
    """

    half: Counts
    right: Counts
    found: Counts
    true: Counts


def f1_interval(
    mined: Mapping[str, Mined], seed: int = 0, samples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over languages of F1, which is the mean of both halves' F1.

    Source sentences are resampled, each with all its pairs, within each language and half, and those with a true pair
    apart from the others, as the test has a set number of both. Thresholds stay as they were tuned, and the targets as
    they were drawn: the interval does not tell of that chance.

    Raises:
        ValueError: if there is no language, or no sentence in one.
    """
    return limits(_mean([_samples(language, (one,), seed, samples)[0] for language, one in mined.items()]), level)


def f1_difference(
    a: Mapping[str, Mined], b: Mapping[str, Mined], seed: int = 0, samples: int = 1000, level: float = 0.95
) -> Difference:
    """Compare what two encoders mined of the same sentences (b - a); both are resampled by the same sentences.

    Raises:
        ValueError: if the sentences are not the same, or there are none.
    """
    if a.keys() != b.keys() or not all(_is_same_test(a[language], b[language]) for language in a):
        raise ValueError("what was mined of different sentences is not compared")
    drawn = [np.subtract(*_samples(language, (b[language], one), seed, samples)) for language, one in a.items()]
    difference = float(np.mean([f1(b[language]) - f1(one) for language, one in a.items()]))
    return told(difference, _mean(drawn), level)


def f1(mined: Mined) -> float:
    """Mean of both halves' F1, from 0 to 1."""
    halves = [mined.half == side for side in (0, 1)]
    totals = [[int(column[half].sum()) for column in mined[1:]] for half in halves]
    return float(np.mean([_f1(*(np.array(total) for total in half)) for half in totals]))


def _samples(language: str, tests: tuple[Mined, ...], seed: int, samples: int) -> Samples:
    """F1 of each of the tests (rows) in resamples of the sentences (columns), the same resamples for all.

    Sentences that are alike in all counts are drawn together, as a multinomial: their order does not matter. Each
    language has chance of its own, that depends on no other language.
    """
    counts = np.stack([tests[0].true, *(column for one in tests for column in (one.right, one.found))], axis=1)
    chance = np.random.default_rng([seed, *language.encode()])
    f1s: Samples = np.zeros((len(tests), samples))
    for side in (0, 1):
        totals = np.zeros((samples, counts.shape[1]), np.int64)
        for is_true in (False, True):
            rows = counts[(tests[0].half == side) & ((tests[0].true > 0) == is_true)]
            if len(rows):
                kinds, times = np.unique(rows, axis=0, return_counts=True)
                totals += chance.multinomial(len(rows), times / len(rows), samples) @ kinds.astype(np.int64)
        for place in range(len(tests)):
            f1s[place] += _f1(totals[:, 2 * place + 1], totals[:, 2 * place + 2], totals[:, 0]) / 2
    return f1s


def _f1(right: npt.NDArray[np.int64], found: npt.NDArray[np.int64], true: npt.NDArray[np.int64]) -> Samples:
    """Harmonic mean of precision and recall; 0 where nothing is found and nothing is true."""
    return np.asarray(2 * right / np.maximum(found + true, 1), np.float64)


def _is_same_test(a: Mined, b: Mined) -> bool:
    return np.array_equal(a.half, b.half) and np.array_equal(a.true, b.true)


def _mean(drawn: list[Samples]) -> Samples:
    if not drawn:
        raise ValueError("there is no language whose F1 could be resampled")
    return np.asarray(np.mean(drawn, axis=0), np.float64)
