"""The files of LASER2, as Meta publishes them, in, an encoder that gives their vectors out; nothing in them can run.

LASER2 is https://github.com/facebookresearch/LASER (Heffernan et al. 2022): laser2.pt holds the weights of a BiLSTM and
the number of every subword, laser2.spm is the SentencePiece model. laser2.cvocab repeats the subwords and is not read.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import sentencepiece
import torch

from encoder.bilstm import BiLstmConfig, BiLstmModel
from encoder.inference import Encoder
from encoder.punctuation import plain
from encoder.vocabulary import BOS, EOS, PAD, UNKNOWN, Ragged, Vocabulary

WEIGHTS = "laser2.pt"
# LASER2 itself cuts no sentence. Its longest training sentences were far shorter, and the memory must have a bound.
MAX_TOKENS = 1024
VERSION = 1  # to be raised when equal files come to give other vectors

_SPECIAL = {"<s>": BOS, "<pad>": PAD, "</s>": EOS, "<unk>": UNKNOWN}  # LASER2 numbers them 0, 1, 2, 3 in this order
_ORDER = [list(_SPECIAL.values()).index(number) for number in range(len(_SPECIAL))]
_STRANGE = -1
_TENSORS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Laser2Vocabulary(Vocabulary):
    """LASER2's SentencePiece model, with the numbers that its checkpoint gives to the pieces."""

    def __init__(self, model: bytes, numbers: Mapping[str, int]) -> None:
        """Take the numbers of pieces as this library counts them; ValueError if the bytes are no such model."""
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except (RuntimeError, TypeError) as error:
            message = "the bytes of the .spm file are not a SentencePiece model"
            raise ValueError(message) from error
        self.model = model
        self._numbers = dict(numbers)
        pieces = map(self._processor.id_to_piece, range(self._processor.get_piece_size()))
        self._table = np.array([self._number(piece) for piece in pieces], np.int32)
        self._table[self._processor.unk_id()] = _STRANGE

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as the bytes of the model and the numbers."""
        return Laser2Vocabulary, (self.model, self._numbers)

    @property
    def size(self) -> int:
        """Number of subwords, with the four special ones."""
        return max([len(_SPECIAL) - 1, *self._numbers.values()]) + 1

    def encode(self, sentences: Sequence[str]) -> Ragged:
        """Cut sentences into subwords; no end mark is added."""
        texts = [plain(sentence) for sentence in sentences]
        tokens = Ragged.of(self._processor.encode(texts, return_type="numpy", num_threads=torch.get_num_threads()))
        rows = np.split(self._table[tokens.ids], tokens.offsets[1:-1]) if texts else []
        for row, numbers in enumerate(rows):
            if (numbers == _STRANGE).any():
                rows[row] = self._look_up(texts[row])
        return Ragged.of(rows)

    def _look_up(self, text: str) -> npt.NDArray[np.int32]:
        """Number the pieces by their text: LASER2 knows some that its SentencePiece model calls unknown."""
        words = " ".join(self._processor.encode(text, out_type=str)).split()
        return np.array([self._numbers.get(word, UNKNOWN) for word in words], np.int32)

    def _number(self, piece: str) -> int:
        return self._numbers.get(piece, UNKNOWN) if piece.split() == [piece] else _STRANGE


def load_laser2(path: str) -> Encoder:
    """Load LASER2 from a folder with laser2.pt and laser2.spm, or from a .pt file and the .spm file of its name.

    The path may be any URL that fsspec can read. ValueError if a file is missing or not what it should be.
    """
    checkpoint = path if path.endswith(".pt") else f"{path.rstrip('/')}/{WEIGHTS}"
    return read_laser2(_content(checkpoint), _content(f"{checkpoint.removesuffix('.pt')}.spm"))


def read_laser2(checkpoint: bytes, subwords: bytes) -> Encoder:
    """Make an encoder of the content of the .pt and the .spm file; ValueError if they are not LASER2's."""
    weights, settings, dictionary = _plain_parts(checkpoint)
    if not settings.get("bidirectional") or settings.get("padding_idx") != list(_SPECIAL).index("<pad>"):
        message = "the checkpoint's LSTM is not bidirectional with padding as subword 1, as LASER2's is"
        raise ValueError(message)
    try:
        config = BiLstmConfig(
            layers=settings["num_layers"],
            hidden=settings["hidden_size"],
            embedding=settings["embed_dim"],
            storage="float32",
        )
        model = BiLstmModel.from_tensors(config, _renamed(weights, config.layers))
    except KeyError as error:
        message = f"the checkpoint lacks {error}"
        raise ValueError(message) from error
    except RuntimeError as error:
        message = f"the checkpoint's weights do not have the shapes of its settings: {error}"
        raise ValueError(message) from error
    vocabulary = Laser2Vocabulary(subwords, dictionary | _SPECIAL)
    if vocabulary.size > model.size or min(dictionary.values(), default=0) < 0:
        message = f"the checkpoint has vectors for {model.size} subwords and numbers up to {vocabulary.size - 1}"
        raise ValueError(message)
    digest = hashlib.blake2b(f"laser2 {VERSION} {MAX_TOKENS}".encode(), digest_size=16)
    for content in (checkpoint, subwords):
        digest.update(hashlib.blake2b(content).digest())
    return Encoder(model, vocabulary, MAX_TOKENS, digest.hexdigest())


def _plain_parts(checkpoint: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any], dict[str, int]]:
    """Read weights, settings and numbers of subwords without running anything that a pickle might ask for."""
    try:
        held = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"the checkpoint does not hold weights and plain values alone, or is cut short: {error}"
        raise ValueError(message) from error
    named = held if isinstance(held, dict) else {}
    parts = [dict(named[name]) for name in ("model", "params", "dictionary") if isinstance(named.get(name), dict)]
    if len(parts) < 3:
        message = "the checkpoint lacks the model, params or dictionary of LASER2's BiLSTM (LASER3 is of another kind)"
        raise ValueError(message)
    weights, settings, dictionary = parts
    if not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        message = "the checkpoint's model holds other things than tensors"
        raise ValueError(message)
    if not all(isinstance(word, str) and isinstance(number, int) for word, number in dictionary.items()):
        message = "the checkpoint's dictionary does not give numbers to words"
        raise ValueError(message)
    return weights, settings, dictionary


def _renamed(weights: Mapping[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """Call LASER2's weights what our BiLSTM calls them, its special subwords in our order."""
    embedding = weights["embed_tokens.weight"]
    tensors = {"embedding.weight": torch.cat([embedding[_ORDER], embedding[len(_ORDER) :]])}
    for side, suffix in (("rightward", ""), ("leftward", "_reverse")):
        for layer in range(layers):
            for name in _TENSORS:
                tensors[f"{side}.{layer}.{name}_l0"] = weights[f"lstm.{name}_l{layer}{suffix}"]
    return tensors


def _content(path: str) -> bytes:
    files, place = fsspec.core.url_to_fs(path)
    try:
        content: bytes = files.cat_file(place)
    except FileNotFoundError as error:
        message = f"LASER2 is a .pt and a .spm file, and there is no {path}"
        raise ValueError(message) from error
    return content
