"""Sentence pairs in, a score per pair and filter out: each filter is its settings, `score` and `accept`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.filters.language_agreement import LanguageAgreement
from tasks.filters.length_ratio import LengthRatio
from tasks.filters.letter_share import LetterShare
from tasks.filters.number_match import NumberMatch
from tasks.filters.overlap import Overlap

# A new filter: one file in this folder, and its name here.
PairFilter = Annotated[
    LengthRatio | LanguageAgreement | Overlap | NumberMatch | LetterShare, Field(discriminator="kind")
]

__all__ = ["LanguageAgreement", "LengthRatio", "LetterShare", "NumberMatch", "Overlap", "PairFilter"]
