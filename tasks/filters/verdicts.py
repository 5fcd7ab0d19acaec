"""Scores and filters in, the first filter that refuses each row out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from storage.schemas import conform

PASSED = -1
LIMITS = frozenset({"limit", "least"})  # settings of filters that change what is accepted, but no score


class Accepts(Protocol):
    """What documents' and pairs' filters have in common."""

    @property
    def kind(self) -> str:
        """Name of the filter, which is the reason of a rejection."""

    def accept(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Say which scores are good enough."""


def first_refusals(
    rows: int, scores: Sequence[npt.NDArray[np.float32]], filters: Sequence[Accepts]
) -> npt.NDArray[np.int32]:
    """Return for each row the place of the first filter that refuses it, or PASSED.

    Raises:
        ValueError: if there are not as many scores as filters and rows.
    """
    refused_by = np.full(rows, PASSED, np.int32)
    for place, (one, values) in enumerate(zip(filters, scores, strict=True)):
        if len(values) != rows:
            raise ValueError(f"{one.kind}: {len(values)} scores for {rows} rows")
        refused_by[(refused_by == PASSED) & ~one.accept(values)] = place
    return refused_by


def split_pairs(
    pairs: pa.Table, scores: Sequence[npt.NDArray[np.float32]], filters: Sequence[Accepts], limits: Sequence[str]
) -> tuple[pa.Table, pa.Table]:
    """Cut pairs with their texts and origins into tables of the `corpus` and `rejected_pairs` schemas.

    Args:
        pairs: in the order of the scores.
        scores: one array per filter.
        filters: in the order in which they are asked.
        limits: what each filter demands, in words or JSON, for those who read the rejected ones.
    """
    refused_by = first_refusals(pairs.num_rows, scores, filters)
    frame = cast("pl.DataFrame", pl.from_arrow(pairs)).with_columns(refused_by=pl.Series(refused_by))
    kept = frame.filter(pl.col("refused_by") == PASSED).sort("margin", "pair_id", descending=[True, False])
    told = pl.DataFrame(
        {
            "refused_by": np.arange(len(filters), dtype=np.int32),
            "filter": [one.kind for one in filters],
            "limit": list(limits),
        },
        schema={"refused_by": pl.Int32, "filter": pl.String, "limit": pl.String},
    )
    table = np.stack([*scores, np.zeros(pairs.num_rows, np.float32)]) if scores else np.zeros((1, pairs.num_rows))
    decisive = table[refused_by, np.arange(pairs.num_rows)]
    rejected = frame.with_columns(score=pl.Series(decisive)).join(told, on="refused_by", maintain_order="left")
    return conform("corpus", kept.to_arrow()), conform("rejected_pairs", rejected.to_arrow())
