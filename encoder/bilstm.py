"""Token ids in, the maximum over time of a bidirectional LSTM out (LASER).

As in Artetxe & Schwenk (2019): no attention, no language id in the encoder, vectors of 2 * hidden numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import nn

from encoder.columns import ColumnLstm
from encoder.precision import ColumnRunner, NetworkRunner, Precision, Runner, check_precision, offered
from encoder.settings import Settings
from encoder.vocabulary import PAD, Ragged
from encoder.weights import restored, stored

INITIAL_RANGE = 0.1  # LASER draws every weight from uniform(-0.1, 0.1)


class BiLstmConfig(Settings):
    """LASER's encoder, with the sizes of its release."""

    kind: Literal["bilstm"] = "bilstm"
    layers: Annotated[int, Field(ge=1, le=16, description="Layers of the encoder")] = 5
    hidden: Annotated[int, Field(ge=1, le=8192, description="Cells per direction, half a vector")] = 512
    embedding: Annotated[int, Field(ge=1, le=8192, description="Numbers per subword")] = 320
    dropout: Annotated[float, Field(ge=0, lt=1, description="Share of every encoder layer's outputs left out")] = 0.1
    storage: Annotated[Literal["float32", "float16"], Field(description="Numbers in the checkpoint")] = "float16"


class BiLstmModel(nn.Module):
    """The encoder that is shipped."""

    def __init__(self, config: BiLstmConfig, size: int) -> None:
        """Make room for the weights without drawing them, so that nobody else's random numbers are used up."""
        super().__init__()
        self.config = config
        widths = [config.embedding, *[2 * config.hidden] * (config.layers - 1)]
        with torch.device("meta"):
            self.embedding = nn.Embedding(size, config.embedding, padding_idx=PAD)
            self.rightward = nn.ModuleList(nn.LSTM(width, config.hidden, batch_first=True) for width in widths)
            self.leftward = nn.ModuleList(nn.LSTM(width, config.hidden, batch_first=True) for width in widths)
        self.to_empty(device="cpu")

    @property
    def dimension(self) -> int:
        """Numbers in a sentence vector."""
        return 2 * self.config.hidden

    @property
    def size(self) -> int:
        """Number of subwords."""
        return int(self.embedding.num_embeddings)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors of sentences padded at their end, tokens of shape (sentences, longest); padding changes nothing.

        The leftward LSTM reads every sentence turned round in its own length, so that both meet the padding last.
        Packed sequences would do the same, but neither oneDNN's LSTM nor torch's gradients take them as fast.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)[None, :]
        beyond = (places >= lengths[:, None])[:, :, None]
        turned = torch.where(beyond[:, :, 0], places, lengths[:, None] - 1 - places)[:, :, None]
        states = self.embedding(tokens)
        for rightward, leftward in zip(self.rightward, self.leftward, strict=True):
            backwards = leftward(_turn(states, turned))[0]
            states = torch.cat([rightward(states)[0], _turn(backwards, turned)], dim=2)
            states = nn.functional.dropout(states, self.config.dropout, self.training)
        pooled: torch.Tensor = states.masked_fill(beyond, -torch.inf).amax(1)
        return pooled

    def runner(self, precision: Precision, device: torch.device) -> Runner:
        """Make a copy ready for a precision and a device; ValueError if this architecture does not have it there."""
        check_precision(precision, offered(device, int8=True), f"a bilstm encoder on {device.type}")
        if device.type == "cpu" and precision in {"float32", "int8"}:
            layers = list(zip(self.rightward, self.leftward, strict=True))
            return ColumnRunner(ColumnLstm(self.embedding, layers, int8=precision == "int8"), self.dimension)
        return NetworkRunner(self, self.dimension, precision, device)

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors in float32 on the CPU, not of length one; `runner` serves whoever embeds twice."""
        return self.runner("float32", torch.device("cpu")).embed(tokens)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Lay the weights out as `config.storage` says."""
        return stored(self, self.config.storage)

    @classmethod
    def from_tensors(cls, config: BiLstmConfig, tensors: Mapping[str, torch.Tensor]) -> BiLstmModel:
        """Read what `tensors` laid out; KeyError or RuntimeError if a tensor is missing or of another shape."""
        return restored(cls(config, len(tensors["embedding.weight"])), tensors)


def _turn(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return states.gather(1, places.expand(-1, -1, states.shape[2]))


def draw_weights(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight from LASER's uniform distribution; the vectors of padding are zero."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-INITIAL_RANGE, INITIAL_RANGE, generator=generator)
        for part in module.modules():
            if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                part.weight[part.padding_idx].zero_()
