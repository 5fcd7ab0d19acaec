from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from encoder.transformer import TransformerConfig, TransformerModel
from encoder.vocabulary import BOS, EOS, PAD, Ragged

SMALL = {"layers": 2, "width": 12, "heads": 3, "feed_forward": 20, "dropout": 0.0}


def model(pooling: str = "cls", **other: object) -> TransformerModel:
    made = TransformerModel(TransformerConfig(pooling=pooling, **(SMALL | other)), 30)
    made.draw(torch.Generator().manual_seed(1))
    return made.eval()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_changes_nothing_in_training_and_inference(pooling: str) -> None:
    rows = [[5, 6, 7], [8], [9, 9, 10, 11, 12]]
    padded = torch.full((3, 9), PAD)
    for place, row in enumerate(rows):
        padded[place, : len(row) + 1] = torch.tensor([*row, EOS])
    forward = model(pooling)(padded, torch.tensor([len(row) + 1 for row in rows])).detach().numpy()
    tokens = Ragged.of([np.array(row, np.int32) for row in rows])
    np.testing.assert_allclose(forward, model(pooling).embed(tokens), atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_order_of_words_matters(pooling: str) -> None:
    one, other = model(pooling)(torch.tensor([[5, 6, EOS], [6, 5, EOS]]), torch.tensor([3, 3]))
    assert not torch.allclose(one, other, atol=1e-4)


def test_a_layer_is_torchs_layer_normalised_first() -> None:
    made = model()
    for ours in made.layers:
        theirs = torch.nn.TransformerEncoderLayer(12, 3, 20, 0.0, norm_first=True, batch_first=True).eval()
        for name, part in {
            "self_attn.in_proj_": ours.inwards,
            "self_attn.out_proj.": ours.outwards,
            "linear1.": ours.widen,
            "linear2.": ours.narrow,
            "norm1.": ours.attention_norm,
            "norm2.": ours.feed_norm,
        }.items():
            for kind in ("weight", "bias"):
                theirs.get_parameter(name + kind).data.copy_(getattr(part, kind))
        states = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(2))
        inside = torch.tensor([[True] * 5, [True, True, True, False, False]])
        wanted = theirs(states, src_key_padding_mask=~inside)
        found = ours(states, inside[:, None, None])
        torch.testing.assert_close(found[inside], wanted[inside], atol=1e-5, rtol=1e-5)


def test_a_mark_stands_before_the_sentence_and_the_vector_is_its_state() -> None:
    made = model()
    tokens, lengths = torch.tensor([[5, 6, EOS]]), torch.tensor([3])
    before = made(tokens, lengths)
    with torch.no_grad():
        made.embedding.weight[BOS, 0] += 3
    assert not torch.allclose(before, made(tokens, lengths), atol=1e-3)
    mean = model("mean")
    before = mean(tokens, lengths)
    with torch.no_grad():
        mean.embedding.weight[BOS, 0] += 3
    torch.testing.assert_close(before, mean(tokens, lengths))


def test_the_release_of_laser3_has_this_shape() -> None:
    config = TransformerConfig()
    assert (config.layers, config.width, config.heads, config.feed_forward, config.pooling) == (
        12,
        1024,
        4,
        2048,
        "cls",
    )
    assert TransformerModel(TransformerConfig(**SMALL), 40).dimension == 12
    assert model(dimension=7).embed(Ragged.of([np.array([5], np.int32)])).shape == (1, 7)


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, other = model().tensors(), model().tensors()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not one["embedding.weight"][PAD].any()
    assert all(weight.isfinite().all() for weight in one.values())


def test_what_is_stored_is_what_is_read() -> None:
    before = model(storage="float32", dimension=5)
    after = TransformerModel.from_tensors(before.config, before.tensors())
    assert all(torch.equal(a, b) for a, b in zip(before.tensors().values(), after.tensors().values(), strict=True))
    with pytest.raises(RuntimeError, match=r"layers\.0\.widen\.weight"):
        TransformerModel.from_tensors(before.config.model_copy(update={"feed_forward": 21}), before.tensors())


def test_it_learns() -> None:
    made = model("mean", width=24, heads=2).train()
    adam = torch.optim.Adam(made.parameters(), lr=0.01)
    tokens, lengths = torch.arange(4, 28).view(8, 3), torch.full((8,), 3)
    wanted = torch.nn.functional.normalize(torch.randn(8, 24, generator=torch.Generator().manual_seed(6)))
    losses = []
    for _ in range(60):
        adam.zero_grad()
        loss = 1 - torch.nn.functional.cosine_similarity(made(tokens, lengths), wanted).mean()
        loss.backward()
        adam.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 < 0.5 < losses[0]


@pytest.mark.parametrize(("width", "heads"), [(10, 3), (9, 3)])
def test_a_width_that_cannot_be_shared_is_refused(width: int, heads: int) -> None:
    with pytest.raises(ValidationError, match=f"width of {width}"):
        TransformerConfig(width=width, heads=heads)
