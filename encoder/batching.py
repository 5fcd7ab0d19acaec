"""Lengths and language sizes in, row numbers of the next batch out; all chance comes from the generator given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from encoder.bitext import Corpus
from encoder.settings import Settings

Rows = npt.NDArray[np.int64]


class LanguageBatches(Settings):
    """The same number of pairs of several languages: many negatives, for encoders to which length is nothing."""

    kind: Literal["languages"] = "languages"
    languages: Annotated[int, Field(ge=1, le=1024, description="Draws of a language per batch")] = 8
    pairs: Annotated[int, Field(ge=2, le=65_536, description="Pairs per draw")] = 512


class LengthBatches(Settings):
    """Pairs of one language and of similar length: little padding, for recurrent encoders."""

    kind: Literal["lengths"] = "lengths"
    tokens: Annotated[int, Field(ge=1, description="Pairs times the tokens of the longest sentence, at most")] = 4_000
    window: Annotated[int, Field(ge=1, description="Pairs that are sorted by length together")] = 20_000
    order: Annotated[
        Literal["sampled", "least_consumed"],
        Field(description="The next language pair: drawn at random, or of which the smallest part was used (LASER)"),
    ] = "sampled"


@dataclass(frozen=True, eq=False)
class Batch:
    """Row numbers of pairs; those between two bounds have the same languages."""

    rows: Rows
    bounds: tuple[int, ...]
    group: int


def language_weights(bounds: Rows, exponent: float) -> npt.NDArray[np.float64]:
    """Chance of every group, in proportion to its number of pairs to the power `exponent`."""
    weights = np.diff(bounds).astype(np.float64) ** exponent
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def upsampled(bounds: Rows, exponent: float) -> npt.NDArray[np.float64]:
    """Pairs of every group in one epoch: a small group is repeated as a whole, as often as LASER's `MultiItr` does.

    The group that `exponent` favours least is there once; the others as often, rounded, as they are favoured more.
    """
    favour = language_weights(bounds, exponent) / np.diff(bounds)
    sizes: npt.NDArray[np.float64] = np.diff(bounds) * np.maximum(1, np.round(favour / favour.min()))
    return sizes


def language_batches(
    corpus: Corpus, settings: LanguageBatches, exponent: float, generator: np.random.Generator
) -> Iterator[Batch]:
    """Draw batches without end; a language gives all its pairs once, in random order, before it gives one again."""
    weights = language_weights(corpus.bounds, exponent)
    queues = [np.empty(0, np.int64) for _ in weights]
    while True:
        drawn = generator.choice(len(weights), settings.languages, p=weights)
        parts = []
        for group, times in zip(*np.unique(drawn, return_counts=True), strict=True):
            begin, end = int(corpus.bounds[group]), int(corpus.bounds[group + 1])
            wanted = min(end - begin, settings.pairs * int(times))
            if len(queues[group]) < wanted:
                queues[group] = generator.permutation(np.arange(begin, end))
            parts.append(queues[group][:wanted])
            queues[group] = queues[group][wanted:]
        yield Batch(np.concatenate(parts), (0, *np.cumsum([len(part) for part in parts]).tolist()), int(drawn[0]))


def length_batches(
    corpus: Corpus, settings: LengthBatches, exponent: float, generator: np.random.Generator
) -> Iterator[Batch]:
    """Draw batches without end, each of one language pair and within the token budget."""
    weights = language_weights(corpus.bounds, exponent)
    lengths = np.maximum(corpus.texts.lengths[corpus.sources], corpus.texts.lengths[corpus.targets])
    queues: list[list[Rows]] = [[] for _ in weights]
    orders = [np.empty(0, np.int64) for _ in weights]
    sizes, used = upsampled(corpus.bounds, exponent), np.zeros(len(weights))
    while True:
        if settings.order == "least_consumed":
            group = int(np.argmin(used / sizes))
        else:
            group = int(generator.choice(len(weights), p=weights))
        if not queues[group]:
            if not len(orders[group]):
                orders[group] = generator.permutation(np.arange(corpus.bounds[group], corpus.bounds[group + 1]))
            window, orders[group] = np.split(orders[group], [settings.window])
            batches = [window[rows] for rows in budget_chunks(lengths[window], settings.tokens)]
            queues[group] = [batches[place] for place in generator.permutation(len(batches))]
        rows = queues[group].pop()
        used[group] += len(rows)
        yield Batch(rows, (0, len(rows)), group)


def budget_chunks(lengths: Rows, tokens: int) -> Iterator[Rows]:
    """Cut all rows, sorted by length, into chunks of at most `tokens` tokens with padding, or of one row."""
    ordered = np.argsort(lengths, kind="stable")
    begin = 0
    while begin < len(ordered):
        costs = lengths[ordered[begin : begin + tokens]] * np.arange(1, min(tokens, len(ordered) - begin) + 1)
        end = begin + max(1, int(np.searchsorted(costs, tokens, side="right")))
        yield ordered[begin:end]
        begin = end
