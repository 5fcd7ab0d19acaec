"""Documents of two languages in, which translate each other out: by their links, addresses and what they say."""

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
from tasks.text.removals import normal_urls

SAME_ADDRESS = 8  # documents a side of one address, or that one address links to, above which nothing is made of it
DOCUMENTS_OF_HOST = 50_000  # a side, above which only addresses are compared: 6 TFLOP at 1,024 dimensions

_Similarity = Annotated[float, Field(ge=-1, le=1)]


class MatchConfig(Settings):
    """Which documents of one crawl are each other's translation; on one host, unless one links to the other."""

    by_hreflang: Annotated[bool, Field(description="Match pages of which one links to the other as itself")] = True
    by_url: Annotated[bool, Field(description="Match addresses that are equal but for the language in them")] = True
    by_similarity: Annotated[bool, Field(description="Match each other's nearest documents of a host")] = True
    least_url_similarity: Annotated[
        _Similarity, Field(description="Least cosine of two documents' mean vectors where links or addresses match")
    ] = 0.3
    least_similarity: Annotated[
        _Similarity, Field(description="Least cosine of two documents' mean vectors where nothing else is known")
    ] = 0.6


def pages(documents: pa.Table, languages: tuple[str, str]) -> pa.Table:
    """The documents of two languages with their host and address, both without what in them names the language.

    Args:
        documents: a table with doc_id, language, url and alternates.
        languages: labels of source and target.

    Returns:
        doc_id, is_target, page (the address as links to it are compared), alternates, site and address; the documents
        without a usable address are left out.
    """
    frame = cast("pl.DataFrame", pl.from_arrow(documents.select(["doc_id", "language", "url", "alternates"])))
    frame = frame.with_columns(_comparable(frame["url"]).alias("page"))
    sides = []
    for is_target, language in enumerate(languages):
        rows = frame.filter(pl.col("language") == language)
        found = rows.select("doc_id", pl.lit(bool(is_target)).alias("is_target"), "page", "alternates")
        sides.append(found.hstack(neutral_addresses(rows["url"], language)))
    return _with_ids(pl.concat(sides).filter(pl.col("address").is_not_null()))


def with_prospects(found: pa.Table, config: MatchConfig) -> pa.Table:
    """The pages that may have a partner, those of one site together: a link, or a site or address on both sides."""
    frame = cast("pl.DataFrame", pl.from_arrow(found)).with_row_index("row")
    shared = "site" if config.by_similarity else "address"
    is_hopeful = pl.col("is_target").n_unique().over(shared) == 2
    if config.by_hreflang:
        links = _links(frame)
        is_hopeful |= pl.col("row").is_in(pl.concat([links["row"], links["row_target"]]).implode())
    return _with_ids(frame.filter(is_hopeful).drop("row").sort("site", "doc_id"))


def _comparable(urls: pl.Series) -> pl.Series:
    """Addresses without scheme, fragment and final slash, in which links are often wrong."""
    return normal_urls(urls).str.replace("^https?://", "").str.strip_chars_end("/")


def _links(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows (row, row_target) of pages of both sides of which at least one links to the other.

    Args:
        frame: pages with the number `row` of each.
    """
    named = frame.select("row", "is_target", "alternates").explode("alternates").drop_nulls()
    named = named.with_columns(_comparable(named["alternates"]).alias("page"))
    known = frame.select("row", "is_target", "page").filter(pl.len().over("is_target", "page") <= SAME_ADDRESS)
    there = known.with_columns(~pl.col("is_target"))
    met = named.join(there, on=["is_target", "page"], suffix="_linked")
    source = pl.when("is_target").then("row_linked").otherwise("row").alias("row")
    target = pl.when("is_target").then("row").otherwise("row_linked").alias("row_target")
    return met.select(source, target).unique().sort("row", "row_target")


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

    Links come first, of which each page has its nearest. Then addresses: one that each side has once makes a pair, one
    that a side has more often the pairs of which either is the other's nearest. Of all others of a site those make a
    pair that are each other's nearest. Ties are in the order of ids, and so are the pairs.

    Args:
        found: pages, in any order.
        means: the pages' centroids (n, d).
        config: what is asked of a pair.
    """
    places = ranks(found["doc_id"])
    frame = cast("pl.DataFrame", pl.from_arrow(found)).with_row_index("row")
    free = np.ones(len(places), np.bool_)
    every = _EDGES.clear()
    for is_asked, find in (
        (config.by_hreflang, _by_links),
        (config.by_url, _by_address),
        (config.by_similarity, _by_nearness),
    ):
        if is_asked:
            every.extend(find(frame.filter(free), means, places, config))
            free[every["source"].to_numpy()] = free[every["target"].to_numpy()] = False
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


def _by_links(rows: pl.DataFrame, means: np.ndarray, places: np.ndarray, config: MatchConfig) -> pl.DataFrame:
    """The pairs of rows of which one links to the other, the nearest where there are several."""
    links = _links(rows)
    source, target = (links[name].cast(pl.Int64).to_numpy() for name in ("row", "row_target"))
    edges = _edges(source, target, _cosines(means, source, target), "hreflang")
    return _mutual(edges.filter(pl.col("similarity") >= config.least_url_similarity), places)


def _by_address(rows: pl.DataFrame, means: np.ndarray, places: np.ndarray, config: MatchConfig) -> pl.DataFrame:
    """The pairs of rows whose addresses are equal, where there is no doubt which."""
    sides = [
        rows.select("row", "is_target", "address")
        .filter(pl.col("is_target") == is_target)
        .with_columns(pl.len().over("address").alias("count"))
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


def _by_nearness(rows: pl.DataFrame, means: np.ndarray, places: np.ndarray, config: MatchConfig) -> pl.DataFrame:
    """The pairs of rows that are each other's nearest of their site, if near enough."""
    rows = rows.select("row", "is_target", "site").sort("site", maintain_order=True)
    numbers, is_target = rows["row"].cast(pl.Int64).to_numpy(), rows["is_target"].to_numpy()
    pairs = [_EDGES.clear()]
    for some in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows["site"].rle_id().to_numpy())) + 1):
        source, target = numbers[some[~is_target[some]]], numbers[some[is_target[some]]]
        if min(len(source), len(target)) == 0 or max(len(source), len(target)) > DOCUMENTS_OF_HOST:
            continue
        nearest = search(means[source], means[target], (places[source], places[target]), 1)
        forward, backward = nearest.forward.rows[:, 0], nearest.backward.rows[:, 0]
        mutual = (forward >= 0) & (backward[forward] == np.arange(len(source)))
        mutual &= nearest.forward.cosines[:, 0] >= np.float32(config.least_similarity)
        pairs.append(_edges(source[mutual], target[forward[mutual]], nearest.forward.cosines[mutual, 0], "similarity"))
    return pl.concat(pairs)
