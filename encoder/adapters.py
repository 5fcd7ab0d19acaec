"""An encoder of this library in, what code for sentence-transformers or mteb takes for one of theirs out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from encoder.inference import SentenceEncoder

Vectors: TypeAlias = npt.NDArray[np.float32] | torch.Tensor | list[torch.Tensor]

# What may be asked of `encode` elsewhere: these change no vector here ...
_WITHOUT_EFFECT = {"batch_size", "show_progress_bar", "normalize_embeddings", "device", "pool", "chunk_size"}
# ... and these would, so only this is taken
_ONLY = {"precision": "float32", "output_value": "sentence_embedding", "prompt_name": None, "truncate_dim": None}


class SentenceTransformerLike:
    """An encoder with the methods of a SentenceTransformer; that package need not be there.

    Vectors have length one whatever `normalize_embeddings` says. Everything is encoded at once, since the encoder
    chooses its batches itself.
    """

    similarity_fn_name = "cosine"

    def __init__(self, encoder: SentenceEncoder) -> None:
        """Take the encoder as it is."""
        self.encoder = encoder

    def encode(
        self,
        sentences: str | Sequence[str],
        *,
        prompt: str | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        **others: Any,
    ) -> Vectors:
        """Unit vectors of sentences, or of one, as an array, a tensor or, if neither is wanted, a list of tensors.

        ValueError for what would ask for other vectors: another precision or output, part of the numbers, or the name
        of a prompt. TypeError for an argument that sentence-transformers does not have either.
        """
        _check(others)
        single = isinstance(sentences, str)
        texts = [f"{prompt or ''}{sentence}" for sentence in ([sentences] if single else sentences)]
        vectors = self.encoder.encode(texts)
        if convert_to_numpy and not convert_to_tensor:
            return vectors[0] if single else vectors
        tensor = torch.from_numpy(vectors)
        if convert_to_tensor or single:
            return tensor[0] if single else tensor
        return list(tensor)

    encode_query = encode
    encode_document = encode

    def get_embedding_dimension(self) -> int:
        """Numbers in a sentence vector."""
        return self.encoder.dimension

    def get_sentence_embedding_dimension(self) -> int:
        """Numbers in a sentence vector, under the name that was usual before sentence-transformers 6."""
        return self.encoder.dimension

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of every row of the first with every row of the second."""
        return cosines(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of the rows of the first with the same rows of the second."""
        return pairwise_cosines(embeddings1, embeddings2)


class MtebEncoder:
    """An encoder as mteb's EncoderProtocol wants it: `mteb.evaluate(MtebEncoder(encoder, "me/mine"), tasks)`.

    `name` must be ORGANISATION/MODEL. The revision under which mteb files results is the encoder's fingerprint.
    """

    def __init__(self, encoder: SentenceEncoder, name: str) -> None:
        """Take the encoder as it is."""
        self.encoder, self.name = encoder, name

    def encode(self, inputs: Iterable[Mapping[str, Sequence[str]]], **context: Any) -> npt.NDArray[np.float32]:
        """Unit vectors of the "text" of all batches; task, split, subset and prompt type have no effect.

        ValueError for another precision than float32: an encoder has its own from the time it is loaded.
        """
        _check({"precision": context.get("precision") or "float32"})
        return self.encoder.encode([text for batch in inputs for text in batch["text"]])

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of every row of the first with every row of the second."""
        return cosines(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of the rows of the first with the same rows of the second."""
        return pairwise_cosines(embeddings1, embeddings2)

    @property
    def mteb_model_meta(self) -> Any:
        """What mteb writes beside its results."""
        from mteb.models.model_meta import ModelMeta, ScoringFunction

        known = {
            "name": self.name,
            "revision": self.encoder.fingerprint,
            "embed_dim": self.encoder.dimension,
            "framework": ["PyTorch"],
            "similarity_fn_name": ScoringFunction.COSINE,
            "use_instructions": False,
        }
        return ModelMeta.create_empty(overwrites=known)


class EncoderModule(torch.nn.Module):
    """An encoder as the one module of a real SentenceTransformer: `SentenceTransformer(modules=[EncoderModule(it)])`.

    It is frozen: no gradient passes through it.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        """Take the encoder as it is."""
        super().__init__()
        self.encoder = encoder

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """Sentences as the features of a batch."""
        return {"sentences": [f"{prompt or ''}{sentence}" for sentence in inputs]}

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add the unit vectors of the sentences."""
        return features | {"sentence_embedding": torch.from_numpy(self.encoder.encode(features["sentences"]))}

    def get_embedding_dimension(self) -> int:
        """Numbers in a sentence vector."""
        return self.encoder.dimension


def cosines(x: Any, y: Any) -> torch.Tensor:
    """Cosines of every row of x with every row of y, shape (rows of x, rows of y); a vector counts as one row."""
    return _units(x) @ _units(y).T


def pairwise_cosines(x: Any, y: Any) -> torch.Tensor:
    """Cosines of the rows of x with the same rows of y; a vector counts as one row."""
    return (_units(x) * _units(y)).sum(1)


def _units(vectors: Any) -> torch.Tensor:
    if isinstance(vectors, (list, tuple)):
        vectors = torch.stack([torch.as_tensor(vector) for vector in vectors])
    rows = torch.as_tensor(vectors).float()
    return torch.nn.functional.normalize(rows[None] if rows.ndim == 1 else rows)


def _check(others: Mapping[str, Any]) -> None:
    unknown = others.keys() - _WITHOUT_EFFECT - _ONLY.keys()
    if unknown:
        message = f"encode() has no argument {', '.join(sorted(unknown))}"
        raise TypeError(message)
    for name, only in _ONLY.items():
        if others.get(name, only) != only:
            message = f"this encoder gives whole vectors of float32: {name} cannot be {others[name]!r}"
            raise ValueError(message)
