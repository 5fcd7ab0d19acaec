"""Sentences in, unit vectors out, each the same whatever company it keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from encoder.architectures import Model
from encoder.precision import Precision, Runner, find_device
from encoder.vocabulary import Vocabulary

SENTENCES_AT_ONCE = 65_536  # bounds the memory for token ids; the more, the less of a batch is dummies


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
    """A model with its vocabulary; `identity` is a digest of both and of `max_tokens`.

    A precision that the architecture does not have on the device is a ValueError at the first sentence.
    """

    model: Model
    vocabulary: Vocabulary
    max_tokens: int
    identity: str
    precision: Precision = "float32"
    device: str = "auto"

    @property
    def fingerprint(self) -> str:
        """Equal only for encoders that give equal vectors, as far as a device's arithmetic allows."""
        return fingerprint_at(self.identity, self.precision)

    def at(self, precision: Precision, device: str = "auto") -> Encoder:
        """Return the same encoder in another precision ("float32" is exact) and on another device.

        ValueError, naming those that there are, if the device is not there or lacks the precision.
        """
        changed = replace(self, precision=precision, device=device)
        _ = changed._runner  # noqa: SLF001 - now rather than at the first sentence
        return changed

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
            vectors[begin + rows] = unit_rows(self._runner.embed(tokens.take(rows, self.max_tokens)))
        return vectors

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without what was made ready for this machine."""
        return {name: value for name, value in vars(self).items() if name != "_runner"}

    @cached_property
    def _runner(self) -> Runner:
        return self.model.runner(self.precision, find_device(self.device))


def fingerprint_at(identity: str, precision: Precision) -> str:
    """Fingerprint of an encoder in a precision: in float32 its identity alone."""
    if precision == "float32":
        return identity
    return hashlib.blake2b(f"{identity} {precision}".encode(), digest_size=16).hexdigest()


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide every row by its length; a row of zeros stays."""
    lengths = np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
    units = np.zeros_like(vectors)
    np.divide(vectors, lengths, out=units, where=lengths > 0)
    return units
