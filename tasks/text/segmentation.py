"""Documents and their languages in, the sentences of each out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Annotated

import sentencex
from pydantic import Field

from storage.fingerprint import Settings
from tasks.text.labels import bcp47

Split = Callable[[str], list[str]]


class SplitConfig(Settings):
    """How documents are cut into sentences."""

    # Boundary F1 on FLORES-200 / PUD Thai joined by tens at 20, 40, 60, 80 characters: .64/.66, .65/.65, .63/.64,
    # .61/.57. Precision is .56/.62 at 40: a cut between two clauses of a sentence is the usual mistake. This number and
    # the words below were chosen on these same texts, so unseen text will do somewhat worse.
    clause_chars: Annotated[
        int, Field(ge=1, le=500, description="Thai and Lao: a space ends a segment of at least so many characters")
    ] = 40


_DEFAULTS = SplitConfig()

_CLOSERS = "\"'\u2019\u201d\u00bb\u203a)\\]}\u300d\u300f\uff09\u3011\u300b\u3009\u3015\uff3d\uff63"
_FULL_STOPS = "\u3002\uff01\uff1f\uff61"
_AFTER_ASCII = r"(?![A-Za-z0-9&=/_#%-])"  # not the question mark of an address
_HAN_END = rf"(?:[{_FULL_STOPS}]|[!?]{_AFTER_ASCII}|\.(?=\s))[{_FULL_STOPS}!?]*"
# A quotation is cut only at its end; one that is not closed within 200 characters is taken for a stray mark.
_QUOTATION = "|".join(
    f"{first}[^{first}{last}]{{0,200}}{last}"
    for first, last in ("\u300c\u300d", "\u300e\u300f", "\u201c\u201d", "\uff08\uff09", "\u300a\u300b")
)
_HAN = re.compile(rf"(?P<quotation>{_QUOTATION})|{_HAN_END}[{_CLOSERS}]*")
_HAN_QUOTED_END = re.compile(rf"[{_FULL_STOPS}!?][{_CLOSERS}]+\Z")
# What goes on after a quotation: punctuation, and in Japanese the particles that a quotation is followed by.
_GOES_ON = frozenset("\uff0c\u3001\u3002\uff1b\uff1a\uff01\uff1f,.;:!?")
_PARTICLES = frozenset("\u3068\u3063\u306f\u304c\u3092\u306b\u3082\u306e\u3078\u3067\u3084\u306a\u3060")

_MARKS_OF_SCRIPT = {
    "Khmr": "\u17d4\u17d5!?",  # khan, bariyoosan
    "Tibt": "\u0f0d\u0f0e\u0f0f\u0f10\u0f11",  # shad, which ends clauses too: Tibetan has no other mark
}
# Spaces inside a Thai or Lao clause: around numbers, Latin letters and the repetition mark, after "that", before "and",
# "which", "or", "by", "but", "that", "such as", "of", "until", "from" and the like.
_SPACE_BETWEEN_CLAUSES = re.compile(
    "(?<=[^\\sA-Za-z0-9.,:;(/-])(?<!\u0e27\u0e48\u0e32)(?<!\u0e46)(?<!\u0ec6) +"
    "(?!และ|ซึ่ง|หรือ|โดย|แต่|ที่|เช่น|ของ|ถึง|ได้|คือ|เป็น|ส่วน|จาก|แล้ว|ก็|ແລະ|ເຊິ່ງ|ຊຶ່ງ|ຫຼື|ແຕ່|ທີ່|ເຊັ່ນ|ຂອງ)"
    "(?=[^\\W\\d_A-Za-z\u0e46\u0e2f\u0ec6])"
)

_LAO_FULL_STOP = re.compile(r"[\u0e80-\u0eff]{2}\.(?:\s|\Z)")

_CASED = frozenset({"Latn", "Cyrl", "Grek", "Armn"})
_LETTER = re.compile(r"[^\W\d_]")
# sentencex takes quadratic time over full stops and quotation marks that do not pair (10 s for 100,000 characters).
_MOST_CHARS_AT_ONCE = 4000
_SAFE_END = re.compile(r".*[.!?\u0589\u061f\u06d4\u0964\u1362\u104b]\s|.*\s", re.DOTALL)
_ELLIPSIS = re.compile(r"(?<=\u2026)(?=\s)")
_LONGEST_ABBREVIATION = 8  # with what stands before it
# Abbreviations that a name or a number follows, and that sentencex 1.0 takes for the end of a sentence.
_ABBREVIATIONS = {
    "fra": "M MM Mme Mmes Mlle Mgr Me Pr St Ste art fig p pp",
    "vie": "TP ThS TS PGS GS BS",
    "rus": "см рис табл ул им проф акад гл стр тыс ст св пос дер",
    "ukr": "див рис табл вул ім проф акад гл стор тис ст св",
    "bel": "гл мал вул імя праф акад ст",
    "bul": "вж фиг табл ул проф акад гл стр хил св",
    "por": "R Av Sr Sra Dr Dra Prof Profa Eng p pp fig ex",
    "tur": "\u00f6rn \u00d6rn bkz Bkz Prof Do\u00e7 Yrd s",
    "ell": "\u03c0.\u03c7 \u03b2\u03bb \u03ba \u03b4\u03c1 \u03c3\u03b5\u03bb",
}


def split_sentences(texts: Sequence[str], languages: Sequence[str], config: SplitConfig = _DEFAULTS) -> list[list[str]]:
    """Return the sentences of each text, in order and without white space around them.

    A newline always ends a sentence. Nothing is dropped and nothing is cut for its length: put together, the sentences
    are the text but for white space.

    Args:
        texts: cleaned texts.
        languages: the label of each text's language.
        config: how to cut where a script has no full stop.
    """
    return [
        [sentence for line in text.split("\n") if line.strip() for sentence in _splitter(language, config)(line)]
        for text, language in zip(texts, languages, strict=True)
    ]


@cache
def _splitter(language: str, config: SplitConfig) -> Split:
    code, script = language.split("_")
    if script in {"Hans", "Hant", "Jpan"}:
        return partial(_split_han, particles=_PARTICLES if script == "Jpan" else frozenset())
    if script in _MARKS_OF_SCRIPT:
        return partial(_split_at_marks, marks=_MARKS_OF_SCRIPT[script])
    if script in {"Thai", "Laoo"}:
        return partial(_split_at_spaces, clause_chars=config.clause_chars)
    words = _ABBREVIATIONS.get(code, "").split()
    abbreviation = re.compile(rf"(?:^|[\s(\"\u00ab])(?:{'|'.join(map(re.escape, words))})\.\Z") if words else None
    return partial(_split_spaced, code=bcp47(language).split("-")[0], cased=script in _CASED, abbreviation=abbreviation)


def _split_spaced(line: str, code: str, *, cased: bool, abbreviation: re.Pattern[str] | None) -> list[str]:
    groups: list[list[str]] = []
    lettered = False  # whether the last group has a letter; asked of the pieces, so that hostile text costs no more
    for piece in _pieces(line, code, cased=cased):
        has_letter = _LETTER.search(piece) is not None
        if (
            groups
            and (
                not lettered  # the number of a list entry
                or not (has_letter or any(map(str.isdigit, piece)))  # a quotation mark left alone
                or (cased and _starts_small(piece))
                or (abbreviation is not None and abbreviation.search(groups[-1][-1].rstrip()[-_LONGEST_ABBREVIATION:]))
            )
        ):
            groups[-1].append(piece)
            lettered = lettered or has_letter
        else:
            groups.append([piece])
            lettered = has_letter
    return [sentence for group in groups if (sentence := "".join(group).strip())]


def _pieces(line: str, code: str, *, cased: bool) -> Iterator[str]:
    """What sentencex finds, and where it overlooks them, pieces after an ellipsis: what goes on starts small."""
    for part in _parts(line):
        for piece in sentencex.segment(code, part):
            yield from _ELLIPSIS.split(piece) if cased and "\u2026" in piece else (piece,)


def _parts(line: str) -> Iterator[str]:
    """Cut a very long line after what is most likely the end of a sentence."""
    start = 0
    while len(line) - start > _MOST_CHARS_AT_ONCE:
        end = start + _MOST_CHARS_AT_ONCE
        safe = _SAFE_END.match(line, start, end)
        yield line[start : (start := safe.end() if safe else end)]
    yield line[start:]


def _starts_small(piece: str) -> bool:
    """Tell whether the first letter is a small one: then it goes on, however the piece before it ended."""
    first = _LETTER.search(piece[:8])
    return first is not None and first[0].islower() and not any(map(str.isdigit, piece[: first.start()]))


def _split_han(line: str, particles: frozenset[str]) -> list[str]:
    cuts = []
    for found in _HAN.finditer(line):
        following = line[found.end() : found.end() + 1]
        if found["quotation"] and not _HAN_QUOTED_END.search(found[0][-4:]):
            continue
        closed = found[0][-1] not in _FULL_STOPS + "!?."
        if following in _GOES_ON or (closed and following in particles):
            continue
        cuts.append(found.end())
    return _cut(line, cuts)


def _split_at_marks(line: str, marks: str) -> list[str]:
    return _cut(line, [found.end() for found in re.finditer(rf"[{marks}]+{_AFTER_ASCII}[\s{marks}{_CLOSERS}]*", line)])


def _split_at_spaces(line: str, clause_chars: int) -> list[str]:
    """Cut Thai, which has no full stop, and Lao, where some write it: there it alone counts."""
    if _LAO_FULL_STOP.search(line):
        return _split_spaced(line, "lo", cased=False, abbreviation=None)
    marked = _split_at_marks(line, "\u0e5a\u0e5b!?")
    return [clause for piece in marked for clause in _cut_clauses(piece, clause_chars)]


def _cut_clauses(piece: str, clause_chars: int) -> list[str]:
    cuts, start = [], 0
    for space in _SPACE_BETWEEN_CLAUSES.finditer(piece):
        if space.start() - start >= clause_chars and len(piece) - space.end() >= clause_chars // 2:
            cuts.append(space.end())
            start = space.end()
    return _cut(piece, cuts)


def _cut(line: str, cuts: Sequence[int]) -> list[str]:
    ends = sorted({*cuts, len(line)})
    pieces = (line[start:end].strip() for start, end in zip([0, *ends], ends, strict=False))
    return [piece for piece in pieces if piece]
