"""Sentence vectors of a batch in, a loss and its gradient out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from encoder.decoder import DecoderConfig
from encoder.settings import Settings

Places: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
Weight = Annotated[float, Field(gt=0, le=1000, description="The loss is multiplied by this before the sum")]


class TranslationRanking(Settings):
    """Find the translation among the batch, both ways: softmax with an additive margin (Yang et al. 2019)."""

    kind: Literal["translation_ranking"] = "translation_ranking"
    weight: Weight = 1.0
    margin: Annotated[float, Field(ge=0, le=0.5, description="Taken off the cosine of the true pair")] = 0.2
    scale: Annotated[float, Field(gt=0, le=35, description="Cosines are multiplied by this before the softmax")] = 25.0
    negatives: Annotated[
        Literal["batch", "language"],
        Field(description="Pairs to rank against: all of the batch, or those of the same languages, which is faster"),
    ] = "language"
    hard_negatives: Annotated[
        int, Field(ge=0, le=16, description="Of each source, so many near but wrong targets that `miner` finds")
    ] = 0
    miner: Annotated[str, Field(description="Encoder that looks for them: the one of the last index")] = "default"


class Translation(Settings):
    """Translate with a decoder that sees nothing but the sentence vector (Artetxe & Schwenk 2019): cross entropy."""

    kind: Literal["translation"] = "translation"
    weight: Weight = 1.0
    target_languages: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="Languages to translate into; two let every language be a source of one"),
    ]
    decoder: DecoderConfig = DecoderConfig()


class Distillation(Settings):
    """Come near to what a frozen teacher says of the target text (Reimers & Gurevych 2020; LASER3)."""

    kind: Literal["distillation"] = "distillation"
    weight: Weight = 1.0
    teacher: Annotated[str, Field(description='"default", a folder or a URL: the space that is kept')] = "default"
    loss: Annotated[
        Literal["cosine", "mse"],
        Field(description="1 - cosine (LASER3), or the squared distance of the student's vector (S-BERT)"),
    ] = "cosine"
    sides: Annotated[
        Literal["source", "both"], Field(description="Texts that the student reads: the source, or the target as well")
    ] = "both"


Objective: TypeAlias = Annotated[TranslationRanking | Translation | Distillation, Field(discriminator="kind")]


@dataclass(frozen=True, eq=False)
class Stack:
    """What the rows of a batch's vectors are: n sources, their n targets, and then h hard negatives per source."""

    pairs: int
    bounds: tuple[int, ...]  # pairs between two bounds have the same languages
    equal: Places  # (row, row) of pairs that share a text and are no negatives of each other
    equal_hard: Places = (np.empty(0, np.int64), np.empty(0, np.int64))  # (pair, hard negative) with one text
    teacher: torch.Tensor | None = None  # unit vectors of the targets' texts, shape (pairs, dimension)


def vector_loss(
    vectors: torch.Tensor, stack: Stack, objectives: Sequence[Objective], prefixes: Sequence[int]
) -> tuple[dict[str, float], torch.Tensor]:
    """Losses of those objectives that look at vectors alone, by kind, and the gradient of their weighted sum.

    Ranking is done for each of the `prefixes` of the vector, too, all with equal weight, so that its first numbers can
    serve alone (Matryoshka, Kusupati et al. 2022). `vectors` has shape (rows, dimension) and any length.
    """
    losses: dict[str, float] = {}
    gradient = torch.zeros_like(vectors)
    for objective in objectives:
        if isinstance(objective, TranslationRanking):
            widths = [*prefixes, vectors.shape[1]]
            loss = sum(_prefix_loss(vectors[:, :width], gradient, stack, objective, len(widths)) for width in widths)
        elif isinstance(objective, Distillation):
            loss = _distil(vectors, gradient, stack, objective)
        else:
            continue
        losses[objective.kind] = loss
    return losses, gradient


def _prefix_loss(
    vectors: torch.Tensor, gradient: torch.Tensor, stack: Stack, objective: TranslationRanking, parts: int
) -> float:
    """Add the gradient of one prefix's ranking to the whole gradient, through the scaling to length one."""
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(1e-12)
    units = vectors / norms
    loss, slopes = ranking(units, stack, objective)
    slopes.sub_(units * (slopes * units).sum(1, keepdim=True)).div_(norms)
    gradient[:, : vectors.shape[1]].add_(slopes, alpha=objective.weight / parts)
    return loss / parts


def ranking(units: torch.Tensor, stack: Stack, config: TranslationRanking) -> tuple[float, torch.Tensor]:
    """Mean loss of unit rows and its gradient, both of shape (rows, dimension).

    Cosines end at 1, so exp(scale * (cosine - 1)) needs no running maximum: one table of exponentials serves both
    directions. Hard negatives are ranked against in the direction of the source only.
    """
    pairs = stack.pairs
    bounds = (0, pairs) if config.negatives == "batch" else stack.bounds
    gradient = torch.zeros_like(units)
    source, target, hard = units[:pairs], units[pairs : 2 * pairs], units[2 * pairs :]
    loss = 0.0
    for begin, end in pairwise(bounds):
        x, y = source[begin:end], target[begin:end]
        scores = torch.mm(x, y.T)
        scores.diagonal().sub_(config.margin)
        scores.sub_(1).mul_(config.scale)
        _block(scores, stack.equal, (begin, end), (begin, end))
        own = scores.diagonal().clone()
        table = scores.exp_()
        rows, columns = table.sum(1), table.sum(0)
        near = slice(len(hard) // pairs * begin, len(hard) // pairs * end)
        against = torch.mm(x, hard[near].T).sub_(1).mul_(config.scale)
        _block(against, stack.equal_hard, (begin, end), (near.start, near.stop))
        rows += against.exp_().sum(1)
        loss += float((rows.log() + columns.log() - 2 * own).sum())
        table.mul_(rows.reciprocal()[:, None] + columns.reciprocal()[None, :])
        table.diagonal().sub_(2)
        against.mul_(rows.reciprocal()[:, None])
        torch.mm(table, y, out=gradient[begin:end])
        gradient[begin:end].addmm_(against, hard[near])
        torch.mm(table.T, x, out=gradient[pairs + begin : pairs + end])
        gradient[2 * pairs + near.start : 2 * pairs + near.stop] = torch.mm(against.T, x)
    return loss / (2 * pairs), gradient.mul_(config.scale / (2 * pairs))


def _block(scores: torch.Tensor, equal: Places, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """Take the pairs that share a text out of the softmax."""
    inside = (equal[0] >= rows[0]) & (equal[0] < rows[1]) & (equal[1] >= columns[0]) & (equal[1] < columns[1])
    places = (equal[0][inside] - rows[0]) * (columns[1] - columns[0]) + equal[1][inside] - columns[0]
    scores.view(-1)[torch.from_numpy(places).to(scores.device)] = -torch.inf


def _distil(vectors: torch.Tensor, gradient: torch.Tensor, stack: Stack, objective: Distillation) -> float:
    """Mean distance to the teacher over the sides that the student reads."""
    if stack.teacher is None:
        message = "distillation needs the teacher's vectors"
        raise ValueError(message)
    sides = 1 if objective.sides == "source" else 2
    student, teacher = vectors[: sides * stack.pairs], stack.teacher.repeat(sides, 1)
    share = objective.weight / len(student)
    if objective.loss == "mse":
        away = student - teacher
        gradient[: len(student)].add_(away, alpha=2 * share)
        return float(away.square().sum() / len(student))
    norms = torch.linalg.vector_norm(student, dim=1, keepdim=True).clamp_min_(1e-12)
    units = student / norms
    cosines = (units * teacher).sum(1, keepdim=True)
    gradient[: len(student)].add_((units * cosines - teacher).div_(norms), alpha=share)
    return float(1 - cosines.mean())


def equal_pairs(*text_ids: npt.NDArray[np.integer]) -> Places:
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


def equal_hard(targets: npt.NDArray[np.integer], hard: npt.NDArray[np.integer]) -> Places:
    """All (pair, hard negative) of a batch where the negative is the pair's own target after all."""
    order = np.argsort(targets, kind="stable")
    begins = np.searchsorted(targets[order], hard, "left")
    counts = np.searchsorted(targets[order], hard, "right") - begins
    columns = np.repeat(np.arange(len(hard)), counts)
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(begins, counts)
    return order[places], columns


def cross_entropy(scores: torch.Tensor, wanted: torch.Tensor, padding: int) -> torch.Tensor:
    """Sum of the loss over the tokens that are no padding, without label smoothing, as in the public LASER recipe."""
    return torch.nn.functional.cross_entropy(
        scores.flatten(0, -2).float(), wanted.flatten(), ignore_index=padding, reduction="sum"
    )
