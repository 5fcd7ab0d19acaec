"""Pairs found among all sentences and pairs found between matched documents in, one table of both out."""

from __future__ import annotations

from typing import Annotated, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from storage.fingerprint import Settings
from storage.ids import joined_ids
from storage.schemas import ID
from tasks.similarity.identifiers import flat, positions
from tasks.similarity.margin import compared, mean_cosines
from tasks.similarity.neighbour_tables import sides_of
from tasks.similarity.retrieval import MineConfig

BY_DOCUMENT = "document"


class LocalConfig(Settings):
    """Which links of single sentences between matched documents become pairs, and at which margin."""

    alignment: Annotated[float, Field(le=1, description="Least alignment score of a link")] = 0.25
    margin: Annotated[
        float, Field(description="Least margin, below the threshold of the others: there are fewer to be mistaken for")
    ] = 0.0


def merge_pairs(
    pairs: pa.Table, local: pa.Table, neighbours: pa.Table, mining: MineConfig, config: LocalConfig
) -> pa.Table:
    """All pairs of both kinds, each once, best margin first, with the columns of `pairs` and `alignment` (float32).

    A pair that both found has "+document" after what `found_by` said, one that only documents have "document".
    `alignment` is the best of a pair's links, and null where documents do not have it. The margin is in either case
    over the sentences' neighbourhoods among all sentences.

    Args:
        pairs: what `mine` gave; an `alignment` that is there already is replaced.
        local: `local_pairs`; links of several sentences are passed over.
        neighbours: the merged `neighbours` table that `mine` had.
        mining: with the margin's kind, k and the largest margin.
        config: which links are good enough.
    """
    pairs = pairs.select([name for name in pairs.column_names if name != "alignment"])
    links = _one_to_one(local, config)
    margin = _margins(links, neighbours, mining)
    links = links.append_column("margin", pa.array(margin, pa.float32()))
    good = margin >= np.float32(config.margin)
    if mining.maximum is not None:
        good &= margin <= np.float32(mining.maximum)
    links = links.filter(pa.array(good))
    known = positions(pairs["pair_id"], links["pair_id"])
    alignment = flat(links["alignment"]).take(pa.array(known, mask=known < 0))
    told = pc.if_else(
        pc.is_valid(alignment), pc.binary_join_element_wise(pairs["found_by"], BY_DOCUMENT, "+"), pairs["found_by"]
    )
    place = pairs.schema.get_field_index("found_by")
    both = pairs.set_column(place, "found_by", told).append_column("alignment", alignment)
    new = links.filter(pa.array(positions(links["pair_id"], pairs["pair_id"]) < 0))
    new = new.append_column("found_by", pa.repeat(pa.scalar(BY_DOCUMENT), new.num_rows)).select(both.column_names)
    merged = pa.concat_tables([both, new.cast(both.schema)])
    order = [("margin", "descending"), ("cosine", "descending"), ("source_id", "ascending"), ("target_id", "ascending")]
    frame = cast("pl.DataFrame", pl.from_arrow(merged.select([name for name, _ in order])))
    rows = frame.with_row_index("row").sort([name for name, _ in order], descending=[True, True, False, False])["row"]
    return merged.take(rows.to_arrow()).combine_chunks()


def _one_to_one(local: pa.Table, config: LocalConfig) -> pa.Table:
    """The good links of one sentence with one, each pair once, with its best alignment: pair_id, ids, scores."""
    is_single = pc.and_(*(pc.equal(pc.list_value_length(local[f"{side}_ids"]), 1) for side in ("source", "target")))
    is_good = pc.greater_equal(local["alignment"], pa.scalar(config.alignment, pa.float32()))
    links = local.filter(pc.and_(is_single, is_good))
    sides = {f"{side}_id": flat(links[f"{side}_ids"]).flatten() for side in ("source", "target")}
    table = pa.table(sides | {name: links[name] for name in ("cosine", "alignment")})
    frame = cast("pl.DataFrame", pl.from_arrow(table)).group_by("source_id", "target_id").agg(pl.all().max())
    distinct = frame.sort("source_id", "target_id").to_arrow()
    ids = {name: flat(distinct[name].cast(ID)) for name in sides}
    scores = {name: distinct[name] for name in ("cosine", "alignment")}
    return pa.table({"pair_id": joined_ids(*ids.values())} | ids | scores)


def _margins(links: pa.Table, neighbours: pa.Table, mining: MineConfig) -> np.ndarray:
    """Margin (float32) of each link, as `margins` gives those on the lists; -inf where a sentence is not known."""
    source_ids, target_ids, found = sides_of(neighbours, mining.k)
    rows = positions(links["source_id"], source_ids), positions(links["target_id"], target_ids)
    own, others = (np.append(mean_cosines(side), 0.0)[row] for side, row in zip(found, rows, strict=True))
    margin = compared(flat(links["cosine"]).to_numpy(), own, others, mining.margin)
    return np.where((rows[0] >= 0) & (rows[1] >= 0), margin, np.float32(-np.inf))
