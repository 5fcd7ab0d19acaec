"""Texts in, counts of their kinds of characters and of their scripts out."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

Counts = npt.NDArray[np.int64]

UNKNOWN_SCRIPT = "Zyyy"

# Letters of each script, first and last code point in hexadecimal (Unicode 15 Scripts.txt, joined over the
# characters between them that are not letters; those are told apart by their general category).
_RANGES = """
Latn 41-aa ba-2b8 2e0-2e4 1d00-1d25 1d2c-1d5c 1d62-1d65 1d6b-1d77 1d79-1dbe 1e00-1eff 2071-209c 212a-212b 2132
Latn 214e-2184 2c60-2c7f a722-a787 a78b-a7ff ab30-ab64 ab66-ab69 fb00-fb06 ff21-ff5a 10780-107ba 1df00-1df1e
Grek 370-373 376-3e1 3f0-3ff 1d26-1d2a 1d5d-1d61 1d66-1d6a 1dbf 1f00-1ffc 2126 ab65
Cyrl 400-52f 1c80-1c88 1d2b 1d78 a640-a69d
Armn 531-588 fb13-fb17
Hebr 5d0-5f2 fb1d-fb4f
Arab 620-63f 641-6ff 750-77f 870-8c9 fb50-fefc 1ee00-1eebb
Syrc 710-74f 860-86a
Thaa 780-7b1
Nkoo 7ca-7fa
Deva 904-97f a8f2-a8fe
Beng 980-9fc
Guru a05-a74
Gujr a85-af9
Orya b05-b71
Taml b83-bd0
Telu c05-c61
Knda c80-cf2
Mlym d04-d7f
Sinh d85-dc6
Thai e01-e46
Laoo e81-edf
Tibt f00-f8c
Mymr 1000-108e a9e0-a9fe aa60-aa7f
Geor 10a0-10ff 1c90-1cbf 2d00-2d2d
Hang 1100-11ff 3131-318e a960-a97c ac00-d7fb ffa0-ffdc
Ethi 1200-138f 2d80-2dde ab01-ab2e 1e7e0-1e7fe
Cher 13a0-13fd ab70-abbf
Cans 1401-167f 18b0-18f5 11ab0-11abf
Khmr 1780-17dc
Mong 1820-18aa
Hira 3041-309f 1b001-1b11f 1b150-1b152
Kana 30a1-30fa 30fd-30ff 31f0-31ff ff66-ff6f ff71-ff9d 1aff0-1b000 1b120-1b122 1b164-1b167
Bopo 3105-312f 31a0-31bf
Hani 3005 303b 3400-9fff f900-fad9 16fe3 20000-3134a
Yiii a000-a48c
Olck 1c5a-1c7d
Tfng 2d30-2d6f
Mtei aae0-aaf4 abc0-abe2
Java a984-a9b2
Bali 1b05-1b4c
Sund 1b83-1bbf
Bugi 1a00-1a16
Lisu a4d0-a4fd 11fb0
Vaii a500-a62b
Copt 3e2-3ef 2c80-2cf3
Goth 10330-10349
Adlm 1e900-1e94b
Cakm 11103-11147
Lepc 1c00-1c4f
Limb 1900-191e
"""

_SPACE, _DIGIT, _PUNCTUATION, _MARK, _OTHER = range(5)
_FIRST_SCRIPT = 5
_OF_CATEGORY = {"Z": _SPACE, "N": _DIGIT, "P": _PUNCTUATION, "S": _PUNCTUATION, "M": _MARK}
_TABLE_SIZE = 0x32400  # the last block of letters ends here (CJK extension H)
_ROWS_AT_ONCE = 8192  # bounds the memory of one step; no effect on the result

SCRIPTS = (UNKNOWN_SCRIPT, *dict.fromkeys(line.split()[0] for line in _RANGES.strip().splitlines()))

# What ISO 15924 names as one script although it is written with letters of several.
_PARTS = {
    "Jpan": ("Hani", "Hira", "Kana"),
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Kore": ("Hang", "Hani"),
    "Hang": ("Hang", "Hani"),
}

# Written without spaces between words.
UNSPACED = ("Hani", "Hira", "Kana", "Bopo", "Yiii", "Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Java", "Bali")
# So many letters to the character that a sentence is short: those above, and the syllable blocks of Hangul.
DENSE = (*UNSPACED, "Hang")


@dataclass(frozen=True)
class CharacterCounts:
    """How many characters of each kind the texts have, one row per text."""

    lengths: Counts
    letters: Counts
    marks: Counts
    digits: Counts
    punctuation: Counts  # with symbols: what stands in running text for decoration is either
    spaces: Counts
    longest_run: Counts  # of one repeated character
    scripts: Counts  # letters per script, a column for each of SCRIPTS

    def share(self, count: Counts) -> npt.NDArray[np.float64]:
        """Divide a count by the length of the text; 0 for an empty text."""
        return count / np.maximum(self.lengths, 1)

    def script_share(self, script: str) -> npt.NDArray[np.float64]:
        """Share of the letters that belong to an ISO 15924 script, of which Jpan, Hans and others join several."""
        columns = [SCRIPTS.index(part) for part in parts_of_script(script)]
        share: npt.NDArray[np.float64] = self.scripts[:, columns].sum(axis=1) / np.maximum(self.letters, 1)
        return share

    def main_script(self) -> npt.NDArray[np.int64]:
        """Index into SCRIPTS of the script with the most letters; the earlier one if equal, 0 without letters."""
        return np.where(self.letters > 0, self.scripts.argmax(axis=1), 0)

    def written_in(self, scripts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Tell which texts have one of these as their main script."""
        return np.isin(self.main_script(), [SCRIPTS.index(script) for script in scripts])


def parts_of_script(script: str) -> tuple[str, ...]:
    """Return the members of SCRIPTS that a label's script is written in; nothing for one that is not known."""
    return _PARTS.get(script, (script,) if script in SCRIPTS else ())


def count_characters(texts: pl.Series) -> CharacterCounts:
    """Count kinds of characters and letters per script; a null counts as an empty text."""
    texts = texts.fill_null("")
    blocks = [_count_block(texts.slice(start, _ROWS_AT_ONCE)) for start in range(0, max(len(texts), 1), _ROWS_AT_ONCE)]
    kinds = np.concatenate([counted for counted, _ in blocks])
    scripts = kinds[:, _FIRST_SCRIPT:]
    return CharacterCounts(
        lengths=kinds.sum(axis=1),
        letters=scripts.sum(axis=1),
        marks=kinds[:, _MARK],
        digits=kinds[:, _DIGIT],
        punctuation=kinds[:, _PUNCTUATION],
        spaces=kinds[:, _SPACE],
        longest_run=np.concatenate([runs for _, runs in blocks]),
        scripts=scripts,
    )


def main_scripts(texts: pl.Series) -> npt.NDArray[np.str_]:
    """Name the script that most letters of each text belong to; Zyyy where there are no letters."""
    return np.array(SCRIPTS)[count_characters(texts).main_script()]


def _count_block(texts: pl.Series) -> tuple[Counts, Counts]:
    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    points = np.frombuffer(texts.str.join("").item().encode("utf-32-le"), dtype=np.uint32)
    rows = np.repeat(np.arange(len(texts), dtype=np.int32), lengths)
    width = _FIRST_SCRIPT + len(SCRIPTS)
    kinds = _kind_table().take(points, mode="clip")
    counted = np.bincount(rows * np.int32(width) + kinds, minlength=len(texts) * width).reshape(len(texts), width)
    return counted, _longest_runs(points, rows, len(texts))


def _longest_runs(points: npt.NDArray[np.uint32], rows: npt.NDArray[np.int32], texts: int) -> Counts:
    longest = np.minimum(np.bincount(rows, minlength=texts), 1)
    repeats = np.flatnonzero((points[1:] == points[:-1]) & (rows[1:] == rows[:-1]))  # few, unlike the characters
    if len(repeats):
        starts = np.flatnonzero(np.diff(repeats, prepend=-2) > 1)
        lengths = np.diff(starts, append=len(repeats)) + 1
        np.maximum.at(longest, rows[repeats[starts]], lengths)
    return longest


@cache
def _kind_table() -> npt.NDArray[np.uint8]:
    """Kind of every code point: a category, or for letters _FIRST_SCRIPT plus the index of the script."""
    categories = [unicodedata.category(chr(point))[0] for point in range(_TABLE_SIZE)]
    table = np.array([_OF_CATEGORY.get(category, _OTHER) for category in categories] + [_OTHER], dtype=np.uint8)
    letters = np.array([category == "L" for category in categories] + [False])
    table[letters] = _FIRST_SCRIPT
    for script, *parts in (line.split() for line in _RANGES.strip().splitlines()):
        for first, _, last in (part.partition("-") for part in parts):
            span = slice(int(first, 16), int(last or first, 16) + 1)
            table[span][letters[span]] = _FIRST_SCRIPT + SCRIPTS.index(script)
    # Controls that are white space, the Ethiopic word space, and the points between the syllables of Tibetan words.
    table[[ord(point) for point in "\t\n\r\v\f\u1361"]] = _SPACE
    table[[0x0F0B, 0x0F0C]] = _MARK
    return table
