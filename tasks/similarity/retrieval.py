"""Neighbours in both directions in, the pairs of sentences that translate each other out."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.ids import joined_ids
from storage.schemas import check, empty
from tasks.similarity.compiled import compiled
from tasks.similarity.identifiers import ranks
from tasks.similarity.margin import Margin, margins
from tasks.similarity.neighbour_tables import sides_of
from tasks.similarity.neighbours import BLOCK_ROWS, Neighbours, search

_FOUND_BY = ("forward", "backward", "both")


class MineConfig(Settings):
    """Which neighbours are pairs.

    The defaults are LASER's for BUCC (ratio, max, k = 4). A threshold belongs to one encoder and one k; the default
    lies between the best of the default encoder for Russian (1.13) and for German news (1.18): docs/evaluation.md.
    """

    margin: Annotated[Margin, Field(description="How a cosine is compared with those of the neighbourhoods")] = "ratio"
    retrieval: Annotated[
        Literal["forward", "backward", "intersection", "max"],
        Field(description="Best target of each source, best source of each target, both, or the union one-to-one"),
    ] = "max"
    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per side")] = 4
    threshold: Annotated[float, Field(description="Least margin of a pair, whatever the retrieval")] = 1.15
    maximum: Annotated[
        float | None, Field(description="Largest margin of a pair; the top of the list is often junk, not translation")
    ] = None


class _Pairs(NamedTuple):
    source_rows: np.ndarray
    target_rows: np.ndarray
    cosine: np.ndarray
    margin: np.ndarray
    found_by: np.ndarray  # index into _FOUND_BY


def mine(neighbours: pa.Table, config: MineConfig) -> pa.Table:
    """The pairs in a merged `neighbours` table, best first, in the `pairs` schema.

    Ties of the margin are in the order of cosine, source id and target id. `found_by` says which sentence, if not
    both, has the other as its best. `maximum` takes pairs away; their sentences do not get a second choice.

    Raises:
        ValueError: if the table is not of both sides or not merged.
    """
    source_ids, target_ids, found = sides_of(neighbours, config.k)
    pairs = _mine(found, ranks(source_ids), ranks(target_ids), config)
    sources, targets = source_ids.take(pa.array(pairs.source_rows)), target_ids.take(pa.array(pairs.target_rows))
    found_by = pa.DictionaryArray.from_arrays(pa.array(pairs.found_by), list(_FOUND_BY)).cast(pa.string())
    columns = [joined_ids(sources, targets), sources, targets, pa.array(pairs.cosine), pa.array(pairs.margin), found_by]
    return check("pairs", pa.Table.from_arrays(columns, schema=empty("pairs").schema))


def mine_vectors(
    source: np.ndarray, target: np.ndarray, config: MineConfig, *, block_rows: int = BLOCK_ROWS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source rows, target rows, cosines and margins of the pairs between two arrays of L2-normalised vectors.

    As `mine`, with row numbers in place of ids.
    """
    places = np.arange(len(source)), np.arange(len(target))
    found = search(source, target, places, config.k, block_rows=block_rows)
    pairs = _mine(found, *places, config)
    return pairs.source_rows, pairs.target_rows, pairs.cosine, pairs.margin


def _mine(found: Neighbours, source_places: np.ndarray, target_places: np.ndarray, config: MineConfig) -> _Pairs:
    pairs = _retrieve(found, config)
    pairs = _select(pairs, pairs.margin >= np.float32(config.threshold))
    order = np.lexsort(
        (target_places[pairs.target_rows], source_places[pairs.source_rows], -pairs.cosine, -pairs.margin)
    )
    pairs = _select(pairs, order)
    if config.retrieval == "max":
        free = np.ones(len(source_places), np.bool_), np.ones(len(target_places), np.bool_)
        pairs = _select(pairs, _one_to_one(pairs.source_rows, pairs.target_rows, *free))
    if config.maximum is not None:
        pairs = _select(pairs, pairs.margin <= np.float32(config.maximum))
    return pairs


def _retrieve(found: Neighbours, config: MineConfig) -> _Pairs:
    """The best neighbours of each side that the retrieval asks for, without order or limits."""
    forward_margins, backward_margins = margins(found, config.margin)
    target, forward_cosine, forward_margin = _best(found.forward.rows, found.forward.cosines, forward_margins)
    source, backward_cosine, backward_margin = _best(found.backward.rows, found.backward.cosines, backward_margins)
    forward_both = _returned(target, source)
    backward_both = _returned(source, target)
    forward = _Pairs(np.arange(len(target)), target, forward_cosine, forward_margin, np.where(forward_both, 2, 0))
    backward = _Pairs(source, np.arange(len(source)), backward_cosine, backward_margin, np.where(backward_both, 2, 1))
    forward, both = _select(forward, target >= 0), _select(forward, forward_both)
    if config.retrieval == "forward":
        return forward
    if config.retrieval == "intersection":
        return both
    if config.retrieval == "backward":
        return _select(backward, source >= 0)
    only_backward = _select(backward, (source >= 0) & ~backward_both)
    return _Pairs(*(np.concatenate(columns) for columns in zip(forward, only_backward, strict=True)))


def _best(rows: np.ndarray, cosines: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbour, cosine and margin of each row's best margin; the first of equals is that of the highest cosine."""
    column = np.argmax(margin, axis=1)[:, None]
    picked = (np.take_along_axis(array, column, axis=1)[:, 0] for array in (rows, cosines, margin))
    return next(picked), next(picked), next(picked)


def _returned(mine_of: np.ndarray, theirs_of: np.ndarray) -> np.ndarray:
    """Whether the best of each row has that row as its own best."""
    if not len(theirs_of):
        return np.zeros(len(mine_of), np.bool_)
    return np.asarray((mine_of >= 0) & (theirs_of[mine_of] == np.arange(len(mine_of))))


def _select(pairs: _Pairs, which: np.ndarray) -> _Pairs:
    return _Pairs(*(column[which] for column in pairs))


@compiled
def _one_to_one(
    source_rows: np.ndarray, target_rows: np.ndarray, free_source: np.ndarray, free_target: np.ndarray
) -> np.ndarray:
    """Which pairs remain if, best first, a pair is taken when both its sentences are still free."""
    taken = np.zeros(len(source_rows), np.bool_)
    for pair in range(len(source_rows)):
        source, target = source_rows[pair], target_rows[pair]
        taken[pair] = free_source[source] and free_target[target]
        if taken[pair]:
            free_source[source] = False
            free_target[target] = False
    return taken
