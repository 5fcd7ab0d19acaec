"""A sentence in, the sentence as LASER2's subwords were learnt from it out: no control characters, few kinds of marks.

The rules and their order are those of the Moses script normalize-punctuation.perl, RELEASE-4.0, for English, as LASER2
was trained with it; laser_encoders follows them in Python, and the tests compare with it.
"""

from __future__ import annotations

import re
import unicodedata

_NBSP = "\N{NO-BREAK SPACE}"
_DASH, _LONG_DASH = "\N{EN DASH}", "\N{EM DASH}"
_OPEN, _CLOSE = "\N{LEFT SINGLE QUOTATION MARK}", "\N{RIGHT SINGLE QUOTATION MARK}"
_SINGLE = f"{_OPEN}{_CLOSE}\N{SINGLE LOW-9 QUOTATION MARK}"
_DOUBLE = "\N{DOUBLE LOW-9 QUOTATION MARK}\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
_ACUTE, _DOTS = "\N{ACUTE ACCENT}", "\N{HORIZONTAL ELLIPSIS}"
_SPACES = (" +", " ")

_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # brackets stand off from the words around them and not from what they hold
        (r"\(", " ("),
        (r"\)", ") "),
        _SPACES,
        (r"\) ([.!:?;,])", r")\1"),
        (r"\( ", "("),
        (r" \)", ")"),
        (r"(\d) %", r"\1%"),
        (" ([:;])", r"\1"),
        # quotation marks and dashes become those of ASCII
        ("`", "'"),
        ("''", ' " '),
        (f"[{_DOUBLE}]", '"'),
        (_DASH, "-"),
        (_LONG_DASH, " - "),
        _SPACES,
        (_ACUTE, "'"),
        (f"([a-zA-Z]){_OPEN}([a-zA-Z])", r"\1'\2"),  # in turn, as a letter between two marks serves one of them
        (f"([a-zA-Z]){_CLOSE}([a-zA-Z])", r"\1'\2"),
        (f"[{_SINGLE}]", '"'),
        ("''", '"'),
        (_DOTS, "..."),
        (f"{_NBSP}«{_NBSP}", ' "'),
        (f"«{_NBSP}?", '"'),
        (f"{_NBSP}»{_NBSP}", '" '),
        (f"{_NBSP}?»", '"'),
        # spaces that do not break
        (f"{_NBSP}%", "%"),
        (f"nº{_NBSP}", "nº "),
        (f"{_NBSP}:", ":"),
        (f"{_NBSP}(ºC|cm)", r" \1"),
        (f"{_NBSP}([?!;])", r"\1"),
        (f",{_NBSP}", ", "),
        _SPACES,
        # English puts commas and full stops inside quotation marks, and a point into numbers
        ('"([,.]+)', r'\1"'),
        (rf"(\d){_NBSP}(\d)", r"\1.\2"),
    )
)
_CONCERNED = re.compile(
    rf"""[()`{_DOUBLE}{_SINGLE}{_DASH}{_LONG_DASH}{_ACUTE}{_DOTS}«»{_NBSP}]|  |\ [:;]|\d\ %|''|"[,.]"""
)


class _Printable(dict[int, int]):
    """Code points, and what stands for them: a space for controls, formats, surrogates and what is not assigned."""

    def __missing__(self, code: int) -> int:
        self[code] = ord(" ") if unicodedata.category(chr(code)).startswith("C") else code
        return self[code]


_PRINTABLE = _Printable()


def plain(sentence: str) -> str:
    """Write a sentence in lower case and with the marks that LASER2 knows."""
    if not sentence.isprintable():
        sentence = sentence.translate(_PRINTABLE)
    if _CONCERNED.search(sentence):
        for pattern, replacement in _RULES:
            sentence = pattern.sub(replacement, sentence)
    return sentence.strip().lower()
