"""Bitext in, a language-balanced sample of its sentences out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import polars as pl
import pyarrow as pa

Quota = Callable[[Mapping[str, int]], Mapping[str, int]]


def balanced_sample(bitext: pa.Table, quota: Quota) -> pa.Table:
    """Return columns (language, text) of distinct sentences, evenly spread over each language's sentences.

    Args:
        bitext: a table of the `bitext` schema.
        quota: from distinct sentences per language to sentences wanted of each.
    """
    pairs = cast("pl.DataFrame", pl.from_arrow(bitext))
    sides = [pairs.select(language=pl.col(f"{side}_language"), text=pl.col(side)) for side in ("source", "target")]
    sentences = pl.concat(sides).unique(maintain_order=True)
    counts = dict(sentences.group_by("language", maintain_order=True).len().iter_rows())
    wanted = pl.DataFrame({"language": list(counts), "wanted": [quota(counts)[language] for language in counts]})
    place, total = pl.int_range(pl.len()).over("language"), pl.len().over("language").cast(pl.Int64)
    quotas = pl.col("wanted").cast(pl.Int64)
    taken = (place + 1) * quotas // total > place * quotas // total  # where the running quota grows by one
    joined = sentences.join(wanted, on="language", how="left", maintain_order="left")
    return joined.filter(taken).select("language", "text").to_arrow()
