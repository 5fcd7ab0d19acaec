from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from encoder.objectives import Distillation, Stack, TranslationRanking, equal_hard, equal_pairs, ranking, vector_loss

PAIRS, DIMENSION = 12, 6
IDS = np.array([1, 2, 1, 3, 4, 5, 6, 7, 8, 8, 8, 1])
NONE = np.empty(0, np.int64)


def units(seed: int) -> torch.Tensor:
    rows = torch.randn(PAIRS, DIMENSION, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows).requires_grad_()


def expected(x: torch.Tensor, y: torch.Tensor, bounds: Sequence[int], blocked: torch.Tensor) -> torch.Tensor:
    losses = []
    for begin, end in pairwise(bounds):
        scores = 25 * (x[begin:end] @ y[begin:end].T - 0.2 * torch.eye(end - begin, dtype=x.dtype))
        scores = scores.masked_fill(blocked[begin:end, begin:end], -torch.inf)
        own = torch.arange(end - begin)
        losses += [torch.nn.functional.cross_entropy(table, own, reduction="sum") for table in (scores, scores.T)]
    return torch.stack(losses).sum() / (2 * PAIRS)


def stack(bounds: tuple[int, ...], ids: np.ndarray, hard: np.ndarray = NONE) -> Stack:
    return Stack(PAIRS, bounds, equal_pairs(ids), equal_hard(ids, hard))


@pytest.mark.parametrize(("negatives", "bounds"), [("batch", (0, 12)), ("language", (0, 5, 12))])
def test_loss_and_gradients_are_those_of_two_softmaxes(negatives: str, bounds: tuple[int, ...]) -> None:
    x, y = units(1), units(2)
    blocked = torch.from_numpy((IDS[:, None] == IDS[None, :]) & ~np.eye(PAIRS, dtype=bool))
    wanted = expected(x, y, bounds, blocked)
    wanted.backward()
    rows = torch.cat([x, y]).detach().float()
    found, slopes = ranking(rows, stack((0, 5, 12), IDS), TranslationRanking(negatives=negatives))
    assert found == pytest.approx(float(wanted.detach()), rel=1e-5)
    torch.testing.assert_close(slopes.double(), torch.cat([x.grad, y.grad]), rtol=1e-4, atol=1e-5)


def test_hard_negatives_are_ranked_against_by_the_source_unless_they_are_its_target() -> None:
    x, y = units(1), units(2)
    hard = units(3).detach()[:PAIRS].requires_grad_()
    hard_ids = np.array([1, *range(20, 31)])
    scores = 25 * (x @ y.T - 0.2 * torch.eye(PAIRS, dtype=x.dtype))
    against = 25 * (x @ hard.T)
    against = against.masked_fill(torch.from_numpy(IDS[:, None] == hard_ids[None, :]), -torch.inf)
    blocked = torch.from_numpy((IDS[:, None] == IDS[None, :]) & ~np.eye(PAIRS, dtype=bool))
    scores = scores.masked_fill(blocked, -torch.inf)
    own = torch.arange(PAIRS)
    both = torch.nn.functional.cross_entropy(torch.cat([scores, against], 1), own, reduction="sum")
    both = both + torch.nn.functional.cross_entropy(scores.T, own, reduction="sum")
    (both / (2 * PAIRS)).backward()
    rows = torch.cat([x, y, hard]).detach().float()
    found, slopes = ranking(rows, stack((0, PAIRS), IDS, hard_ids), TranslationRanking(negatives="batch"))
    assert found == pytest.approx(float(both.detach()) / (2 * PAIRS), rel=1e-5)
    torch.testing.assert_close(slopes.double(), torch.cat([x.grad, y.grad, hard.grad]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["cosine", "mse"])
@pytest.mark.parametrize("sides", ["source", "both"])
def test_weighted_losses_of_vectors_of_any_length_have_the_gradient_that_torch_finds(loss: str, sides: str) -> None:
    vectors = (3 * torch.cat([units(1), units(2)]).detach()).requires_grad_()
    teacher = units(5).detach()
    objectives = (TranslationRanking(weight=2.0), Distillation(weight=0.5, loss=loss, sides=sides))
    normal = torch.nn.functional.normalize
    blocked = torch.zeros(PAIRS, PAIRS, dtype=torch.bool)
    by_width = []
    for width in (2, DIMENSION):
        rows = normal(vectors[:, :width])
        by_width.append(expected(rows[:PAIRS], rows[PAIRS:], (0, PAIRS), blocked))
    count = 1 if sides == "source" else 2
    student, wanted = vectors[: count * PAIRS], teacher.repeat(count, 1)
    distance = (student - wanted).square().sum(1) if loss == "mse" else 1 - (normal(student) * wanted).sum(1)
    whole = 2.0 * sum(by_width) / 2 + 0.5 * distance.mean()
    whole.backward()
    seen = Stack(PAIRS, (0, PAIRS), (NONE, NONE), teacher=teacher.float())
    found, gradient = vector_loss(vectors.detach().float(), seen, objectives, (2,))
    assert found["distillation"] == pytest.approx(float(distance.mean().detach()), rel=1e-5)
    torch.testing.assert_close(gradient.double(), vectors.grad, rtol=1e-4, atol=1e-5)


def test_the_widest_settings_neither_overflow_nor_vanish() -> None:
    x = torch.nn.functional.normalize(torch.ones(2, 3))
    config = TranslationRanking(margin=0.5, scale=35)
    loss, slopes = ranking(torch.cat([x, -x]), Stack(2, (0, 2), (NONE, NONE)), config)
    assert np.isfinite(loss)
    assert bool(slopes.isfinite().all())


def test_equal_pairs_looks_at_every_column() -> None:
    rows, others = equal_pairs(np.array([1, 2, 1, 3]), np.array([5, 6, 7, 6]))
    assert sorted(zip(rows.tolist(), others.tolist(), strict=True)) == [(0, 2), (1, 3), (2, 0), (3, 1)]
