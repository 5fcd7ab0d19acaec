from __future__ import annotations

import numpy as np
import pytest
import torch

from encoder.sparse_adam import SparseAdam
from encoder.static import StaticConfig, StaticModel
from encoder.vocabulary import Ragged


def model(storage: str) -> StaticModel:
    made = StaticModel.initial(StaticConfig(dimension=24, storage=storage), 50, 1)
    made.table[7] = 0
    return made


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_storing_twice_is_storing_once(storage: str) -> None:
    once = StaticModel.from_tensors(model(storage).config, model(storage).tensors())
    twice = StaticModel.from_tensors(once.config, once.tensors())
    assert torch.equal(once.table, twice.table)
    assert all(torch.equal(a, b) for a, b in zip(once.tensors().values(), twice.tensors().values(), strict=True))


@pytest.mark.parametrize(("storage", "error"), [("float32", 0), ("float16", 1e-3), ("int8", 1 / 127)])
def test_storage_rounds_within_its_step(storage: str, error: float) -> None:
    before = model(storage)
    after = StaticModel.from_tensors(before.config, before.tensors())
    limit = before.table.abs().amax(1, keepdim=True) * error / 2 * 1.01
    assert bool(((after.table - before.table).abs() <= limit).all())


def test_a_sentence_is_the_sum_of_its_tokens() -> None:
    before = model("float32")
    tokens = Ragged.of([np.array([3, 3, 9], np.int32), np.array([], np.int32), np.array([4], np.int32)])
    wanted = torch.stack([2 * before.table[3] + before.table[9], torch.zeros(24), before.table[4]])
    np.testing.assert_allclose(before.embed(tokens), wanted.numpy(), rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_sparse_adam_is_torchs(threads: int) -> None:
    chance = np.random.default_rng(0)
    weight = torch.nn.Parameter(torch.from_numpy(chance.normal(size=(30, 8)).astype(np.float32)))
    ours = weight.detach().clone()
    theirs = torch.optim.SparseAdam([weight], lr=0.01)
    adam = SparseAdam(ours)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for _ in range(5):
        tokens = Ragged.of([chance.integers(0, 20, 6).astype(np.int32) for _ in range(4)])
        slopes = chance.normal(size=(4, 8)).astype(np.float32)
        theirs.zero_grad()
        bags = torch.nn.functional.embedding_bag(
            torch.from_numpy(tokens.ids),
            weight,
            torch.from_numpy(tokens.offsets[:-1].astype(np.int32)),
            mode="sum",
            sparse=True,
        )
        bags.backward(torch.from_numpy(slopes))
        theirs.step()
        adam.step(tokens, slopes, 0.01)
    torch.set_num_threads(before)
    np.testing.assert_allclose(ours.numpy(), weight.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert adam.untouched[20:].all()
    assert not adam.untouched[:20].all()
