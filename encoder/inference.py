"""Sentences in, unit vectors out, each the same whatever company it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from encoder.bilstm import BiLstmModel
from encoder.static import StaticModel
from encoder.vocabulary import Vocabulary

SENTENCES_AT_ONCE = 10_000  # LASER's buffer; bounds the memory for token ids


@runtime_checkable
class SentenceEncoder(Protocol):
    """What the rest of the world asks of an encoder."""

    @property
    def dimension(self) -> int:
        """Numbers in a sentence vector."""

    @property
    def fingerprint(self) -> str:
        """Equal only for encoders that give equal vectors."""

    def encode(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit vectors of shape (sentences, dimension); zeros for a sentence without words."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """A model with its vocabulary."""

    model: StaticModel | BiLstmModel
    vocabulary: Vocabulary
    max_tokens: int
    fingerprint: str

    @property
    def dimension(self) -> int:
        """Numbers in a sentence vector."""
        return self.model.dimension

    def encode(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit vectors of shape (sentences, dimension); zeros for a sentence without words.

        A sentence is cut after `max_tokens` tokens. Its vector has the same bits in any company, order and number of
        threads.
        """
        vectors = np.zeros((len(sentences), self.dimension), np.float32)
        for begin in range(0, len(sentences), SENTENCES_AT_ONCE):
            tokens = self.vocabulary.encode(sentences[begin : begin + SENTENCES_AT_ONCE])
            rows = np.flatnonzero(tokens.lengths)
            vectors[begin + rows] = unit_rows(self.model.embed(tokens.take(rows, self.max_tokens)))
        return vectors


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide every row by its length; a row of zeros stays."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    units = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=units, where=lengths > 0)
    return units
