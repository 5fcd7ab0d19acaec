"""Sentence pairs in, the share of their numbers that have a partner out."""

from __future__ import annotations

import functools
import unicodedata
from typing import Annotated, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings

# Groups of thousands with the separators of Unicode's locale data (CLDR), and lakhs; anything else ends a number. So
# 1,000.50, 1.000,50 and 1 000,50 are all {1000, 50}, a date is its parts, and 3.5 and 3,5 are {3, 5}.
_SEPARATORS = r".,'\u{2019}\u{66b}\u{66c}\u{20}\u{a0}\u{2009}\u{202f}"
_NUMBER = rf"\b\d{{1,3}}(?:[{_SEPARATORS}]\d{{3}})+\b|\b\d{{1,2}}(?:,\d{{2}})+,\d{{3}}\b|\d+"


class NumberMatch(Settings):
    """Numbers that both sides have over the numbers of the side with more, repetitions counted; 1 without numbers.

    Numbers are compared as their digits in whatever script and grouping; those written as words or counted in
    ten-thousands have no partner, so the limit (OpusFilter's for numerals) asks for half: 1.9 % of WMT news pairs are
    below it.
    """

    kind: Literal["number_match"] = "number_match"
    limit: Annotated[float, Field(ge=0, le=1, description="Least share of numbers that have a partner")] = 0.5

    def score(self, pairs: pa.Table) -> np.ndarray:
        """Share of matched numbers (n,) float32, 0 to 1."""
        rows = pl.DataFrame(pairs.select(["source", "target"])).with_row_index("row")
        sides = [_numbers(rows, side) for side in ("source", "target")]
        totals = pl.concat(side.group_by("row").agg(pl.col("times").sum()) for side in sides)
        most = totals.group_by("row").agg(pl.col("times").max())
        both = sides[0].join(sides[1], on=["row", "number"]).group_by("row")
        matched = both.agg(pl.min_horizontal("times", "times_right").sum().alias("matched"))
        scored = most.join(matched, on="row", how="left").with_columns(pl.col("matched").fill_null(0))
        scores = np.ones(pairs.num_rows, np.float32)
        scores[scored["row"].to_numpy()] = (scored["matched"] / scored["times"]).cast(pl.Float32).to_numpy()
        return scores

    def accept(self, scores: np.ndarray) -> np.ndarray:
        """Which scores are good enough."""
        return np.asarray(scores >= np.float32(self.limit))


@functools.cache
def _ascii_digits() -> dict[str, str]:
    """Decimal digits of all scripts, and what they are worth."""
    characters = map(chr, range(0x80, 0x40000))  # further planes are unassigned, or hold no digits
    return {digit: str(unicodedata.decimal(digit)) for digit in characters if unicodedata.category(digit) == "Nd"}


def _numbers(rows: pl.DataFrame, side: str) -> pl.DataFrame:
    """Columns row, number (plain ASCII digits) and times for each different number of each text."""
    found = (
        rows.filter(pl.col(side).str.contains(r"\d"))
        .select("row", pl.col(side).str.replace_many(_ascii_digits()).str.extract_all(_NUMBER).alias("number"))
        .explode("number")
    )
    plain = pl.col("number").str.replace_all(r"\D", "").str.strip_chars_start("0")
    return found.with_columns(plain).group_by("row", "number").agg(pl.len().cast(pl.Int64).alias("times"))
