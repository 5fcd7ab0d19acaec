"""Documents with their scores in, the fate of each out: kept, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.schemas import conform
from tasks.filters.verdicts import first_refusals
from tasks.similarity.minhash import MinHashConfig
from tasks.text.quality import DOCUMENT_FILTERS, DocumentFilter


class SelectDocumentsConfig(Settings):
    """Which documents are good enough, and when two are the same."""

    filters: Annotated[list[DocumentFilter], Field(description="Asked in this order")] = DOCUMENT_FILTERS
    near_duplicates: Annotated[MinHashConfig | None, Field(description="null keeps near-duplicates")] = MinHashConfig()


def verdicts(
    reasons: pa.ChunkedArray, scores: Sequence[npt.NDArray[np.float32]], filters: Sequence[DocumentFilter]
) -> pa.Table:
    """Return reason, score and limit for each document; the reason is null for one that passes everything.

    A document that has no text keeps the reason of its extraction; otherwise the first filter that refuses it is named.

    Args:
        reasons: of the extraction; null where there is text.
        scores: one array per filter, row-aligned with the reasons.
        filters: in the order in which they are asked.
    """
    refused_by = first_refusals(len(reasons), scores, filters)
    usable = reasons.is_null().to_numpy()
    kinds = np.array([*(one.kind for one in filters), None], object)
    limits = np.array([*(one.limit for one in filters), np.nan], np.float32)
    decisive = np.stack([*scores, np.full(len(reasons), np.nan)])[refused_by, np.arange(len(reasons))]
    told = {"score": np.where(usable, decisive, np.nan), "limit": np.where(usable, limits[refused_by], np.nan)}
    reason = np.where(usable, kinds[refused_by], np.array(reasons.to_pylist(), object))
    floats = {name: pa.array(values, pa.float32(), mask=np.isnan(values)) for name, values in told.items()}
    return pa.table({"reason": pa.array(reason, pa.string()), **floats})


def split_by_fate(documents: pa.Table, languages: pa.Table, fates: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Cut a batch of documents into tables of the `kept_documents` and `rejected_documents` schemas.

    Args:
        documents: doc_id, url, alternates, title and text.
        languages: language and confidence, row-aligned.
        fates: reason, score, limit and duplicate_of, row-aligned; the reason is null for what is kept.
    """
    parts = (documents, languages.select(["language", "confidence"]), fates)
    frame = pl.concat([cast("pl.DataFrame", pl.from_arrow(part)) for part in parts], how="horizontal")
    kept, rejected = frame.filter(pl.col("reason").is_null()), frame.filter(pl.col("reason").is_not_null())
    return conform("kept_documents", kept.to_arrow()), conform("rejected_documents", rejected.to_arrow())
