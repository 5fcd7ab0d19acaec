"""Texts in, UTF-8 bytes out, and what each character of them counts as when texts are compared."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.similarity.compiled import compiled

SEPARATOR, IGNORED, SPACE = 0, -1, -2  # punctuation and symbols; soft hyphens and joiners; white space
# Planes 4 to 13 of Unicode are unassigned, and 15 and 16 for private use; looking at all takes four times as long.
ASSIGNED = (range(0x40000), range(0xE0000, 0xE1000))
DIGIT = 1 << 24  # added to the code point of a digit or other number
# Written without spaces between words; Hangul is spaced. ISO 15924 codes as language labels carry them.
UNSPACED_SCRIPTS = frozenset({"Hani", "Hans", "Hant", "Jpan", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"})


@functools.cache
def folds() -> np.ndarray:
    """What each code point counts as (int32, read-only): SEPARATOR, IGNORED, SPACE, or a lower-case letter (+ DIGIT).

    Compatibility forms of one character (fullwidth letters, Arabic presentation forms) count as their plain form.
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.int32)  # as unassigned characters and those of private use count
    for plane in ASSIGNED:
        table[plane.start : plane.stop] = [_fold(chr(point)) for point in plane]
    table.flags.writeable = False
    return table


def _fold(character: str) -> int:
    category = unicodedata.category(character)
    if category in ("Cn", "Co", "Cs"):  # unassigned: most become letters in a later Unicode
        return ord(character)
    if character.isspace():
        return SPACE
    if category[0] not in "LMN":
        return IGNORED if category == "Cf" else SEPARATOR
    plain = unicodedata.normalize("NFKC", character)
    lower = (plain if len(plain) == 1 else character).lower()[0]
    return ord(lower) | (DIGIT if category[0] == "N" else 0)


def utf8(texts: Sequence[str] | pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (uint8) of all texts end to end, and the n + 1 offsets (int64) into them; a null is an empty text."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks() if texts.num_chunks else pa.array([], pa.string())
    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    column = pc.fill_null(column.cast(pa.large_string()), "")
    if not len(column):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    offsets = np.frombuffer(column.buffers()[1], np.int64, len(column) + 1, 8 * column.offset)
    data = column.buffers()[2]
    return np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8), offsets


def unspaced(languages: Sequence[str]) -> np.ndarray:
    """True where the label's script (the part after the underscore) writes no spaces between words."""
    return np.fromiter((label.rpartition("_")[2] in UNSPACED_SCRIPTS for label in languages), np.bool_, len(languages))


@compiled
def decode(data: np.ndarray, position: int) -> tuple[int, int]:
    """Code point at a byte position of valid UTF-8, and the position after it."""
    first = np.int64(data[position])
    if first < 0x80:
        return int(first), position + 1
    if first < 0xE0:
        return ((first & 0x1F) << 6) | (data[position + 1] & 0x3F), position + 2
    if first < 0xF0:
        return ((first & 0x0F) << 12) | ((data[position + 1] & 0x3F) << 6) | (data[position + 2] & 0x3F), position + 3
    tail = ((data[position + 1] & 0x3F) << 12) | ((data[position + 2] & 0x3F) << 6) | (data[position + 3] & 0x3F)
    return ((first & 0x07) << 18) | tail, position + 4
