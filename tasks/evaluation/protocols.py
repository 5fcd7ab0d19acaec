"""A test set's settings and files and an encoder's function in, what the test finds language by language out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from storage.errors import ConfigError
from tasks.evaluation import reading
from tasks.evaluation.bucc import bucc, hide
from tasks.evaluation.classification import fit, pair_features
from tasks.evaluation.perturbation import Kind, perturbations, xsim_plus
from tasks.evaluation.reading import Aligned, File, Labelled
from tasks.evaluation.reconstruction import margin_distribution, reconstruction
from tasks.evaluation.results import Distribution, Matrix, Row, percent
from tasks.evaluation.retrieval import both_ways, errors_between, same_text
from tasks.evaluation.sets import (
    Bucc,
    Classification,
    EvaluationSet,
    Margins,
    MultiWay,
    Reconstruction,
    Tatoeba,
    XsimPlus,
)

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

_LEAST_COMPANY = 3  # one of so many translations is hidden at most, so that each side has as many distractors
_SHOWN = (0.05, 0.5, 0.95)  # quantiles of margins that stand in a table


class Sides(NamedTuple):
    """What embeds the languages, and what embeds the pivot: the same, or its partner in the same space."""

    languages: Embed
    pivot: Embed

    def remembering(self) -> Sides:
        """Return the same for a test that asks for some texts twice: each list of texts is embedded once."""
        return Sides(_Remembering(self.languages), _Remembering(self.pivot))


class _Remembering:
    """An encoder's function that keeps what it has returned."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._known: dict[tuple[str, ...], Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        key = tuple(texts)
        if key not in self._known:
            self._known[key] = self._embed(texts)
        return self._known[key]


class Pool:
    """The vectors of some texts, each different text embedded once."""

    def __init__(self, embed: Embed, texts: Iterable[str]) -> None:
        self.texts = list(dict.fromkeys(texts))
        self._rows = {text: row for row, text in enumerate(self.texts)}
        self._vectors = embed(self.texts)

    def rows(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the place of each text among the different ones."""
        return np.array([self._rows[text] for text in texts], np.int64)

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Return vectors, one row for each text."""
        return self._vectors[self.rows(texts)]


def rows_of(tests: EvaluationSet, files: Sequence[File], sides: Sides) -> Iterator[Row]:
    """Yield what a test finds, language by language.

    Raises:
        ConfigError: if the files are not what the settings say.
    """
    if isinstance(tests, Classification):
        yield from _classification(reading.labelled(files, tests), sides, tests)
        return
    found = reading.tatoeba(files, tests) if isinstance(tests, Tatoeba) else reading.parallel(files, tests)
    if isinstance(tests, Bucc):
        yield from (_bucc(tests, one, sides) for one in found)
        return
    pivots = Pool(sides.pivot, (text for one in found for text in one.pivots))
    hard = _Hard(pivots.texts, sides.pivot) if isinstance(tests, XsimPlus) else None
    for one in found:
        x, y = sides.languages(one.texts), pivots(one.pivots)
        match tests:
            case Tatoeba() | MultiWay():
                yield _retrieval(tests, one, x, y)
            case XsimPlus() if hard is not None:
                yield _xsim_plus(one, x, y, *hard.of(pivots.rows(one.pivots)))
            case Reconstruction():
                yield _reconstruction(tests, one, x, y)
            case Margins():
                yield _margins(tests, one, x, y)


def matrix_of(tests: EvaluationSet, files: Sequence[File], sides: Sides) -> Matrix | None:
    """Return xsim of every language with every other, if the settings ask for it.

    Raises:
        ConfigError: if the languages share no sentence.
    """
    if not isinstance(tests, MultiWay) or not tests.matrix:
        return None
    texts = reading.many_ways(files, tests)
    embed = {language: sides.pivot if language == tests.pivot else sides.languages for language in texts}
    vectors = {language: embed[language](own) for language, own in texts.items()}
    languages = sorted(texts)
    values: list[list[float | None]] = [[None] * len(languages) for _ in languages]
    for source, target, error in errors_between(vectors, texts):
        values[languages.index(source)][languages.index(target)] = percent(error)
    return Matrix(measure="xsim", languages=languages, values=values)


def _retrieval(tests: Tatoeba | MultiWay, one: Aligned, x: Vectors, y: Vectors) -> Row:
    """LASER's two tests: on Tatoeba the sentence itself has to be found, both ways; for xsim its text, one way."""
    found, own = both_ways(x, y), np.arange(len(x))
    cosine, margin = found.by_cosine(), found.by_margin()
    accuracy = {
        "accuracy_cosine": _both(cosine.forward == own, cosine.backward == own),
        "accuracy_margin": _both(margin.forward == own, margin.backward == own),
    }
    errors = {"xsim": ~same_text(one.pivots, margin.forward)}
    if isinstance(tests, MultiWay):
        return Row(one.language, errors | accuracy)
    error = 100 - percent(float(accuracy["accuracy_cosine"].mean()))
    return Row(one.language, accuracy | errors, {"error": round(error, 2)})


def _both(forward: npt.NDArray[np.bool_], backward: npt.NDArray[np.bool_]) -> Vectors:
    """Half a point for each direction in which a sentence was found."""
    return (forward.astype(np.float32) + backward.astype(np.float32)) * np.float32(0.5)


class _Hard:
    """False variants of some sentences, embedded once."""

    def __init__(self, sentences: Sequence[str], embed: Embed) -> None:
        self.variants = perturbations(sentences)
        self.vectors = embed([one.text for one in self.variants])
        self.rows = np.array([one.row for one in self.variants], np.int64)

    def of(self, rows: npt.NDArray[np.int64]) -> tuple[Vectors, npt.NDArray[np.int64], list[str]]:
        """Return vectors of the variants of some sentences, each one's place among those sentences, and its kind."""
        places = np.full(int(max(rows.max(), self.rows.max(initial=0))) + 1, -1)
        places[rows[::-1]] = np.arange(len(rows))[::-1]  # of a sentence that is there twice, the first
        kept = np.flatnonzero(places[self.rows] >= 0)
        kinds = [self.variants[row].kind for row in kept.tolist()]
        return self.vectors[kept], places[self.rows[kept]], list(kinds)


def _xsim_plus(  # noqa: PLR0913, PLR0917 - both sides, and what the variants are
    one: Aligned, x: Vectors, y: Vectors, hard: Vectors, rows: npt.NDArray[np.int64], kinds: list[str]
) -> Row:
    found = xsim_plus(x, y, hard, rows, kinds, one.pivots)
    scores = {name: percent(found.by_kind.get(name, 0.0)) for name in (*get_args(Kind), "other")}
    return Row(one.language, {"xsim_plus": ~found.correct}, scores, {"variants": len(kinds)})


def _bucc(tests: Bucc, one: Aligned, sides: Sides) -> Row:
    """Embed and mine only what is hidden: of the other translations each gives one side a distractor, or none."""
    pairs = min(tests.pairs, len(one.texts) // _LEAST_COMPANY)
    try:
        hidden = hide(one.texts, one.pivots, pairs, tests.mining.seed, tests.distractors)
        x = sides.languages([one.texts[row] for row in hidden.source_rows])
        y = sides.pivot([one.pivots[row] for row in hidden.target_rows])
        found = bucc(x, y, hidden.gold, tests.mining)
    except ValueError as error:
        raise ConfigError(f"sets.bucc.pairs: {one.language}: {error}") from error
    scores = {"f1": percent(found.f1), "precision": percent(found.precision), "tuned_f1": percent(found.tuned.f1)}
    facts = {"threshold": round(found.threshold, 4), "sources": len(hidden.source_rows)}
    return Row(one.language, {"recall": found.recalled}, scores, facts, mined=found.mined)


def _reconstruction(tests: Reconstruction, one: Aligned, x: Vectors, y: Vectors) -> Row:
    found = reconstruction(x, y, one.texts, one.pivots, tests.k)
    values = {
        f"precision_{name}": _both(way.forward, way.backward)
        for name, way in (("margin", found.by_margin), ("cosine", found.by_cosine))
    }
    return Row(one.language, values)


def _margins(tests: Margins, one: Aligned, x: Vectors, y: Vectors) -> Row:
    found = margin_distribution(x, y, tests.k, one.pivots)
    facts = {
        f"{name}_{round(100 * share)}%": round(value, 4)
        for name, quantiles in (("right", found.true_quantiles), ("wrong", found.wrong_quantiles))
        for share, value in quantiles.items()
        if share in _SHOWN
    }
    distribution = Distribution(
        edges=found.edges.tolist(), right=found.true_counts.tolist(), wrong=found.wrong_counts.tolist()
    )
    return Row(one.language, {"separated": found.true_margins > found.wrong_margins}, {}, facts, distribution)


def _classification(splits: dict[str, list[Labelled]], sides: Sides, tests: Classification) -> Iterator[Row]:
    [train], dev = splits["train"], splits["dev"]
    validation = (_features(dev[0], sides.pivot), dev[0].labels) if dev else None
    try:
        classifier = fit(_features(train, sides.pivot), train.labels, tests.classifier, validation)
    except ValueError as error:
        raise ConfigError(f"sets.classification: {error}") from error
    for one in splits["test"]:
        embed = sides.pivot if one.language == tests.train_language else sides.languages
        yield Row(one.language, {"accuracy": classifier.correct(_features(one, embed), one.labels)})


def _features(texts: Labelled, embed: Embed) -> Vectors:
    first = embed(texts.texts)
    return pair_features(first, embed(texts.seconds)) if texts.seconds else first
