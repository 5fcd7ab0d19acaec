"""Vectors and labels of one language in, a small classifier for vectors of every language out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch.nn import functional

from storage.fingerprint import Settings

Matrix = npt.NDArray[np.float32]
HISTORY = 10  # steps that L-BFGS remembers
SMALLEST_DEVIATION = 1e-6  # of a dimension that is always the same


class ClassifierConfig(Settings):
    """A classifier on frozen vectors, as LASER trains for MLDoc and XNLI."""

    hidden: Annotated[int, Field(ge=0, le=4096, description="Units of one hidden layer; 0: none")] = 0
    iterations: Annotated[int, Field(ge=1, le=10_000, description="Steps of L-BFGS over all examples, at most")] = 200
    l2: Annotated[
        list[Annotated[float, Field(ge=0)]],
        Field(min_length=1, description="Weights of the penalty on standardised vectors; validation picks one"),
    ] = [0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    validation: Annotated[
        float, Field(gt=0, lt=1, description="Share of the training examples held out, where there is no other set")
    ] = 0.1
    seed: Annotated[int, Field(ge=0, description="Of the split, and of the first weights of a hidden layer")] = 0


@dataclass(frozen=True, eq=False)
class Classifier:
    """Layers as (weights, bias), the labels that their outputs stand for, and how it was chosen."""

    labels: tuple[str, ...]
    layers: tuple[tuple[Matrix, Matrix], ...]
    l2: float
    validation_accuracy: float

    def predict(self, vectors: Matrix) -> list[str]:
        """The most likely label of each row; the first in the order of the alphabet wins a tie."""
        outputs = np.asarray(vectors, np.float32)
        for number, (weights, bias) in enumerate(self.layers):
            outputs = (np.maximum(outputs, 0) if number else outputs) @ weights + bias
        return [self.labels[best] for best in outputs.argmax(axis=1).tolist()]

    def correct(self, vectors: Matrix, labels: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Whether each row's label is the predicted one; a label that it was not trained on never is."""
        return np.array([found == true for found, true in zip(self.predict(vectors), labels, strict=True)], np.bool_)


def fit(
    vectors: Matrix,
    labels: Sequence[str],
    config: ClassifierConfig,
    validation: tuple[Matrix, Sequence[str]] | None = None,
) -> Classifier:
    """Train on the vectors (n, d) of ONE language; the penalty is the one with the least loss on a held-out part.

    Where `validation` is given, it is that part; else one is drawn, and the last training is on all. The same for the
    same input: what is drawn comes from the seed, and torch uses one thread.

    Raises:
        ValueError: if vectors and labels are not equally many, there are fewer than two different labels, or nothing is
            held out.
    """
    if len(vectors) != len(labels) or len(set(labels)) < 2:
        raise ValueError(f"{len(vectors)} vectors with {len(labels)} labels, {len(set(labels))} of them different")
    held_vectors, held_labels = validation or (vectors[:0], [])
    names = sorted({*labels, *held_labels})
    numbers = {name: number for number, name in enumerate(names)}
    center = vectors.mean(axis=0)
    scale = np.maximum(vectors.std(axis=0), SMALLEST_DEVIATION)
    examples = _Examples.of((vectors - center) / scale, [numbers[label] for label in labels])
    held = _Examples.of((held_vectors - center) / scale, [numbers[label] for label in held_labels])
    training = examples
    if validation is None:
        is_held = _held_out(examples.y.numpy(), config)
        training, held = examples.select(~is_held), examples.select(is_held)
    if not len(held.y):
        raise ValueError("there is nothing to choose the penalty by: no label has two examples, or validation has none")
    with _one_thread():
        tried = [_train(training, len(names), l2, config) for l2 in config.l2]
        judged = [_judge(layers, held) for layers in tried]
        best = min(range(len(tried)), key=lambda index: judged[index][0])
        layers = _train(examples, len(names), config.l2[best], config) if validation is None else tried[best]
    return Classifier(tuple(names), _for_raw(layers, center, scale), config.l2[best], judged[best][1])


def pair_features(u: Matrix, v: Matrix) -> Matrix:
    """(u, v, |u - v|, u * v) of two sentences' vectors, (n, 4 d), as for XNLI in Artetxe & Schwenk (2019)."""
    if u.shape != v.shape:
        raise ValueError(f"the sentences of a pair have vectors of one shape, not {u.shape} and {v.shape}")
    return np.concatenate([u, v, np.abs(u - v), u * v], axis=1)


_Layers = list[tuple[torch.Tensor, torch.Tensor]]


class _Examples(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor

    @classmethod
    def of(cls, vectors: Matrix, labels: list[int]) -> _Examples:
        x = np.ascontiguousarray(vectors, np.float32)
        return cls(torch.from_numpy(x), torch.tensor(labels, dtype=torch.int64))

    def select(self, which: npt.NDArray[np.bool_]) -> _Examples:
        rows = torch.from_numpy(np.flatnonzero(which))
        return _Examples(self.x[rows], self.y[rows])


def _train(examples: _Examples, classes: int, l2: float, config: ClassifierConfig) -> _Layers:
    """Minimise the cross entropy and the penalty, l2 / 2 times the squares of the weights, over all examples at once.

    Without a hidden layer there is one minimum, so that nothing but the data decides.
    """
    generator = torch.Generator().manual_seed(config.seed)
    sizes = [examples.x.shape[1], *([config.hidden] if config.hidden else []), classes]
    layers = [_layer(*pair, generator, is_last=number == len(sizes) - 2) for number, pair in enumerate(pairwise(sizes))]
    solver: Any = torch.optim.LBFGS(
        [tensor for layer in layers for tensor in layer],
        max_iter=config.iterations,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        penalty = torch.stack([weights.square().sum() for weights, _ in layers]).sum()
        total = functional.cross_entropy(_outputs(layers, examples.x), examples.y) + l2 / 2 * penalty
        torch.autograd.backward(total)
        return total.detach()

    solver.step(loss)
    return [(weights.detach(), bias.detach()) for weights, bias in layers]


def _judge(layers: _Layers, held: _Examples) -> tuple[float, float]:
    """Loss and accuracy."""
    outputs = _outputs(layers, held.x)
    accuracy = (outputs.argmax(dim=1) == held.y).float().mean()
    return float(functional.cross_entropy(outputs, held.y)), float(accuracy)


def _layer(rows: int, columns: int, generator: torch.Generator, *, is_last: bool) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.zeros(rows, columns)
    if not is_last:  # equal units would stay equal
        weights.normal_(0, rows**-0.5, generator=generator)
    return weights.requires_grad_(), torch.zeros(columns, requires_grad=True)


def _outputs(layers: _Layers, x: torch.Tensor) -> torch.Tensor:
    for number, (weights, bias) in enumerate(layers):
        x = (functional.relu(x) if number else x) @ weights + bias
    return x


def _for_raw(layers: _Layers, center: Matrix, scale: Matrix) -> tuple[tuple[Matrix, Matrix], ...]:
    """The layers for vectors as they come: what standardised them is multiplied into the first."""
    (weights, bias), *rest = [(weights.numpy(), bias.numpy()) for weights, bias in layers]
    weights = weights / scale[:, None]
    return (weights, bias - center @ weights), *rest


def _held_out(y: npt.NDArray[np.int64], config: ClassifierConfig) -> npt.NDArray[np.bool_]:
    """A share of every label's examples, one at least of a label that has two."""
    chance = np.random.default_rng(config.seed)
    is_held = np.zeros(len(y), np.bool_)
    for label in np.unique(y):
        rows = chance.permutation(np.flatnonzero(y == label))
        count = max(1, round(config.validation * len(rows)))
        is_held[rows[: min(count, len(rows) - 1)]] = True
    return is_held


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread, so that no sum is split another way on another machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
