"""A learner and pairs that it does not learn from in; their loss and their similarity error out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from encoder.batching import Batch
from encoder.evaluation import xsim
from encoder.inference import unit_rows
from encoder.learners import Learner
from encoder.material import Material
from encoder.settings import Settings


class ValidationConfig(Settings):
    """Pairs that are held out of training, and what they decide."""

    pairs: Annotated[
        int, Field(ge=0, le=10_000, description="Of each language pair, at most a tenth of what it has; 0: none")
    ] = 0
    every: Annotated[int, Field(ge=1, description="Steps from one look at them to the next")] = 500
    patience: Annotated[
        int, Field(ge=0, description="Looks without a lower xsim before training stops; 0: it never stops early")
    ] = 0


@dataclass(frozen=True)
class Validation:
    """What held-out pairs say: the loss, and the mean xsim over the language pairs from 0 to 1."""

    loss: float
    xsim: float


def hold_out(material: Material, config: ValidationConfig, seed: int) -> tuple[Material, Material | None]:
    """Split off the pairs to look at; what is left to learn from holds none of these pairs of texts.

    The same texts may stand in pairs with other languages: one English verse has many translations.
    """
    corpus = material.corpus
    sizes = np.minimum(config.pairs, np.diff(corpus.bounds) // 10)
    if not sizes.sum():
        return material, None
    chance = np.random.default_rng([seed, 4])
    held = np.zeros(len(corpus), np.bool_)
    for begin, end, size in zip(corpus.bounds[:-1], corpus.bounds[1:], sizes, strict=True):
        held[begin + chance.choice(end - begin, size, replace=False)] = True
    together = corpus.sources.astype(np.int64) * len(corpus.texts) + corpus.targets
    learnt = ~np.isin(together, together[held])
    return _part(material, learnt), _part(material, held)


def validate(learner: Learner, held_out: Material) -> Validation:
    """Look at the held-out pairs of one language pair after the other."""
    corpus, losses, errors, weights = held_out.corpus, [], [], []
    for group in range(len(corpus.languages)):
        rows = np.arange(corpus.bounds[group], corpus.bounds[group + 1])
        found, vectors = learner.examine(held_out, Batch(rows, (0, len(rows)), group))
        units = unit_rows(vectors.cpu().numpy())
        x, y = units[: len(rows)], units[len(rows) :]
        if held_out.teacher is not None and held_out.teacher_rows is not None:  # a student is used beside its teacher
            y = unit_rows(held_out.teacher[held_out.teacher_rows[corpus.targets[rows]]].astype(np.float32))
        losses.append(found.total)
        weights.append(len(rows))
        errors.append(xsim(x, y, corpus.sources[rows].astype(str).tolist(), corpus.targets[rows].astype(str).tolist()))
    return Validation(float(np.average(losses, weights=weights)), float(np.mean(errors)))


def _part(material: Material, pairs: np.ndarray) -> Material:
    corpus = material.corpus
    counts = np.add.reduceat(pairs, corpus.bounds[:-1], dtype=np.int64)
    return replace(
        material,
        corpus=corpus.select(pairs),
        languages=material.languages[counts > 0],
        hard=None if material.hard is None else material.hard[pairs],
    )
