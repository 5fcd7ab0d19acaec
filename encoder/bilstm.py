"""Token ids in, the maximum over time of a bidirectional LSTM out, and the decoder that teaches it (LASER).

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

from encoder.batching import exact_length_batches
from encoder.settings import Settings
from encoder.vocabulary import EOS, PAD, Ragged

INITIAL_RANGE = 0.1  # LASER draws every weight from uniform(-0.1, 0.1)
# Every product of the encoder has this many rows, filled up if need be. The kernels for 1, 8 or 40 rows add in another
# order, so a sentence would get other last bits in other company (seen with oneDNN 3.12 on AVX-512).
ROWS_AT_ONCE = 32


class BiLstmConfig(Settings):
    """LASER's encoder and decoder, with the sizes of its release."""

    kind: Literal["bilstm"] = "bilstm"
    layers: Annotated[int, Field(ge=1, le=16, description="Layers of the encoder")] = 5
    hidden: Annotated[int, Field(ge=1, le=8192, description="Cells per direction, half a vector")] = 512
    embedding: Annotated[int, Field(ge=1, le=8192, description="Numbers per subword")] = 320
    decoder_hidden: Annotated[int, Field(ge=1, le=8192, description="Cells of the decoder")] = 2048
    decoder_out_embedding: Annotated[int, Field(ge=1, le=8192, description="Numbers before the decoder's softmax")] = (
        512
    )
    language_embedding: Annotated[int, Field(ge=1, le=8192, description="Numbers that name a target language")] = 32
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
        Packed sequences would do the same at half the speed, since oneDNN's LSTM does not take them.
        """
        places = torch.arange(tokens.shape[1])[None, :]
        beyond = (places >= lengths[:, None])[:, :, None]
        turned = torch.where(beyond[:, :, 0], places, lengths[:, None] - 1 - places)[:, :, None]
        states = self.embedding(tokens)
        for rightward, leftward in zip(self.rightward, self.leftward, strict=True):
            backwards = leftward(_turn(states, turned))[0]
            states = torch.cat([rightward(states)[0], _turn(backwards, turned)], dim=2)
            states = nn.functional.dropout(states, self.config.dropout, self.training)
        pooled: torch.Tensor = states.masked_fill(beyond, -torch.inf).amax(1)
        return pooled

    @torch.inference_mode()
    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors, not of length one; sentences of one length go together, a fixed number at a time."""
        vectors = np.empty((len(tokens), self.dimension), np.float32)
        for rows in exact_length_batches(tokens.lengths, ROWS_AT_ONCE):
            ids = torch.from_numpy(tokens.take(rows).ids.reshape(len(rows), -1))
            full = nn.functional.pad(ids, (0, 1, 0, ROWS_AT_ONCE - len(rows)), value=EOS)
            lengths = torch.full((ROWS_AT_ONCE,), full.shape[1])
            vectors[rows] = self(full, lengths).numpy()[: len(rows)]
        return vectors

    def tensors(self) -> dict[str, torch.Tensor]:
        """Lay the weights out as `config.storage` says."""
        kind = getattr(torch, self.config.storage)
        return {name: weight.detach().to(kind).contiguous() for name, weight in self.state_dict().items()}

    @classmethod
    def from_tensors(cls, config: BiLstmConfig, tensors: Mapping[str, torch.Tensor]) -> BiLstmModel:
        """Read what `tensors` laid out; KeyError or RuntimeError if a tensor is missing or of another shape."""
        model = cls(config, len(tensors["embedding.weight"]))
        model.load_state_dict({name: weight.float() for name, weight in tensors.items()})
        return model.eval().requires_grad_(requires_grad=False)


class Decoder(nn.Module):
    """Writes the translation from the sentence vector alone, which it sees at every step; it is not shipped."""

    def __init__(self, config: BiLstmConfig, size: int, languages: int) -> None:
        """Make room for the weights without drawing them."""
        super().__init__()
        vector = 2 * config.hidden
        inputs = config.embedding + vector + config.language_embedding
        with torch.device("meta"):
            self.embedding = nn.Embedding(size, config.embedding, padding_idx=PAD)
            self.language = nn.Embedding(languages, config.language_embedding)
            self.initial = nn.Linear(vector, 2 * config.decoder_hidden)
            self.lstm = nn.LSTM(inputs, config.decoder_hidden, batch_first=True)
            self.reduce = nn.Linear(config.decoder_hidden, config.decoder_out_embedding)
            self.output = nn.Linear(config.decoder_out_embedding, size)
        self.to_empty(device="cpu")

    def forward(self, vectors: torch.Tensor, tokens: torch.Tensor, language: int) -> torch.Tensor:
        """Scores of the next token, shape (sentences, length, subwords), after each of the tokens given."""
        sentences, length = tokens.shape
        hidden, cell = (state.contiguous() for state in self.initial(vectors)[None].chunk(2, dim=2))
        context = torch.cat([vectors, self.language.weight[language].expand(sentences, -1)], dim=1)
        steps = torch.cat([self.embedding(tokens), context[:, None].expand(-1, length, -1)], dim=2)
        states, _ = self.lstm(steps, (hidden, cell))
        scores: torch.Tensor = self.output(self.reduce(states))
        return scores


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
