"""Sentences in, subword ids out, with a SentencePiece model that this module also trains."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import numpy as np
import numpy.typing as npt
import sentencepiece
import torch
from pydantic import Field

from encoder.settings import Settings

PAD, UNKNOWN, BOS, EOS = 0, 1, 2, 3
_TOO_MANY = re.compile(r"Vocabulary size too high .* value <= (\d+)")  # SentencePiece says what is possible
MAX_SENTENCE_BYTES = 4192  # SentencePiece's own default; longer ones are left out of the training of a vocabulary


class VocabularyConfig(Settings):
    """How subwords are learnt."""

    size: Annotated[
        int,
        Field(ge=8, le=1_000_000, description="Subwords, with the four special ones; fewer if the text has no more"),
    ] = 32_000
    finer: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Size of a second vocabulary, of shorter subwords; static encoders read a sentence in both",
        ),
    ] = 0
    character_coverage: Annotated[float, Field(gt=0, le=1, description="Share of characters with a subword")] = 0.9995
    lower_case: Annotated[bool, Field(description="Fold case before looking for subwords")] = True
    sample_sentences: Annotated[int, Field(ge=1, description="Sentences to learn from, at most")] = 1_000_000
    exponent: Annotated[
        float, Field(ge=0, le=1, description="A language of n sentences gives to the sample as n to this power")
    ] = 0.6


@dataclass(frozen=True, eq=False)
class Ragged:
    """Token ids of many sentences, end to end: sentence i is ids[offsets[i]:offsets[i + 1]]."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[npt.NDArray[np.int32]]) -> Ragged:
        """Lay rows end to end."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, rows), np.int64, len(rows)), out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.empty(0, np.int32), offsets)

    def __len__(self) -> int:
        """Count the sentences."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of tokens of every sentence."""
        return np.diff(self.offsets)

    def take(self, rows: npt.NDArray[np.integer], max_tokens: int | None = None) -> Ragged:
        """Copy the named sentences, each cut after `max_tokens` tokens."""
        begins = self.offsets[rows]
        lengths = self.offsets[rows + 1] - begins
        if max_tokens is not None:
            lengths = np.minimum(lengths, max_tokens)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        positions = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
        return Ragged(self.ids[positions], offsets)

    def beside(self, other: Ragged, shift: int) -> Ragged:
        """Put the other's ids, raised by `shift`, behind these ids in every sentence."""
        ids = np.empty(len(self.ids) + len(other.ids), np.int32)
        ids[np.arange(len(self.ids)) + np.repeat(other.offsets[:-1], self.lengths)] = self.ids
        ids[np.arange(len(other.ids)) + np.repeat(self.offsets[1:], other.lengths)] = other.ids + shift
        return Ragged(ids, self.offsets + other.offsets)

    def keep(self, mask: npt.NDArray[np.bool_]) -> Ragged:
        """Copy all sentences without the tokens where the mask is false."""
        kept = np.zeros(len(mask) + 1, np.int64)
        np.cumsum(mask, out=kept[1:])
        return Ragged(self.ids[mask], kept[self.offsets])


class Vocabulary:
    """One trained SentencePiece model, or two, of which the second cuts finer; their bytes are its identity.

    With two, a sentence's ids are those of the first and then those of the second, which are numbered after them.
    """

    def __init__(self, model: bytes, finer: bytes | None = None) -> None:
        """Load from bytes; ValueError if they are not models with the four special ids of this library."""
        self.model, self.finer = model, finer
        self._processors = [_load(one) for one in (model, finer) if one is not None]

    def __reduce__(self) -> tuple[type[Vocabulary], tuple[bytes, bytes | None]]:
        """Travel to other processes as the bytes of the models."""
        return Vocabulary, (self.model, self.finer)

    @property
    def size(self) -> int:
        """Number of subwords."""
        return sum(int(one.get_piece_size()) for one in self._processors)

    def encode(self, sentences: Sequence[str]) -> Ragged:
        """Cut sentences into subwords, on as many threads as torch may use; no begin or end mark is added."""
        threads = torch.get_num_threads()
        first, *others = (
            Ragged.of(one.encode(list(sentences), return_type="numpy", num_threads=threads)) for one in self._processors
        )
        return first.beside(others[0], int(self._processors[0].get_piece_size())) if others else first


def _load(model: bytes) -> sentencepiece.SentencePieceProcessor:
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, TypeError) as error:
        message = "the bytes of the vocabulary are not a SentencePiece model"
        raise ValueError(message) from error
    found = tuple(getattr(processor, f"{name}_id")() for name in ("pad", "unk", "bos", "eos"))
    if found != (PAD, UNKNOWN, BOS, EOS):
        wanted = (PAD, UNKNOWN, BOS, EOS)
        message = f"the SentencePiece model numbers pad, unknown, bos, eos as {found}, not as {wanted}"
        raise ValueError(message)
    return processor


def train_vocabulary(sentences: Iterable[str], config: VocabularyConfig) -> Vocabulary:
    """Learn byte-pair subwords from the first `sample_sentences` sentences; equal input gives equal bytes.

    Where the sentences do not hold so many different subwords, the vocabulary is as large as it can be. ValueError if
    it can be none.
    """
    sample = list(islice(sentences, config.sample_sentences))
    return Vocabulary(*(_train(sample, config, size) for size in (config.size, config.finer) if size))


def _train(sentences: list[str], config: VocabularyConfig, size: int) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=size,
            character_coverage=config.character_coverage,
            normalization_rule_name="nmt_nfkc_cf" if config.lower_case else "nmt_nfkc",
            pad_id=PAD,
            unk_id=UNKNOWN,
            bos_id=BOS,
            eos_id=EOS,
            byte_fallback=False,
            max_sentence_length=MAX_SENTENCE_BYTES,
            input_sentence_size=0,  # all of them, in the order given
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        most = _TOO_MANY.search(str(error))
        if most and int(most[1]) < size:
            return _train(sentences, config, int(most[1]))
        message = f"no vocabulary of {size} subwords can be learnt from these sentences: {error}"
        raise ValueError(message) from error
    return model.getvalue()


def balanced_quota(counts: Mapping[str, int], total: int, exponent: float) -> dict[str, int]:
    """How many sentences to take of each language, in proportion to count ** exponent and never more than it has.

    What a small language cannot give, the others give in its place.
    """
    quota = dict.fromkeys(sorted(counts), 0)
    open_languages = [language for language in quota if counts[language] > 0]
    left = min(total, sum(counts.values()))
    while open_languages:
        weights = {language: counts[language] ** exponent for language in open_languages}
        share = left / sum(weights.values())
        full = [language for language in open_languages if counts[language] <= share * weights[language]]
        if not full:
            return quota | {language: int(share * weight) for language, weight in weights.items()}
        for language in full:
            quota[language] = counts[language]
            left -= counts[language]
        open_languages = [language for language in open_languages if language not in full]
    return quota
