"""Portions of bitext in; what steps of training read, portion by portion, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from encoder.bitext import Bitext, Corpus, tokenise
from encoder.evaluation import nearest
from encoder.inference import SentenceEncoder
from encoder.objectives import Distillation, Objective, Translation, TranslationRanking
from encoder.registry import load_encoder
from encoder.vocabulary import Vocabulary

Portion: TypeAlias = Callable[[], Sequence[Bitext]]
Kind = TypeVar("Kind", TranslationRanking, Translation, Distillation)

POOL = 16_384  # targets among which a source's hard negatives are looked for; 16,384 cosines a row are little work
IDENTICAL = 0.999  # a target that is nearer than this to the source's own says the same


@dataclass(frozen=True, eq=False)
class Material:
    """A tokenised portion, and what frozen encoders say of it."""

    corpus: Corpus
    languages: npt.NDArray[np.int64]  # number of each group's target language among those of the translation
    teacher: npt.NDArray[np.float16] | None  # vectors of targets
    teacher_rows: npt.NDArray[np.int32] | None  # of each text: its row in `teacher`
    hard: npt.NDArray[np.int32] | None  # texts, shape (pairs, hard negatives)


class Loader:
    """Makes material of a portion."""

    def __init__(self, objectives: Sequence[Objective], vocabulary: Vocabulary, max_tokens: int) -> None:
        """Load the frozen encoders that the objectives name; ValueError if one is missing or broken."""
        self._vocabulary, self._max_tokens = vocabulary, max_tokens
        self._translation = _of(Translation, objectives)
        self._ranking, self._distillation = _of(TranslationRanking, objectives), _of(Distillation, objectives)
        self._teacher = load_encoder(self._distillation.teacher) if self._distillation else None
        mines = self._ranking is not None and self._ranking.hard_negatives > 0
        self._miner = load_encoder(self._ranking.miner) if self._ranking is not None and mines else None

    @property
    def teacher_dimension(self) -> int | None:
        """Numbers in the teacher's vectors, if there is a teacher."""
        return None if self._teacher is None else self._teacher.dimension

    def load(self, bitext: Sequence[Bitext]) -> Material:
        """Tokenise; ValueError if no pair is of use."""
        wanted = self._translation.target_languages if self._translation else ()
        if wanted:
            bitext = _into(bitext, wanted)
        corpus = tokenise(bitext, self._vocabulary, self._max_tokens)
        languages = [wanted.index(target) if wanted else 0 for _, target in corpus.languages]
        teacher = teacher_rows = hard = None
        if self._teacher is not None:
            teacher, teacher_rows = _read_targets(corpus, self._teacher)
        if self._miner is not None and self._ranking is not None:
            hard = hard_negatives(corpus, self._miner, self._ranking.hard_negatives)
        return Material(corpus.without_strings(), np.array(languages), teacher, teacher_rows, hard)


def visits(loader: Loader, portions: Sequence[Portion], first: int) -> Iterator[Material]:
    """Give the portions in turn without end, beginning with visit number `first`; the next loads meanwhile."""
    if len(portions) == 1:
        material = loader.load(portions[0]())
        while True:
            yield material
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(_load, loader, portions, first)
        while True:
            material = coming.result()
            first += 1
            coming = ahead.submit(_load, loader, portions, first)
            yield material


def _load(loader: Loader, portions: Sequence[Portion], visit: int) -> Material:
    return loader.load(portions[visit % len(portions)]())


def hard_negatives(corpus: Corpus, encoder: SentenceEncoder, count: int) -> npt.NDArray[np.int32]:
    """Texts of the targets that are nearest to each source but not its own, shape (pairs, count).

    They are looked for among at most `POOL` targets of the same languages. Where there are too few, or what is found
    is the own target in other words, the own target stands, which the loss then leaves out.
    """
    hard = np.repeat(corpus.targets[:, None], count, axis=1)
    for group in range(len(corpus.languages)):
        for begin in range(int(corpus.bounds[group]), int(corpus.bounds[group + 1]), POOL):
            rows = slice(begin, min(begin + POOL, int(corpus.bounds[group + 1])))
            pool, own = np.unique(corpus.targets[rows], return_inverse=True)
            if len(pool) < 2:
                continue
            y = encoder.encode(corpus.strings(pool))
            x = encoder.encode(corpus.strings(corpus.sources[rows]))
            found, _ = nearest(x, y, min(count + 1, len(pool)))
            same = np.einsum("rd,rkd->rk", y[own], y[found]) > IDENTICAL
            places = np.argsort(same | (found == own[:, None]), axis=1, kind="stable")[:, :count]
            chosen = np.take_along_axis(found, places, axis=1)
            usable = ~np.take_along_axis(same, places, axis=1)
            part = hard[rows, : chosen.shape[1]]
            part[usable] = pool[chosen][usable]
    return hard


def _read_targets(corpus: Corpus, encoder: SentenceEncoder) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int32]]:
    """Vectors of the distinct targets, and of every text its row among them."""
    distinct = np.unique(corpus.targets)
    vectors = np.empty((len(distinct), encoder.dimension), np.float16)
    for begin in range(0, len(distinct), POOL):
        vectors[begin : begin + POOL] = encoder.encode(corpus.strings(distinct[begin : begin + POOL]))
    rows = np.full(len(corpus.texts), -1, np.int32)
    rows[distinct] = np.arange(len(distinct), dtype=np.int32)
    return vectors, rows


def _into(bitext: Sequence[Bitext], languages: Sequence[str]) -> list[Bitext]:
    """Every direction that ends in one of the languages."""
    directions = [way for part in bitext for way in (part, part.reversed()) if way.target_language in languages]
    if not directions:
        message = f"no bitext has one of the target languages {', '.join(languages)}"
        raise ValueError(message)
    return directions


def _of(kind: type[Kind], objectives: Sequence[Objective]) -> Kind | None:
    return next((one for one in objectives if isinstance(one, kind)), None)
