from __future__ import annotations

import numpy as np
import torch

from encoder.bilstm import BiLstmConfig, BiLstmModel, draw_weights
from encoder.vocabulary import EOS, PAD, Ragged

CONFIG = BiLstmConfig(layers=2, hidden=10, embedding=6)


def model() -> BiLstmModel:
    made = BiLstmModel(CONFIG, 30)
    draw_weights(made, torch.Generator().manual_seed(1))
    return made.eval()


def test_padding_changes_nothing_in_training_and_inference() -> None:
    rows = [[5, 6, 7], [8], [9, 9, 10, 11, 12]]
    padded = torch.full((3, 6), PAD)
    for place, row in enumerate(rows):
        padded[place, : len(row) + 1] = torch.tensor([*row, EOS])
    forward = model()(padded, torch.tensor([len(row) + 1 for row in rows])).detach().numpy()
    np.testing.assert_allclose(forward, model().embed(Ragged.of([np.array(row, np.int32) for row in rows])), atol=1e-6)


def test_the_release_of_laser_has_this_shape() -> None:
    with torch.device("meta"):
        laser = BiLstmModel(BiLstmConfig(), 100)
    assert laser.dimension == 1024
    assert [tuple(side[layer].weight_ih_l0.shape) for side, layer in ((laser.rightward, 0), (laser.leftward, 4))] == [
        (2048, 320),
        (2048, 1024),
    ]


def test_weights_are_drawn_as_lasers_are() -> None:
    weights = torch.cat(
        [weight.detach().flatten() for name, weight in model().named_parameters() if "embedding" not in name]
    )
    assert -0.1 <= float(weights.min()) < -0.095
    assert 0.095 < float(weights.max()) <= 0.1
    assert not model().embedding.weight[PAD].any()


def test_the_encoder_is_torchs_bidirectional_lstm() -> None:
    made = model()
    theirs = torch.nn.LSTM(6, 10, 2, batch_first=True, bidirectional=True)
    for layer in range(2):
        for side, suffix in ((made.rightward, ""), (made.leftward, "_reverse")):
            for name, weight in side[layer].named_parameters():
                getattr(theirs, name.replace("l0", f"l{layer}") + suffix).data.copy_(weight.data)
    tokens = torch.tensor([[5, 6, 7, EOS]])
    wanted = theirs(made.embedding(tokens))[0].amax(1)
    torch.testing.assert_close(made(tokens, torch.tensor([4])), wanted)


def test_what_is_stored_is_what_is_read() -> None:
    config = CONFIG.model_copy(update={"storage": "float32"})
    before = BiLstmModel(config, 30)
    draw_weights(before, torch.Generator().manual_seed(4))
    after = BiLstmModel.from_tensors(config, before.tensors())
    assert all(torch.equal(a, b) for a, b in zip(before.tensors().values(), after.tensors().values(), strict=True))
    assert not any(weight.requires_grad for weight in after.parameters())
