"""Texts in, MinHash signatures out; signatures of earlier and new documents in, near-duplicates out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from tasks.similarity.compiled import compiled
from tasks.similarity.folding import IGNORED, decode, folds, unspaced, utf8
from tasks.similarity.identifiers import flat

SEED = 0x6D696E68617368  # "minhash": fixes the hash family for ever; another seed makes old signatures worthless
EMPTY = np.uint32(0xFFFFFFFF)  # every minhash of a text without a letter or digit
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment, 2**64 divided by the golden ratio


class MinHashConfig(Settings):
    """What a near-duplicate document is.

    14 bands of 8 rows are FineWeb's: of two documents with Jaccard similarity s, 1 - (1 - s^8)^14 become candidates,
    half of them at 0.72. FineWeb accepts every candidate; here the 112 minhashes also have to agree at `similarity`,
    whose estimate has a standard error of 0.04. The default lies between text-dedup's 0.7 and HPLT's 0.8.
    """

    bands: Annotated[int, Field(ge=1, le=64, description="Bands, any one of which makes a candidate")] = 14
    rows: Annotated[int, Field(ge=1, le=32, description="Minhashes per band")] = 8
    shingle_words: Annotated[int, Field(ge=1, le=16, description="Words per shingle")] = 5
    # Five Chinese words are about eight characters, so that an edit costs as many shingles per length of text.
    shingle_characters: Annotated[
        int, Field(ge=1, le=64, description="Letters per shingle in scripts without spaces")
    ] = 8
    similarity: Annotated[float, Field(ge=0, le=1, description="Least estimated Jaccard similarity to drop")] = 0.75
    bucket_limit: Annotated[
        int, Field(ge=1, description="Earliest kept documents that one value of a band remembers to compare with")
    ] = 1000

    @property
    def hashes(self) -> int:
        """Length of a signature."""
        return self.bands * self.rows


def signatures(texts: Sequence[str] | pa.Array, languages: Sequence[str], config: MinHashConfig) -> np.ndarray:
    """MinHash signatures (n, bands * rows) uint32 of the texts' shingles of words, or of letters where unspaced.

    Texts are compared in lower case without punctuation, and should come in one Unicode normal form (NFC). One shorter
    than a shingle is a single shingle; one without any letter or digit has the signature EMPTY throughout, which
    `first_duplicates` never matches.

    Raises:
        ValueError: if there are not as many languages as texts.
    """
    if len(texts) != len(languages):
        raise ValueError(f"{len(texts)} texts but {len(languages)} languages")
    by_letter = unspaced(languages)
    sizes = np.where(by_letter, config.shingle_characters, config.shingle_words).astype(np.int64)
    return _signatures(utf8(texts), by_letter, sizes, folds(), _hash_family(config.hashes))


def first_duplicates(
    earlier: np.ndarray, earlier_ids: pa.Array, new: np.ndarray, new_ids: pa.Array, config: MinHashConfig
) -> pa.Array:
    """Id of the earliest kept document that each new document repeats, null where it is kept.

    Documents are taken in the order of their rows. One is dropped if a kept document before it has a band in common
    and at least `similarity` of its minhashes; so the fate of a document never depends on later ones. Memory: the
    signatures, 8 bytes per document and band, and 24 per document.

    Args:
        earlier: signatures of documents of former crawls that were kept; they stay kept.
        earlier_ids: their ids, in the order in which they were kept.
        new: signatures of this crawl's documents.
        new_ids: their ids.
        config: must be the one that made the signatures.

    Raises:
        ValueError: if signatures and ids do not belong together or have another length than the config says.
    """
    for matrix, ids in ((earlier, earlier_ids), (new, new_ids)):
        if matrix.shape != (len(ids), config.hashes):
            raise ValueError(f"expected signatures of shape {(len(ids), config.hashes)}, got {matrix.shape}")
    everything = np.ascontiguousarray(np.concatenate([earlier, new]), dtype=np.uint32)
    needed = int(np.ceil(config.similarity * config.hashes - 1e-9))
    first = _greedy(everything, _buckets(everything, config), len(earlier), needed, config.bucket_limit)[len(earlier) :]
    return pa.concat_arrays([flat(earlier_ids), flat(new_ids)]).take(pa.array(first, mask=first < 0))


def _hash_family(hashes: int) -> tuple[np.ndarray, np.ndarray]:
    """Odd multipliers and addends (uint32) from splitmix64; the first n of a longer family are the same."""
    state = np.arange(1, 2 * hashes + 1, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(SEED)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    words = (state >> np.uint64(32)).astype(np.uint32)
    return words[0::2] | np.uint32(1), words[1::2].copy()


def _buckets(matrix: np.ndarray, config: MinHashConfig) -> np.ndarray:
    """Number (n, bands) int32 of the bucket of each band that another document shares, -1 where none does."""
    buckets = np.full((len(matrix), config.bands), -1, np.int32)
    count = 0
    for band in range(config.bands):
        values = _band_values(matrix, band * config.rows, config.rows)
        order = np.argsort(values)
        count = _number(values, order, buckets[:, band], count)
    return buckets


@compiled
def _mix(value: np.uint64) -> np.uint64:
    """Finaliser of splitmix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def _tokens(text: np.ndarray, table: np.ndarray, by_letter: np.bool_, tokens: np.ndarray) -> int:
    """Write the hash of each word (or of each letter) of a text into `tokens` and return how many there are."""
    count = 0
    word = np.uint64(0)
    position = 0
    while position < len(text):
        point = int(text[position])
        if point < 0x80:  # most bytes of most crawls: twice as fast without the call
            position += 1
        else:
            point, position = decode(text, position)
        folded = table[point]
        if folded == IGNORED:
            continue
        if folded > 0:
            word = (word ^ np.uint64(folded)) * np.uint64(_GOLDEN)
            if not by_letter:
                continue
        if word != 0:
            tokens[count] = _mix(word)
            count += 1
            word = np.uint64(0)
    if word != 0:
        tokens[count] = _mix(word)
        count += 1
    return count


@compiled
def _shingles(tokens: np.ndarray, count: int, size: int, shingles: np.ndarray) -> int:
    """Write the 32-bit hash of each run of `size` tokens (of all, if fewer) and return how many there are."""
    size = min(size, count)
    total = count - size + 1 if count else 0
    for first in range(total):
        value = np.uint64(size)
        for token in tokens[first : first + size]:
            value = (value ^ token) * np.uint64(_GOLDEN)
            value ^= value >> np.uint64(29)
        shingles[first] = np.uint32(_mix(value) >> np.uint64(32))
    return total


@compiled
def _signatures(
    texts: tuple[np.ndarray, np.ndarray],
    by_letter: np.ndarray,
    sizes: np.ndarray,
    table: np.ndarray,
    family: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    data, offsets = texts
    multipliers, addends = family
    result = np.empty((len(sizes), len(multipliers)), np.uint32)
    longest = 0
    for text in range(len(sizes)):
        longest = max(longest, offsets[text + 1] - offsets[text])
    tokens = np.empty(longest, np.uint64)
    shingles = np.empty(longest, np.uint32)
    for text in range(len(sizes)):
        count = _tokens(data[offsets[text] : offsets[text + 1]], table, by_letter[text], tokens)
        total = _shingles(tokens, count, sizes[text], shingles)
        for index in range(len(multipliers)):
            multiplier, addend, least = multipliers[index], addends[index], EMPTY
            for shingle in shingles[:total]:  # the inner loop is the long one: one vectorised minimum
                least = min(least, np.uint32(shingle * multiplier + addend))
            result[text, index] = least
    return result


@compiled
def _band_values(matrix: np.ndarray, first: int, rows: int) -> np.ndarray:
    """One 64-bit hash per document over a band; 0 for a document without shingles."""
    values = np.zeros(len(matrix), np.uint64)
    for document in range(len(matrix)):
        value = np.uint64(1)
        empty = True
        for minhash in matrix[document, first : first + rows]:
            value = _mix(value * np.uint64(_GOLDEN) ^ np.uint64(minhash))
            empty = empty and minhash == EMPTY
        values[document] = np.uint64(0) if empty else value
    return values


@compiled
def _number(values: np.ndarray, order: np.ndarray, buckets: np.ndarray, count: int) -> int:
    """Number the values that occur twice or more from `count` on, write them to `buckets`, return the next number."""
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        if end - start > 1 and values[order[start]] != 0:
            for place in range(start, end):
                buckets[order[place]] = count
            count += 1
        start = end
    return count


@compiled
def _agree(left: np.ndarray, right: np.ndarray) -> int:
    equal = 0
    for index in range(len(left)):
        equal += left[index] == right[index]
    return equal


@compiled
def _greedy(matrix: np.ndarray, buckets: np.ndarray, kept: int, needed: int, limit: int) -> np.ndarray:
    """Row of the earliest kept document that each row repeats, -1 if it is kept; the first `kept` rows always are."""
    first = np.full(len(matrix), -1, np.int64)
    count = buckets.max() + 1 if buckets.size else 0
    head = np.full(count, -1, np.int32)  # per bucket: a chain of kept documents, earliest first
    tail = np.full(count, -1, np.int32)
    size = np.zeros(count, np.int32)
    following = np.full(buckets.shape, -1, np.int32)
    compared = np.full(len(matrix), -1, np.int32)
    for row in range(len(matrix)):
        if row >= kept:
            first[row] = _first_match(matrix, row, buckets[row], (head, following, compared), needed)
        if first[row] >= 0:
            continue
        for band in range(buckets.shape[1]):
            bucket = buckets[row, band]
            if bucket >= 0 and size[bucket] < limit:
                if tail[bucket] < 0:
                    head[bucket] = row
                else:
                    following[tail[bucket], band] = row
                tail[bucket] = row
                size[bucket] += 1
    return first


@compiled
def _first_match(
    matrix: np.ndarray,
    row: int,
    buckets: np.ndarray,
    chains: tuple[np.ndarray, np.ndarray, np.ndarray],
    needed: int,
) -> int:
    """The earliest document on the chains of a row's buckets that agrees with it well enough, or -1."""
    head, following, compared = chains
    best = -1
    for band in range(len(buckets)):
        other = head[buckets[band]] if buckets[band] >= 0 else -1
        while other >= 0 and (best < 0 or other < best):
            if compared[other] != row:
                compared[other] = row
                if _agree(matrix[row], matrix[other]) >= needed:
                    best = other
            other = following[other, band]
    return best
