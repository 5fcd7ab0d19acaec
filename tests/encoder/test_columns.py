from __future__ import annotations

import pytest
import torch

from encoder.bilstm import BiLstmConfig, BiLstmModel, draw_weights
from encoder.columns import SPEEDS, ColumnLstm


def lstm(hidden: int, *, int8: bool = False) -> tuple[BiLstmModel, ColumnLstm]:
    model = BiLstmModel(BiLstmConfig(layers=3, hidden=hidden, embedding=7), 50)
    draw_weights(model, torch.Generator().manual_seed(1))
    model.eval().requires_grad_(requires_grad=False)
    return model, ColumnLstm(model.embedding, list(zip(model.rightward, model.leftward, strict=True)), int8=int8)


def batch(sentences: int, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, longest + 1, (sentences,), generator=chance).sort().values
    lengths[-1] = longest
    return torch.randint(4, 50, (sentences, longest), generator=chance), lengths


@pytest.mark.parametrize("hidden", [16, 33])
def test_columns_are_torchs_lstm(hidden: int) -> None:
    model, columns = lstm(hidden)
    tokens, lengths = batch(96, 9)
    torch.testing.assert_close(columns(tokens, lengths), model(tokens, lengths), atol=1e-6, rtol=1e-5)


def test_whole_numbers_are_close() -> None:
    model, columns = lstm(32, int8=True)
    tokens, lengths = batch(32, 12)
    cosines = torch.nn.functional.cosine_similarity(columns(tokens, lengths), model(tokens, lengths))
    assert 0.995 < float(cosines.min()) < 1


@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("hidden", [16, 33, 128])
def test_every_width_in_use_and_every_place_gives_the_same_bits(hidden: int, kind: str) -> None:
    _, columns = lstm(hidden, int8=kind == "int8")
    assert max(columns.speeds) == max(SPEEDS)
    tokens, lengths = batch(96, 11)
    whole = columns(tokens, lengths)
    for width in columns.speeds:
        for begin in {0, min(5, 96 - width), 96 - width}:
            rows = slice(begin, begin + width)
            places = int(lengths[rows].max())
            assert torch.equal(columns(tokens[rows, :places], lengths[rows]), whole[rows])
