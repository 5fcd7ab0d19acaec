"""Documents of two languages in, which of them translate each other out: by their addresses and by what they say."""

from __future__ import annotations

from typing import Annotated, cast

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.schemas import ID, check, empty
from tasks.similarity.compiled import compiled
from tasks.similarity.document_addresses import neutral_addresses
from tasks.similarity.identifiers import flat, ranks
from tasks.similarity.neighbours import search
from tasks.similarity.ranking import cosine_of

SAME_ADDRESS = 8  # documents a side of one address, above which nothing is made of it
DOCUMENTS_OF_HOST = 50_000  # a side, above which only addresses are compared: 6 TFLOP at 1,024 dimensions

_Similarity = Annotated[float, Field(ge=-1, le=1)]


class MatchConfig(Settings):
    """Which documents of one crawl are each other's translation; both are always on one host."""

    by_url: Annotated[bool, Field(description="Match addresses that are equal but for the language in them")] = True
    by_similarity: Annotated[bool, Field(description="Match each other's nearest documents of a host")] = True
    least_url_similarity: Annotated[
        _Similarity, Field(description="Least cosine of two documents' mean vectors where their addresses match")
    ] = 0.3
    least_similarity: Annotated[
        _Similarity, Field(description="Least cosine of two documents' mean vectors where nothing else is known")
    ] = 0.6


def pages(documents: pa.Table, languages: tuple[str, str]) -> pa.Table:
    """The documents of two languages with their host and address, both without what in them names the language.

    Args:
        documents: a table with doc_id, language and url.
        languages: labels of source and target.

    Returns:
        doc_id, is_target, site and address; the documents without a usable address are left out.
    """
    frame = cast("pl.DataFrame", pl.from_arrow(documents.select(["doc_id", "language", "url"])))
    sides = []
    for is_target, language in enumerate(languages):
        rows = frame.filter(pl.col("language") == language)
        found = rows.select("doc_id", pl.lit(bool(is_target)).alias("is_target"))
        sides.append(found.hstack(neutral_addresses(rows["url"], language)))
    return _with_ids(pl.concat(sides).filter(pl.col("address").is_not_null()))


def with_prospects(found: pa.Table, config: MatchConfig) -> pa.Table:
    """The pages that may have a partner, those of one site together: their address or site is on both sides."""
    frame = cast("pl.DataFrame", pl.from_arrow(found))
    shared = "site" if config.by_similarity else "address"
    is_shared = pl.col("is_target").n_unique().over(shared) == 2
    return _with_ids(frame.filter(is_shared).sort("site", "doc_id"))


def _with_ids(frame: pl.DataFrame) -> pa.Table:
    table = frame.to_arrow()
    place = table.schema.get_field_index("doc_id")
    return table.set_column(place, "doc_id", table["doc_id"].cast(ID))


def centroids(vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Normalised mean (n, d) float32 of each document's vectors; zeros where there is none.

    Args:
        vectors: of all sentences, float16 or float32, those of each document together.
        starts: (n + 1,) where each document starts, and the end.
    """
    return _centroids(np.ascontiguousarray(vectors, dtype=np.float32), starts)


@compiled
def _centroids(vectors: np.ndarray, starts: np.ndarray) -> np.ndarray:
    means = np.zeros((len(starts) - 1, vectors.shape[1]), np.float32)
    total = np.empty(vectors.shape[1])
    for document in range(len(means)):
        total[:] = 0.0
        for row in range(starts[document], starts[document + 1]):
            for column in range(len(total)):
                total[column] += vectors[row, column]
        square = 0.0
        for column in range(len(total)):
            square += total[column] * total[column]
        if square > 0.0:
            for column in range(len(total)):
                means[document, column] = total[column] / np.sqrt(square)
    return means


def match(found: pa.Table, means: np.ndarray, config: MatchConfig) -> pa.Table:
    """The pairs of documents that translate each other, in the `document_pairs` schema, each document at most once.

    Addresses come first: one that each side has once makes a pair, one that a side has more often the pairs of which
    either is the other's nearest. Of all others of a site those make a pair that are each other's nearest. Ties are in
    the order of ids, and so are the pairs.

    Args:
        found: pages, in any order.
        means: the pages' centroids (n, d).
        config: what is asked of a pair.
    """
    places = ranks(found["doc_id"])
    is_target = flat(found["is_target"]).to_numpy(zero_copy_only=False)
    pairs = [_by_address(found, means, places, config)] if config.by_url else []
    if config.by_similarity:
        free = np.ones(len(places), np.bool_)
        for taken in pairs:
            free[taken["source"].to_numpy()] = free[taken["target"].to_numpy()] = False
        sites = cast("pl.DataFrame", pl.from_arrow(found.select(["site"])))["site"].rank("dense").to_numpy()
        pairs.append(_by_nearness((sites, is_target, free), means, places, config.least_similarity))
    every = pl.concat([_EDGES.clear(), *pairs])
    every = every[np.argsort(places[every["source"].to_numpy()])]
    ids = flat(found["doc_id"])
    sides = (ids.take(every[side].to_arrow()) for side in ("source", "target"))
    columns = [*sides, every["matched_by"].to_arrow().cast(pa.string()), every["similarity"].to_arrow()]
    return check("document_pairs", pa.Table.from_arrays(columns, schema=empty("document_pairs").schema))


_EDGES = pl.DataFrame(
    schema={"source": pl.Int64, "target": pl.Int64, "matched_by": pl.String, "similarity": pl.Float32}
)


def _edges(source: np.ndarray, target: np.ndarray, similarity: np.ndarray, matched_by: str) -> pl.DataFrame:
    columns = {"source": source, "target": target, "similarity": similarity}
    return pl.DataFrame(columns).with_columns(matched_by=pl.lit(matched_by)).select(_EDGES.columns).cast(_EDGES.schema)


def _by_address(found: pa.Table, means: np.ndarray, places: np.ndarray, config: MatchConfig) -> pl.DataFrame:
    """The pairs of rows whose addresses are equal, where there is no doubt which."""
    rows = cast("pl.DataFrame", pl.from_arrow(found.select(["is_target", "address"]))).with_row_index("row")
    sides = [
        rows.filter(pl.col("is_target") == is_target).with_columns(pl.len().over("address").alias("count"))
        for is_target in (False, True)
    ]
    few = [side.filter(pl.col("count") <= SAME_ADDRESS) for side in sides]
    both = few[0].join(few[1], on="address", suffix="_target").sort("row", "row_target")
    source, target = (both[name].cast(pl.Int64).to_numpy() for name in ("row", "row_target"))
    edges = _edges(source, target, _cosines(means, source, target), "url")
    is_single = (both["count"] == 1) & (both["count_target"] == 1)
    least = pl.select(pl.when(is_single).then(config.least_url_similarity).otherwise(config.least_similarity))
    return _mutual(edges.filter(edges["similarity"] >= least.to_series()), places)


def _mutual(edges: pl.DataFrame, places: np.ndarray) -> pl.DataFrame:
    """The edges that are the best of both their ends."""
    order = np.lexsort(
        (
            places[edges["target"].to_numpy()],
            places[edges["source"].to_numpy()],
            -edges["similarity"].to_numpy(),
        )
    )
    ranked = edges[order].with_row_index("place")
    firsts = [ranked.unique(side, keep="first", maintain_order=True)["place"] for side in ("source", "target")]
    return ranked.filter(pl.col("place").is_in(firsts[0]) & pl.col("place").is_in(firsts[1])).drop("place")


@compiled
def _cosines(means: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    cosines = np.empty(len(source), np.float32)
    for pair in range(len(source)):
        cosines[pair] = cosine_of(means[source[pair]], means[target[pair]])
    return cosines


def _by_nearness(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], means: np.ndarray, places: np.ndarray, least: float
) -> pl.DataFrame:
    """The pairs of free rows that are each other's nearest of their site, if near enough.

    Args:
        rows: of each page its site as a number, whether it is a target, and whether it is free.
        means: the pages' centroids.
        places: of the pages' ids in order.
        least: least cosine.
    """
    sites, is_target, free = rows
    open_rows = np.flatnonzero(free)
    open_rows = open_rows[np.argsort(sites[open_rows], kind="stable")]
    pairs = [_EDGES.clear()]
    for some in np.split(open_rows, np.flatnonzero(np.diff(sites[open_rows])) + 1):
        source, target = some[~is_target[some]], some[is_target[some]]
        if min(len(source), len(target)) == 0 or max(len(source), len(target)) > DOCUMENTS_OF_HOST:
            continue
        nearest = search(means[source], means[target], (places[source], places[target]), 1)
        forward, backward = nearest.forward.rows[:, 0], nearest.backward.rows[:, 0]
        mutual = (forward >= 0) & (backward[forward] == np.arange(len(source)))
        mutual &= nearest.forward.cosines[:, 0] >= np.float32(least)
        pairs.append(_edges(source[mutual], target[forward[mutual]], nearest.forward.cosines[mutual, 0], "similarity"))
    return pl.concat(pairs)
