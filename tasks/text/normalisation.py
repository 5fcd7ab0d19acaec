"""Raw texts in, clean texts and keys that equal texts share out."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

# Scripts in which the zero-width joiner and non-joiner change how a word is written, and emoji, which are joined by it.
_JOINED = (
    r"\p{Arabic}\p{Syriac}\p{Mongolian}\p{Nko}\p{Adlam}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}"
    r"\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Khmer}\p{Myanmar}\p{Extended_Pictographic}"
    r"\x{FE0F}\x{1F3FB}-\x{1F3FF}"
)
_NEWLINE = r"\r\n?|[\x0B\x0C\x{85}\x{2028}\x{2029}]"
# Controls, the soft hyphen, zero-width spaces and marks of direction, variation and format that no reader sees.
# Khmer and Thai pages mark words by U+200B in some places and not in others; equal sentences must become equal.
_JUNK = (
    r"[\x00-\x08\x0E-\x1F\x7F-\x{9F}\x{AD}\x{34F}\x{61C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180E}\x{200B}\x{200E}\x{200F}"
    r"\x{202A}-\x{202E}\x{2060}-\x{206F}\x{3164}\x{FEFF}\x{FFA0}\x{FFF9}-\x{FFFC}\x{E0000}-\x{E007F}"
    r"\p{Noncharacter_Code_Point}]"
)
_JOINERS = r"[\x{200C}\x{200D}]"
# A mark that is not of these scripts says nothing of how its letter is joined, and may become one character with it.
_MARK = rf"[\p{{M}}&&[^{_JOINED}]]"
_JOINERS_IN_LETTERS = rf"{_JOINERS}+({_MARK})"
_SENSELESS_JOINERS = rf"{_JOINERS}[\p{{M}}\x{{200C}}\x{{200D}}]*{_MARK}"  # then: marks of several scripts on one letter
_STRAY_JOINERS = rf"((?:^|[^{_JOINED}\p{{M}}\x{{200C}}\x{{200D}}]){_MARK}*){_JOINERS}+"
_FINAL_JOINERS = rf"{_JOINERS}+(\s|$)"

# UTF-8 that was read as Latin-1 or Windows-1252: the lead byte of a two- or three-byte character, then what the
# following byte looks like. Cyrillic and Arabic show as runs of such pairs.
_CONTINUATION = "\u00a0-\u00bf\u0192\u02c6\u02dc\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u2013-\u203a\u20ac\u2122"
_MOJIBAKE = re.compile(
    rf"[\u00c2\u00c3\u00ce\u00cf\u00d0\u00d1\u00d8\u00d9][{_CONTINUATION}]|\u00e2\u20ac[{_CONTINUATION}]?|\ufffd"
)


def clean_text(texts: pl.Series) -> pl.Series:
    """Return the texts in NFC, without invisible characters, each run of whitespace one space or one newline.

    Zero-width joiners and non-joiners stay inside words of scripts that are written with them. Newlines stay: they
    are the boundaries of paragraphs. Cleaning twice is cleaning once.
    """
    visible = texts.str.replace_all(_NEWLINE, "\n").str.replace_all(_JUNK, "")
    composed = _where(visible, r"[^\x00-\x7F]", lambda some: some.str.normalize("NFC"))
    joined = _where(composed, _JOINERS, _without_stray_joiners)
    return (
        joined.str.replace_all(r"[^\S \n]", " ")
        .str.replace_all("  +", " ")
        .str.replace_all(r" ?\n\s*", "\n")
        .str.strip_chars()
    )


def sentence_key(texts: pl.Series) -> pl.Series:
    """Return what sentences that count as equal share: NFKC, case folded, each run of whitespace one space.

    Case is folded by lower-casing, with final sigma as sigma and sharp s as ss.
    """
    folded = (
        _where(texts, r"[^\x00-\x7F]", lambda some: some.str.normalize("NFKC"))
        .str.to_lowercase()
        .str.replace_all("\u03c2", "\u03c3", literal=True)
        .str.replace_all("\u00df", "ss", literal=True)
    )
    # A small letter may have a composed form where its capital has none (J with caron).
    composed = _where(folded, r"\p{M}", lambda some: some.str.normalize("NFKC"))
    return composed.str.replace_all(r"[^\S ]", " ").str.replace_all("  +", " ").str.strip_chars()


def mojibake_share(texts: pl.Series) -> npt.NDArray[np.float64]:
    """Return the share of characters that are UTF-8 read as Latin-1 or Windows-1252, or replacement characters."""
    pairs = texts.str.count_matches(_MOJIBAKE.pattern).to_numpy().astype(np.float64)
    return np.asarray(np.minimum(2 * pairs / np.maximum(texts.str.len_chars().to_numpy(), 1), 1))


def _without_stray_joiners(texts: pl.Series) -> pl.Series:
    """Remove joiners where nothing is joined; letters and marks that met only then are composed."""
    simple = texts.str.replace_all(_JOINERS_IN_LETTERS, "${1}")
    sensible = _where(simple, _SENSELESS_JOINERS, lambda some: some.str.replace_all(_JOINERS, ""))
    return sensible.str.replace_all(_STRAY_JOINERS, "${1}").str.replace_all(_FINAL_JOINERS, "${1}").str.normalize("NFC")


def _where(texts: pl.Series, pattern: str, change: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """Apply a slow change only to the rows that it can concern."""
    rows = texts.str.contains(pattern).fill_null(value=False).arg_true()
    return texts.scatter(rows, change(texts[rows])) if len(rows) else texts
