from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from encoder.objectives import TranslationRanking, equal_pairs, ranking

PAIRS, DIMENSION = 12, 6


def units(seed: int) -> torch.Tensor:
    rows = torch.randn(PAIRS, DIMENSION, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(rows).requires_grad_()


def expected(x: torch.Tensor, y: torch.Tensor, bounds: list[int], blocked: torch.Tensor) -> torch.Tensor:
    losses = []
    for begin, end in pairwise(bounds):
        scores = 25 * (x[begin:end] @ y[begin:end].T - 0.2 * torch.eye(end - begin, dtype=x.dtype))
        scores = scores.masked_fill(blocked[begin:end, begin:end], -torch.inf)
        own = torch.arange(end - begin)
        losses += [torch.nn.functional.cross_entropy(table, own, reduction="sum") for table in (scores, scores.T)]
    return torch.stack(losses).sum() / (2 * PAIRS)


@pytest.mark.parametrize(("negatives", "bounds"), [("batch", [0, 12]), ("language", [0, 5, 12])])
def test_loss_and_gradients_are_those_of_two_softmaxes(negatives: str, bounds: list[int]) -> None:
    x, y = units(1), units(2)
    ids = np.array([1, 2, 1, 3, 4, 5, 6, 7, 8, 8, 8, 1])
    blocked = torch.from_numpy((ids[:, None] == ids[None, :]) & ~np.eye(PAIRS, dtype=bool))
    wanted = expected(x, y, bounds, blocked)
    wanted.backward()
    found, of_x, of_y = ranking(
        x.detach().float(), y.detach().float(), [0, 5, 12], equal_pairs(ids), TranslationRanking(negatives=negatives)
    )
    assert found == pytest.approx(float(wanted.detach()), rel=1e-5)
    for slope, side in ((of_x, x), (of_y, y)):
        torch.testing.assert_close(slope.double(), side.grad, rtol=1e-4, atol=1e-5)


def test_the_widest_settings_neither_overflow_nor_vanish() -> None:
    x = torch.nn.functional.normalize(torch.ones(2, 3))
    config = TranslationRanking(margin=0.5, scale=35)
    loss, *slopes = ranking(x, -x, [0, 2], (np.empty(0, np.int64), np.empty(0, np.int64)), config)
    assert np.isfinite(loss)
    assert all(bool(slope.isfinite().all()) for slope in slopes)


def test_equal_pairs_looks_at_every_column() -> None:
    rows, others = equal_pairs(np.array([1, 2, 1, 3]), np.array([5, 6, 7, 6]))
    assert sorted(zip(rows.tolist(), others.tolist(), strict=True)) == [(0, 2), (1, 3), (2, 0), (3, 1)]
