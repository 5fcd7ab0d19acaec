"""Sentence pairs in, how many times longer the longer side is out."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings

# A character of these stands for a syllable or a word, as its three bytes of UTF-8 roughly do.
_DENSE_SCRIPTS = ["Hani", "Hans", "Hant", "Jpan", "Hira", "Kana", "Kore", "Hang"]


class LengthRatio(Settings):
    """Longer side over shorter side in characters, or in bytes where either side is Chinese, Japanese or Korean.

    Infinite where one side is empty. The limit is that of bicleaner's hard rules.
    """

    kind: Literal["length_ratio"] = "length_ratio"
    limit: Annotated[float, Field(ge=1, description="Largest ratio of the lengths of a pair")] = 3.0

    def score(self, pairs: pa.Table) -> np.ndarray:
        """Ratio of the longer to the shorter side (n,) float32, at least 1."""
        frame = pl.DataFrame(pairs.select(["source", "target", "source_language", "target_language"]))
        dense = pl.any_horizontal(
            pl.col(column).str.split("_").list.last().is_in(_DENSE_SCRIPTS)
            for column in ("source_language", "target_language")
        )
        lengths = [
            pl.when(dense).then(text.str.len_bytes()).otherwise(text.str.len_chars()).cast(pl.Float64)
            for text in (pl.col("source").fill_null(""), pl.col("target").fill_null(""))
        ]
        shorter = pl.min_horizontal(*lengths)
        ratio = pl.when(shorter > 0).then(pl.max_horizontal(*lengths) / shorter).otherwise(float("inf"))
        return frame.select(ratio.cast(pl.Float32)).to_series().to_numpy()

    def accept(self, scores: np.ndarray) -> np.ndarray:
        """Which scores are good enough."""
        return np.asarray(scores <= np.float32(self.limit))
