"""Pairs of ids and the sentences that they name in, pairs with texts and origins out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import polars as pl
import pyarrow as pa


def texts_of_pairs(
    pairs: pa.Table, sources: Iterable[pa.Table], targets: Iterable[pa.Table], languages: tuple[str, str]
) -> pa.Table:
    """Join the texts of both sides to pairs, in the order of the pairs.

    Args:
        pairs: a table with source_id and target_id.
        sources: the source language's `unique_sentences`, in batches; only what some pair names stays in memory.
        targets: the target language's.
        languages: labels of source and target.

    Returns:
        The pairs' columns with source, target, source_language, target_language, and for each side `_confidence`,
        `_doc_id` and `_position`.
    """
    frame = cast("pl.DataFrame", pl.from_arrow(pairs))
    for side, batches, language in zip(("source", "target"), (sources, targets), languages, strict=True):
        named = frame.select(sentence_id=f"{side}_id").unique()
        texts = _matching(batches, named, "sentence_id").rename(
            {"sentence_id": f"{side}_id", "text": side}
            | {name: f"{side}_{name}" for name in ("confidence", "doc_id", "position")}
        )
        frame = frame.join(texts, on=f"{side}_id", how="left", maintain_order="left")
        frame = frame.with_columns(pl.lit(language).alias(f"{side}_language"))
    return frame.to_arrow()


def origins_of_pairs(pairs: pa.Table, documents: Iterable[pa.Table]) -> pa.Table:
    """Join url, crawl, file and offset of both sides' documents, in the order of the pairs.

    Args:
        pairs: a table with source_doc_id and target_doc_id.
        documents: `documents` in batches, with doc_id and these four columns.
    """
    frame = cast("pl.DataFrame", pl.from_arrow(pairs))
    named = pl.concat([frame.select(doc_id=f"{side}_doc_id") for side in ("source", "target")]).unique()
    origins = _matching(documents, named, "doc_id")
    for side in ("source", "target"):
        renamed = origins.rename({name: f"{side}_{name}" for name in origins.columns})
        frame = frame.join(renamed, on=f"{side}_doc_id", how="left", maintain_order="left")
    return frame.to_arrow()


def _matching(batches: Iterable[pa.Table], named: pl.DataFrame, key: str) -> pl.DataFrame:
    frames = [cast("pl.DataFrame", pl.from_arrow(batch)).join(named, on=key, how="semi") for batch in batches]
    return pl.concat(frames)
