"""Token ids in, one vector per sentence out, by self-attention: the shape of LASER3's students (Heffernan et al. 2022).

Layers are normalised before each part, positions are sinusoids (Vaswani et al. 2017), so that no length is too long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import nn

from encoder.precision import NetworkRunner, Precision, Runner, check_precision, offered
from encoder.settings import Settings
from encoder.vocabulary import BOS, PAD, Ragged
from encoder.weights import restored, stored

LONGEST_WAVE = 10_000.0  # Vaswani et al. (2017), section 3.5


class TransformerConfig(Settings):
    """LASER3's student, with the sizes of its release."""

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[int, Field(ge=1, le=64, description="Layers of the encoder")] = 12
    width: Annotated[int, Field(ge=2, le=8192, description="Numbers per position")] = 1024
    heads: Annotated[int, Field(ge=1, le=128, description="Heads of attention, which share the width")] = 4
    feed_forward: Annotated[int, Field(ge=1, le=65_536, description="Numbers inside a feed-forward part")] = 2048
    dimension: Annotated[
        int | None, Field(ge=1, le=8192, description="Numbers in a sentence vector; as many as the width unless given")
    ] = None
    pooling: Annotated[
        Literal["mean", "cls"], Field(description="The mean of all positions, or a mark put before the sentence")
    ] = "cls"
    dropout: Annotated[float, Field(ge=0, lt=1, description="Share of every part's outputs left out")] = 0.1
    storage: Annotated[Literal["float32", "float16"], Field(description="Numbers in the checkpoint")] = "float16"

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> TransformerConfig:
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"a width of {self.width} cannot be shared by {self.heads} heads or is odd")
        return self


class _Layer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.attention_norm = nn.LayerNorm(config.width)
        self.inwards = nn.Linear(config.width, 3 * config.width)
        self.outwards = nn.Linear(config.width, config.width)
        self.feed_norm = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, config.feed_forward)
        self.narrow = nn.Linear(config.feed_forward, config.width)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        sentences, places, _ = states.shape
        projected = self.inwards(self.attention_norm(states)).view(sentences, places, 3, self.config.heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        states = states + self._dropped(self.outwards(attended.transpose(1, 2).flatten(2)))
        return states + self._dropped(self.narrow(nn.functional.relu(self.widen(self.feed_norm(states)))))

    def _dropped(self, states: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(states, self.config.dropout, self.training)


class TransformerModel(nn.Module):
    """The encoder that is shipped."""

    def __init__(self, config: TransformerConfig, size: int) -> None:
        """Make room for the weights without drawing them, so that nobody else's random numbers are used up."""
        super().__init__()
        self.config = config
        with torch.device("meta"):
            self.embedding = nn.Embedding(size, config.width, padding_idx=PAD)
            self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.width)
            self.output = nn.Identity() if config.dimension is None else nn.Linear(config.width, config.dimension)
        self.to_empty(device="cpu")

    @property
    def dimension(self) -> int:
        """Numbers in a sentence vector."""
        return self.config.dimension or self.config.width

    @property
    def size(self) -> int:
        """Number of subwords."""
        return int(self.embedding.num_embeddings)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the weights: matrices by Glorot & Bengio (2010), vectors of subwords of length about one."""
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight, generator=generator)
                nn.init.zeros_(part.bias)
            elif isinstance(part, nn.LayerNorm):
                nn.init.ones_(part.weight)
                nn.init.zeros_(part.bias)
        nn.init.normal_(self.embedding.weight, 0, self.config.width**-0.5, generator=generator)
        with torch.no_grad():
            self.embedding.weight[PAD].zero_()

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors of sentences padded at their end, tokens of shape (sentences, longest); padding changes nothing."""
        if self.config.pooling == "cls":
            tokens, lengths = nn.functional.pad(tokens, (1, 0), value=BOS), lengths + 1
        inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        states = self.embedding(tokens) * math.sqrt(self.config.width)
        states = states + _waves(tokens.shape[1], self.config.width, tokens.device).to(states.dtype)
        states = nn.functional.dropout(states, self.config.dropout, self.training)
        for layer in self.layers:
            states = layer(states, inside[:, None, None])
        pooled: torch.Tensor = self.output(self._pool(self.norm(states), inside, lengths))
        return pooled

    def _pool(self, states: torch.Tensor, inside: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.config.pooling == "cls":
            return states[:, 0]
        return states.masked_fill(~inside[:, :, None], 0).sum(1) / lengths[:, None].to(states.dtype)

    def runner(self, precision: Precision, device: torch.device) -> Runner:
        """Make a copy ready for a precision and a device; ValueError if this architecture does not have it there."""
        check_precision(precision, offered(device, int8=False), f"a transformer encoder on {device.type}")
        return NetworkRunner(self, self.dimension, precision, device)

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors in float32 on the CPU, not of length one; `runner` serves whoever embeds twice."""
        return self.runner("float32", torch.device("cpu")).embed(tokens)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Lay the weights out as `config.storage` says."""
        return stored(self, self.config.storage)

    @classmethod
    def from_tensors(cls, config: TransformerConfig, tensors: Mapping[str, torch.Tensor]) -> TransformerModel:
        """Read what `tensors` laid out; KeyError or RuntimeError if a tensor is missing or of another shape."""
        return restored(cls(config, len(tensors["embedding.weight"])), tensors)


def _waves(places: int, width: int, device: torch.device) -> torch.Tensor:
    """Sines and cosines of every place, shape (places, width)."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=device) * (-2 * math.log(LONGEST_WAVE) / width)
    angles = torch.arange(places, dtype=torch.float32, device=device)[:, None] * steps.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)
