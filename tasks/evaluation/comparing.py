"""Two encoders' results on one set in, their differences with intervals out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from storage.fingerprint import Settings
from tasks.evaluation.bootstrap import Difference, difference
from tasks.evaluation.mined import f1_difference
from tasks.evaluation.results import LOWER_IS_BETTER, Evaluation, Outcome, Values

ALL = "mean"  # in place of a language


class Line(Settings):
    """A score of both encoders, in percent, and B's minus A's with the limits of its 95 % interval.

    `better` names the encoder whose score is better if the interval excludes zero. There is none for a score that
    is neither a mean over sentences nor the F1 of mining.
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
        found, of_means = _differences(a, b, measure, seed)
        lines += [_line(one, measure, (told_a[one], told_b[one]), found.get(one)) for one in told_a]
        scores = (a.evaluation.means[measure], b.evaluation.means[measure])
        means.append(_line(ALL, measure, scores, of_means))
    shown = list(dict.fromkeys([a.evaluation.headline, *a.evaluation.measures, *a.evaluation.means]))
    return SetComparison(kind=a.evaluation.kind, title=a.evaluation.title, measures=shown, means=means, languages=lines)


def _differences(a: Outcome, b: Outcome, measure: str, seed: int) -> tuple[dict[str, Difference], Difference | None]:
    """Return B's score minus A's of each language, and of their mean, if the score can be resampled."""
    mined = a.mined_by_language(), b.mined_by_language()
    if measure == "f1" and all(mined):
        each = {
            language: f1_difference({language: one}, {language: mined[1][language]}, seed)
            for language, one in mined[0].items()
        }
        return each, f1_difference(*mined, seed)
    if measure not in a.evaluation.measures:
        return {}, None
    values = a.values(measure), b.values(measure)
    found = {language: difference(values[1][language], own, seed) for language, own in values[0].items()}
    return found, difference(_spread(values[1]), _spread(values[0]), seed)


def _scores(evaluation: Evaluation, measure: str) -> dict[str, float]:
    return {row["language"]: row[measure] for row in evaluation.results}


def _line(language: str, measure: str, scores: tuple[float, float], found: Difference | None) -> Line:
    low = high = None
    better: Literal["A", "B", ""] = ""
    if found is not None:
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
