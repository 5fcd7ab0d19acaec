"""A crawl's sentences of one language and the ids seen before it in, its new distinct sentences out."""

from __future__ import annotations

from typing import cast

import polars as pl
import pyarrow as pa

from storage.schemas import conform


def unique_sentences(sentences: pa.Table, seen: pa.Table) -> pa.Table:
    """Return each sentence once, if no earlier crawl had it, in the order of the ids.

    The first occurrence is the one with the smallest (doc_id, position), so the result depends neither on the order of
    the rows nor on how they were sharded.

    Args:
        sentences: a table of the `sentences` schema.
        seen: the sentence_id column of the `unique_sentences` of all earlier crawls.

    Returns:
        A table of the `unique_sentences` schema.
    """
    frame = cast("pl.DataFrame", pl.from_arrow(sentences))
    known = cast("pl.DataFrame", pl.from_arrow(seen.select(["sentence_id"])))
    new = frame.join(known, on="sentence_id", how="anti").sort("sentence_id", "doc_id", "position")
    firsts = new.group_by("sentence_id", maintain_order=True).agg(
        pl.exclude("sentence_id").first(), occurrences=pl.len().cast(pl.Int32)
    )
    return conform("unique_sentences", firsts.to_arrow())
