"""Parallel sentences in, one table of token ids and the pairs as numbers into it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from encoder.vocabulary import Ragged, Vocabulary

SENTENCES_AT_ONCE = 100_000

Texts: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray


@dataclass(frozen=True, eq=False)
class Bitext:
    """Sentences of one language and their translations, row by row."""

    source_language: str
    target_language: str
    sources: Texts
    targets: Texts

    def reversed(self) -> Bitext:
        """Call the source the target."""
        return Bitext(self.target_language, self.source_language, self.targets, self.sources)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Pairs of numbers of texts, those of one language pair side by side: group i is bounds[i]:bounds[i + 1]."""

    texts: Ragged
    sources: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int64]
    languages: tuple[tuple[str, str], ...]
    written: pa.Array | None = None  # the texts themselves

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.sources)

    def strings(self, texts: npt.NDArray[np.integer]) -> list[str]:
        """Texts by their numbers; ValueError if they were let go."""
        if self.written is None:
            message = "the texts of this corpus were not kept"
            raise ValueError(message)
        found: list[str] = self.written.take(pa.array(texts)).to_pylist()
        return found

    def without_strings(self) -> Corpus:
        """Let the texts go, which are most of the memory."""
        return replace(self, written=None)

    def select(self, pairs: npt.NDArray[np.bool_]) -> Corpus:
        """Keep some of the pairs; groups that have none are left out."""
        counts = np.add.reduceat(pairs, self.bounds[:-1], dtype=np.int64)
        present = np.flatnonzero(counts)
        return replace(
            self,
            sources=self.sources[pairs],
            targets=self.targets[pairs],
            bounds=np.concatenate([[0], np.cumsum(counts[present])]),
            languages=tuple(self.languages[group] for group in present),
        )


def tokenise(bitext: Sequence[Bitext], vocabulary: Vocabulary, max_tokens: int) -> Corpus:
    """Turn bitext into numbers, every distinct text once and cut after `max_tokens`.

    Pairs with an empty side are left out. ValueError if the two sides differ in number or if no pair is left.
    """
    ordered = sorted(bitext, key=lambda part: (part.source_language, part.target_language))
    sides = [_strings(side) for part in ordered for side in (part.sources, part.targets)]
    for part, sources, targets in zip(ordered, sides[::2], sides[1::2], strict=True):
        if len(sources) != len(targets):
            pair = f"{part.source_language}-{part.target_language}"
            message = f"{pair}: {len(sources)} sentences cannot be pairs with {len(targets)}"
            raise ValueError(message)
    numbers, written, texts = _number_texts(sides, vocabulary, max_tokens)
    ends = np.cumsum([0, *map(len, sides)])
    columns = [
        np.concatenate([numbers[ends[side] : ends[side + 1]] for side in range(first, len(sides), 2)] or [numbers])
        for first in (0, 1)
    ]
    labels = sorted({(part.source_language, part.target_language) for part in ordered})
    sizes = dict.fromkeys(labels, 0)
    for part, sources in zip(ordered, sides[::2], strict=True):
        sizes[part.source_language, part.target_language] += len(sources)
    lengths = texts.lengths
    kept = (lengths[columns[0]] > 0) & (lengths[columns[1]] > 0)
    if not kept.any():
        message = "the bitext holds no pair of sentences with words in both"
        raise ValueError(message)
    counts = np.bincount(np.repeat(np.arange(len(labels)), list(sizes.values()))[kept], minlength=len(labels))
    present = np.flatnonzero(counts)
    bounds = np.concatenate([[0], np.cumsum(counts[present])])
    named = tuple(labels[group] for group in present)
    return Corpus(texts, columns[0][kept], columns[1][kept], bounds, named, written)


def _strings(texts: Texts) -> pa.Array:
    """Read texts as one Arrow array of large strings."""
    if isinstance(texts, pa.ChunkedArray):
        texts = pa.chunked_array(texts.chunks, texts.type).combine_chunks()
    if isinstance(texts, pa.Array):
        return texts.cast(pa.large_string())
    return pa.array(list(texts), pa.large_string())


def _number_texts(
    sides: Sequence[pa.Array], vocabulary: Vocabulary, max_tokens: int
) -> tuple[npt.NDArray[np.int32], pa.Array, Ragged]:
    """Number all texts by first appearance and tokenise each distinct one."""
    coded = pa.chunked_array(sides, pa.large_string()).combine_chunks().dictionary_encode(null_encoding="encode")
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.unify_dictionaries().combine_chunks()
    written = coded.dictionary.fill_null("")
    tokens = list(_token_blocks(written, vocabulary, max_tokens))
    shifts = np.cumsum([0, *(len(block.ids) for block in tokens)])
    offsets = [block.offsets[:-1] + shift for block, shift in zip(tokens, shifts[:-1], strict=True)]
    texts = Ragged(np.concatenate([block.ids for block in tokens]), np.concatenate([*offsets, shifts[-1:]]))
    return cast("npt.NDArray[np.int32]", coded.indices.to_numpy()), written, texts


def _token_blocks(texts: pa.Array, vocabulary: Vocabulary, max_tokens: int) -> Iterator[Ragged]:
    for begin in range(0, max(len(texts), 1), SENTENCES_AT_ONCE):
        block = vocabulary.encode(texts[begin : begin + SENTENCES_AT_ONCE].to_pylist())
        yield block.take(np.arange(len(block)), max_tokens)
