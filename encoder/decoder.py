"""Sentence vectors in, the scores of their translations' tokens out: what teaches LASER, and is not shipped."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from encoder.settings import Settings
from encoder.vocabulary import PAD


class DecoderConfig(Settings):
    """Sizes of the auxiliary decoder, as in LASER's release."""

    hidden: Annotated[int, Field(ge=1, le=8192, description="Cells of the LSTM")] = 2048
    embedding: Annotated[int, Field(ge=1, le=8192, description="Numbers per subword")] = 320
    language: Annotated[int, Field(ge=1, le=8192, description="Numbers that name a target language")] = 32
    out_embedding: Annotated[int, Field(ge=1, le=8192, description="Numbers before the softmax")] = 512


class Decoder(nn.Module):
    """Writes the translation from the sentence vector alone, which it sees at every step (Artetxe & Schwenk 2019)."""

    def __init__(self, config: DecoderConfig, dimension: int, size: int, languages: int) -> None:
        """Make room for the weights, without drawing them, for vectors of `dimension` numbers and `size` subwords."""
        super().__init__()
        inputs = config.embedding + dimension + config.language
        with torch.device("meta"):
            self.embedding = nn.Embedding(size, config.embedding, padding_idx=PAD)
            self.language = nn.Embedding(languages, config.language)
            self.initial = nn.Linear(dimension, 2 * config.hidden)
            self.lstm = nn.LSTM(inputs, config.hidden, batch_first=True)
            self.reduce = nn.Linear(config.hidden, config.out_embedding)
            self.output = nn.Linear(config.out_embedding, size)
        self.to_empty(device="cpu")

    def forward(self, vectors: torch.Tensor, tokens: torch.Tensor, languages: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, shape (sentences, length, subwords), after each of the tokens given.

        `vectors` has shape (sentences, dimension), `tokens` (sentences, length), `languages` (sentences,).
        """
        hidden, cell = (state.contiguous() for state in self.initial(vectors)[None].chunk(2, dim=2))
        context = torch.cat([vectors, self.language(languages)], dim=1)
        repeated = context[:, None].expand(-1, tokens.shape[1], -1)
        states, _ = self.lstm(torch.cat([self.embedding(tokens), repeated], dim=2), (hidden, cell))
        scores: torch.Tensor = self.output(self.reduce(states))
        return scores
