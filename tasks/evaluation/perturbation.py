"""English sentences in, sentences that look like them and say something else out, and how often those mislead."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from encoder.evaluation import Margin, Matrix, best_partners
from tasks.evaluation.contrasts import CALENDAR, NUMBER_WORDS, TITLES, groups, opposites

Kind = Literal["number", "entity", "negation"]
KINDS: tuple[Kind, ...] = ("number", "entity", "negation")
PER_KIND = 4
MAX_CHARS = 2000  # a longer line is no sentence, and is left alone

_NUMBER_GROUPS, _CALENDAR_GROUPS, _OPPOSITES = groups(NUMBER_WORDS), groups(CALENDAR), opposites()
_TITLES = frozenset(TITLES.split())
_APOSTROPHES = str.maketrans("\u2019", "'")


def _any_of(words: Sequence[str]) -> str:
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return rf"\b(?:{'|'.join(map(re.escape, ordered))})\b"


_NUMERAL = re.compile(r"(?<!\w)(?<!\d[.,])(\d{1,15}(?:[.,]\d{1,6}){0,6})(st|nd|rd|th)?(?!\w)")
_NUMBER_WORD = re.compile(_any_of(list(_NUMBER_GROUPS)), re.IGNORECASE)
_DATE = re.compile(_any_of(list(_CALENDAR_GROUPS)))
_OPPOSITE = re.compile(_any_of(list(_OPPOSITES)), re.IGNORECASE)
_NEGATED = re.compile(r" not\b(?! only| yet)|(?<!ca)(?<!wo)n't\b|\bnever (?=\w)", re.IGNORECASE)
_AFFIRMED = re.compile(
    r"\b(?:is|are|was|were|will|would|can|could|should|must|may|might|(?:has|have|had)(?= (?:been|\w{1,20}ed)\b))"
    r"(?! not\b| never\b| no\b|n't|\w)"
)
_NAME_WORD = r"(?:(?:[A-Z]\.){2,6}|[A-Z]\.(?= [A-Z])|[A-Z](?:[\w-]|['\u2019](?!s\b)){1,40})"
_CAPITALISED = re.compile(rf"(?<!\w){_NAME_WORD}")
_LOWERCASE = re.compile(r"(?<!\w)[a-z][\w-]{1,40}")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\u2026\"\u201c\u201d\u2018(\u2013\u2014-]\s{0,3})[\"\u201c\u201d\u2018'(]?$")
_OF_PEOPLE = re.compile(r"(?:[aei]an|ish|ese|nch|utch|eek|stani)s?$")


class Perturbation(NamedTuple):
    """A false variant of a sentence: the sentence's row, what was changed, and the text."""

    row: int
    kind: Kind
    text: str


class _Edit(NamedTuple):
    begin: int
    end: int
    text: str


@dataclass(frozen=True, eq=False)
class XsimPlus:
    """Share of sentences whose best candidate is not their reference, and what it was instead.

    `by_kind` has a share of all sentences for each kind whose variant of the sentence's own reference won, and for
    "other", any other sentence; they add up to the error. `correct` says it row by row.
    """

    error: float
    by_kind: dict[str, float]
    correct: npt.NDArray[np.bool_]


def perturbations(sentences: Sequence[str], seed: int = 0, per_kind: int = PER_KIND) -> list[Perturbation]:
    """Up to `per_kind` variants of each kind for each sentence, in the order of rows; none is any of the sentences.

    A number becomes another, a name one that is elsewhere in the set (of as many words, where there is one), and what
    is denied is affirmed, what is affirmed denied, or a word replaced by its opposite.
    """
    names = _Names(sentences)
    taken, variants = set(sentences), []
    for row, sentence in enumerate(sentences):
        for kind in KINDS if len(sentence) <= MAX_CHARS else ():
            edits = {_draw(seed, sentence, *edit): edit for edit in _edits(kind, sentence, names, (seed, per_kind))}
            texts = (_applied(sentence, edits[chance]) for chance in sorted(edits))
            new = [text for text in dict.fromkeys(texts) if text not in taken][:per_kind]
            taken.update(new)
            variants += [Perturbation(row, kind, text) for text in new]
    return variants


def xsim_plus(  # noqa: PLR0913, PLR0917 - three sides, what two of them are, and how they are compared
    x: Matrix,
    y: Matrix,
    hard: Matrix,
    rows: npt.NDArray[np.int64],
    kinds: Sequence[str],
    texts: Sequence[str],
    margin: Margin = "ratio",
    k: int = 4,
) -> XsimPlus:
    """Compute the xsim of x against the references y and all hard sentences together, as xsim++ (Chen et al. 2023).

    Args:
        x: unit vectors (n, d) of the sentences.
        y: unit vectors (n, d) of their references.
        hard: unit vectors (m, d) of the perturbed references.
        rows: the row of each hard sentence's reference (m,).
        kinds: what was changed in each of them.
        texts: the references (n,); a reference that occurs twice is no error.
        margin: how a cosine is compared with those of the neighbourhoods.
        k: neighbours per side.

    Raises:
        ValueError: if the sides do not fit.
    """
    if x.shape != y.shape or not len(x) or len(texts) != len(y) or not len(hard) == len(rows) == len(kinds):
        raise ValueError(
            f"{x.shape}, {y.shape} and {len(texts)} texts, or {len(hard)} hard vectors, {len(rows)} rows and "
            f"{len(kinds)} kinds do not fit"
        )
    numbers: dict[str, int] = {}
    reference = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
    found = best_partners(x, np.concatenate([y, hard]), margin, k)
    origin = np.concatenate([reference, reference[np.asarray(rows, np.int64)]])[found]
    names = [*sorted(set(kinds)), "other"]
    kind_of = np.array([-1] * len(y) + [names.index(kind) for kind in kinds])[found]
    won = np.where(origin == reference, kind_of, len(names) - 1)
    shares = {name: float(np.mean(won == index)) for index, name in enumerate(names)}
    correct = won == -1
    return XsimPlus(float(np.mean(~correct)), shares, correct)


class _Names:
    """The names of a set of sentences: words with a capital inside a sentence that are never without one."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self._small = {word for text in sentences for word in _LOWERCASE.findall(text[:MAX_CHARS])}
        inside = set()
        for text in sentences:
            for match in _CAPITALISED.finditer(text[:MAX_CHARS]):
                if not _SENTENCE_START.search(text, max(0, match.start() - 6), match.start()):
                    inside.add(match[0])
        self._words = {word for word in inside if self._may_be_name(word)}
        by_shape: defaultdict[tuple[int, bool, bool], set[str]] = defaultdict(set)
        for text in sentences:
            for begin, end in self.spans(text[:MAX_CHARS]):
                by_shape[self._shape(text[begin:end])].add(text[begin:end])
        self._by_shape = {shape: sorted(names) for shape, names in by_shape.items()}
        self._all = sorted(set().union(*by_shape.values()))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the names of a sentence are; names with only a space between them are one."""
        spans: list[tuple[int, int]] = []
        for match in _CAPITALISED.finditer(text):
            if match[0] in self._words:
                joins = bool(spans) and text[spans[-1][1] : match.start()] == " "
                begin = spans.pop()[0] if joins else match.start()
                spans.append((begin, match.end()))
        return spans

    def like(self, name: str) -> list[str]:
        """Names of the same shape, or all names where there is no other of that."""
        alike = self._by_shape.get(self._shape(name), [])
        return alike if len(alike) > 1 else self._all

    def _may_be_name(self, word: str) -> bool:
        return word.lower() not in self._small and word not in _TITLES and word not in _CALENDAR_GROUPS

    @staticmethod
    def _shape(name: str) -> tuple[int, bool, bool]:
        return min(name.count(" "), 2), name.isupper(), bool(_OF_PEOPLE.search(name))


def _edits(kind: Kind, text: str, names: _Names, draws: tuple[int, int]) -> Iterator[_Edit]:
    if kind == "number":
        return _number_edits(text, draws)
    return _entity_edits(text, names, draws) if kind == "entity" else _negation_edits(text)


def _number_edits(text: str, draws: tuple[int, int]) -> Iterator[_Edit]:
    for match in _NUMERAL.finditer(text):
        for turn in range(draws[1]):
            number = _other_number(match[1], _draw(draws[0], text, match.start(), turn))
            yield _Edit(*match.span(), number + (_ordinal_suffix(number) if match[2] else ""))
    for match in _NUMBER_WORD.finditer(text):
        others = _NUMBER_GROUPS[match[0].lower()]
        for turn in range(draws[1]):
            other = others[_draw(draws[0], text, match.start(), turn) % len(others)]
            yield _Edit(*match.span(), _in_case_of(match[0], other))


def _entity_edits(text: str, names: _Names, draws: tuple[int, int]) -> Iterator[_Edit]:
    sites = [(span, names.like(text[slice(*span)])) for span in names.spans(text)]
    sites += [(match.span(), _CALENDAR_GROUPS[match[0]]) for match in _DATE.finditer(text)]
    for (begin, end), others in sites:
        for turn in range(draws[1]):
            other = others[_draw(draws[0], text, begin, turn) % len(others)]
            if other not in text and text[begin:end] not in other:
                yield _Edit(begin, end, other)


def _negation_edits(text: str) -> Iterator[_Edit]:
    plain = text.translate(_APOSTROPHES)
    for match in _OPPOSITE.finditer(plain):
        yield _Edit(*match.span(), _in_case_of(match[0], _OPPOSITES[match[0].lower()]))
    for match in _NEGATED.finditer(plain):
        yield _Edit(*match.span(), "")
    for match in _AFFIRMED.finditer(plain):
        yield _Edit(match.end(), match.end(), "not" if match[0] == "can" else " not")


def _other_number(number: str, chance: int) -> str:
    """The number with one digit changed; the first does not become 0."""
    places = [place for place, character in enumerate(number) if character.isdigit()]
    place = places[chance % len(places)]
    digits = [digit for digit in "0123456789" if digit != number[place] and (place or digit != "0")]
    return number[:place] + digits[chance // 64 % len(digits)] + number[place + 1 :]


def _ordinal_suffix(number: str) -> str:
    return "th" if number[-2:] in {"11", "12", "13"} else {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")


def _in_case_of(model: str, word: str) -> str:
    return word[0].upper() + word[1:] if model[0].isupper() else word


def _applied(text: str, edit: _Edit) -> str:
    """The text after an edit; "a" and "an" before it follow the word's first letter."""
    before = text[: edit.begin]
    article = re.search(r"(?<!\w)([Aa])n? $", before)
    if article and edit.text[:1].isalpha():
        before = before[: article.start()] + article[1] + ("n " if edit.text[0] in "aeiouAEIOU" else " ")
    return before + edit.text + text[edit.end :]


def _draw(*parts: object) -> int:
    """A number that looks drawn by chance and depends on nothing but the parts."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")
