"""Lengths of sentences in, batches and their padded token ids out; what a batch's shape is says no word of company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from encoder.vocabulary import EOS, PAD, Ragged

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Numbers of sentences, shortest first, and the shape into which they go: at its end, after dummy sentences."""

    rows: Rows
    sentences: int
    places: int


def column_batches(lengths: Rows, speeds: Mapping[int, float], tokens: int) -> list[Batch]:
    """Cut sentences into batches of a few widths, for models to which neither width nor length says anything.

    `speeds` are tokens per second, in any unit, by width. The width is taken that embeds most a second, with no more
    than `tokens` in all if there is one. Longest sentences come first.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    before = np.concatenate([[0], np.cumsum(lengths[order])])
    batches, begin = [], 0
    while begin < len(order):
        places = int(lengths[order[begin]])

        def gain(width: int, begin: int = begin, places: int = places) -> float:
            held = int(before[min(begin + width, len(order))] - before[begin])
            return speeds[width] * held / (width * places)

        fitting = [width for width in speeds if width * places <= tokens] or [min(speeds)]
        width = max(fitting, key=gain)
        batches.append(Batch(order[begin : begin + width][::-1], width, places))
        begin += width
    return batches


def shaped_batches(lengths: Rows, tokens: int, step: int) -> list[Batch]:
    """Cut sentences into batches of which both sizes depend on a sentence's own length: about `tokens` in all.

    Lengths are rounded up to a multiple of `step`, or of a sixteenth to an eighth of themselves. Longest ones first.
    """
    places = rounded_up(lengths, step)
    order = np.argsort(places, kind="stable")
    batches = []
    for group in np.split(order, np.flatnonzero(np.diff(places[order])) + 1)[::-1]:
        if not len(group):
            continue
        longest = int(places[group[0]])
        sentences = max(1, tokens // longest)
        batches += [
            Batch(group[begin : begin + sentences], sentences, longest) for begin in range(0, len(group), sentences)
        ]
    return batches


def rounded_up(lengths: Rows, step: int) -> Rows:
    """Round lengths up to a multiple of `step`, or of the power of two that is a sixteenth to an eighth of them."""
    exponents = np.frexp(np.maximum(lengths, 1).astype(np.float64))[1]
    steps = np.maximum(step, 1 << np.maximum(exponents - 4, 0))
    multiples: Rows = -(-lengths // steps) * steps
    return multiples


def padded(tokens: Ragged, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids with an end mark, int64 of shape (sentences, places), and the lengths with that mark.

    Dummy sentences come first; they are an end mark alone.
    """
    taken = tokens.take(batch.rows)
    dummies = batch.sentences - len(batch.rows)
    lengths = np.concatenate([np.zeros(dummies, np.int64), taken.lengths])
    ids = np.full((batch.sentences, batch.places), PAD, np.int64)
    ids[np.arange(batch.places) < lengths[:, None]] = taken.ids
    ids[np.arange(batch.sentences), lengths] = EOS
    return torch.from_numpy(ids), torch.from_numpy(lengths + 1)
