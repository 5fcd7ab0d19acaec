"""Two encoders' results on one set in, their differences with intervals out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from storage.fingerprint import Settings
from tasks.evaluation.bootstrap import difference
from tasks.evaluation.results import LOWER_IS_BETTER, Evaluation, Outcome, Values

ALL = "mean"  # in place of a language


class Line(Settings):
    """A score of both encoders, in percent, and B's minus A's with the limits of its 95 % interval.

    `better` names the encoder whose score is better if the interval excludes zero. There is no interval for a score
    that is no mean over sentences.
    """

    language: str
    measure: str
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    better: Literal["A", "B", ""]


class SetComparison(Settings):
    """Two encoders on one set: the means over languages, and each language."""

    kind: str
    title: str
    measures: list[str]  # the most telling first
    means: list[Line]
    languages: list[Line]


def compare(a: Outcome, b: Outcome, seed: int = 0) -> SetComparison:
    """Put two encoders' results on the same set side by side; both are resampled by the same sentences.

    The mean over languages is resampled within each language, as the languages are no sample.

    Raises:
        ValueError: if the results are not of the same sentences.
    """
    if not a.sentences.select("language", "row").equals(b.sentences.select("language", "row")):
        raise ValueError(f"{a.evaluation.title} and {b.evaluation.title} are not results for the same sentences")
    lines: list[Line] = []
    means: list[Line] = []
    for measure in a.evaluation.means:
        told_a, told_b = _scores(a.evaluation, measure), _scores(b.evaluation, measure)
        is_mean = measure in a.evaluation.measures
        values_a, values_b = (a.values(measure), b.values(measure)) if is_mean else ({}, {})
        for language in told_a:
            both = (values_a[language], values_b[language]) if is_mean else None
            lines.append(_line(language, measure, (told_a[language], told_b[language]), both, seed))
        spread = (_spread(values_a), _spread(values_b)) if is_mean else None
        scores = (a.evaluation.means[measure], b.evaluation.means[measure])
        means.append(_line(ALL, measure, scores, spread, seed))
    shown = list(dict.fromkeys([a.evaluation.headline, *a.evaluation.measures, *a.evaluation.means]))
    return SetComparison(kind=a.evaluation.kind, title=a.evaluation.title, measures=shown, means=means, languages=lines)


def _scores(evaluation: Evaluation, measure: str) -> dict[str, float]:
    return {row["language"]: row[measure] for row in evaluation.results}


def _line(
    language: str,
    measure: str,
    scores: tuple[float, float],
    values: tuple[npt.NDArray[np.float64] | Values, npt.NDArray[np.float64] | Values] | None,
    seed: int,
) -> Line:
    low = high = None
    better: Literal["A", "B", ""] = ""
    if values is not None:
        found = difference(values[1], values[0], seed)
        low, high = round(100 * found.low, 2), round(100 * found.high, 2)
        if found.low > 0 or found.high < 0:
            better = "A" if (found.low > 0) == (measure in LOWER_IS_BETTER) else "B"
    a, b = scores
    return Line(
        language=language, measure=measure, a=a, b=b, difference=round(b - a, 2), low=low, high=high, better=better
    )


def _spread(values: Mapping[str, Values]) -> npt.NDArray[np.float64]:
    """Return one value for each sentence, whose mean is the mean over languages, and whose variance that of it.

    A sentence's distance from its language's mean counts by the weight that the language gives it; what languages
    differ in is left out.
    """
    total = sum(len(own) for own in values.values())
    means = {language: float(own.mean(dtype=np.float64)) for language, own in values.items()}
    centre = sum(means.values()) / len(means)
    parts = [
        centre + (own.astype(np.float64) - means[language]) * (total / (len(values) * len(own)))
        for language, own in values.items()
    ]
    return np.concatenate(parts)
