"""Sentence vectors or decoder scores in, a loss and its gradient out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from encoder.settings import Settings


class TranslationRanking(Settings):
    """Find the translation among the batch, both ways: softmax with an additive margin (Yang et al. 2019)."""

    kind: Literal["translation_ranking"] = "translation_ranking"
    margin: Annotated[float, Field(ge=0, le=0.5, description="Taken off the cosine of the true pair")] = 0.2
    scale: Annotated[float, Field(gt=0, le=35, description="Cosines are multiplied by this before the softmax")] = 25.0
    negatives: Annotated[
        Literal["batch", "language"],
        Field(description="Pairs to rank against: all of the batch, or those of the same languages, which is faster"),
    ] = "language"


class Translation(Settings):
    """Translate with a decoder that sees nothing but the sentence vector (Artetxe & Schwenk 2019): cross entropy."""

    kind: Literal["translation"] = "translation"
    target_languages: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Languages to translate into; two let every language be a source of one"),
    ]


def ranking(
    source: torch.Tensor,
    target: torch.Tensor,
    bounds: Sequence[int],
    equal: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    config: TranslationRanking,
) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Mean loss of unit rows of shape (pairs, dimension), with its gradients for both sides.

    Pairs bounds[i]:bounds[i + 1] have the same languages. `equal` names (row, row) of pairs that share a text and
    are no negatives of each other. Cosines end at 1, so exp(scale * (cosine - 1)) needs no running maximum: one table
    of exponentials serves both directions.
    """
    if config.negatives == "batch":
        bounds = (0, len(source))
    gradients = torch.empty_like(source), torch.empty_like(target)
    loss = 0.0
    for begin, end in pairwise(bounds):
        x, y = source[begin:end], target[begin:end]
        inside = (equal[0] >= begin) & (equal[0] < end) & (equal[1] >= begin) & (equal[1] < end)
        blocked = torch.from_numpy((equal[0][inside] - begin) * (end - begin) + equal[1][inside] - begin)
        scores = torch.mm(x, y.T)
        scores.diagonal().sub_(config.margin)
        scores.sub_(1).mul_(config.scale).view(-1)[blocked] = -torch.inf
        own = scores.diagonal().clone()
        table = scores.exp_()
        rows, columns = table.sum(1), table.sum(0)
        loss += float((rows.log() + columns.log() - 2 * own).sum())
        table.mul_(rows.reciprocal()[:, None] + columns.reciprocal()[None, :])
        table.diagonal().sub_(2)
        torch.mm(table, y, out=gradients[0][begin:end])
        torch.mm(table.T, x, out=gradients[1][begin:end])
    pairs = 2 * len(source)
    for gradient in gradients:
        gradient.mul_(config.scale / pairs)
    return loss / pairs, *gradients


def equal_pairs(*text_ids: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All (row, other row) of a batch that have the same id in one of the given columns."""
    rows, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for ids in text_ids:
        _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
        repeated = np.flatnonzero(counts[inverse] > 1)
        row, other = np.nonzero(ids[repeated][:, None] == ids[repeated][None, :])
        different = row != other
        rows.append(repeated[row[different]])
        others.append(repeated[other[different]])
    return np.concatenate(rows), np.concatenate(others)


def cross_entropy(scores: torch.Tensor, wanted: torch.Tensor, padding: int) -> torch.Tensor:
    """Mean loss per token that is no padding, without label smoothing, as in the public LASER recipe."""
    return torch.nn.functional.cross_entropy(scores.flatten(0, -2), wanted.flatten(), ignore_index=padding)
