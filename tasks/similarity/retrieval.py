"""Neighbours in both directions in, the pairs of sentences that translate each other out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.ids import joined_ids
from storage.schemas import check, empty
from tasks.similarity.compiled import compiled
from tasks.similarity.identifiers import positions, ranks
from tasks.similarity.judging import JudgeConfig, margins_by
from tasks.similarity.margin import (
    Candidates,
    Margin,
    Margins,
    compared,
    listed_candidates,
    margins,
    mean_cosines,
    without,
)
from tasks.similarity.neighbour_tables import Sides, sides_of
from tasks.similarity.neighbours import Neighbours, search
from tasks.similarity.ranking import cosines_of

Retrieval = Literal["forward", "backward", "intersection", "max", "union"]

# Between the best of the default encoder for Russian and for German news, k = 4: docs/evaluation.md.
DEFAULT_THRESHOLDS: dict[Margin, float] = {"ratio": 1.15, "distance": 0.07, "absolute": 0.53}
DEFAULT_THRESHOLD = DEFAULT_THRESHOLDS["ratio"]

_FOUND_BY = ("forward", "backward", "both")


class MarginConfig(Settings):
    """How neighbours are compared, and which of them are chosen; the defaults are LASER's for BUCC."""

    margin: Annotated[Margin, Field(description="How a cosine is compared with those of the neighbourhoods")] = "ratio"
    retrieval: Annotated[
        Retrieval,
        Field(
            description="Best target of each source, best source of each target, pairs that are both, either (union), "
            "or the best of those one-to-one (max)"
        ),
    ] = "max"
    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per side")] = 4


class MineConfig(MarginConfig):
    """Which neighbours are pairs. A threshold belongs to one encoder, one margin and one k."""

    threshold: Annotated[
        float | None,
        Field(description="Least margin of a pair, whatever the retrieval; null: what was calibrated, or the default"),
    ] = None
    maximum: Annotated[
        float | None, Field(description="Largest margin of a pair; the top of the list is often junk, not translation")
    ] = None

    @property
    def default_threshold(self) -> float:
        """Least margin of a pair where nothing says which: the default encoder's for this margin."""
        return DEFAULT_THRESHOLDS[self.margin]

    @property
    def is_judged(self) -> bool:
        """Whether a second judge gives the margins: a threshold for those of the search does not suit them."""
        return False

    @property
    def least(self) -> np.float32:
        """Least margin of a pair: the threshold, or the default where there is none."""
        return np.float32(self.default_threshold if self.threshold is None else self.threshold)


class _Pairs(NamedTuple):
    source_rows: np.ndarray
    target_rows: np.ndarray
    cosine: np.ndarray
    margin: np.ndarray
    found_by: np.ndarray  # index into _FOUND_BY


class Judgements(NamedTuple):
    """Scores of plausible pairs by a second judge, and who that was."""

    table: pa.Table  # pair_id, score
    config: JudgeConfig


def mine(
    neighbours: pa.Table,
    config: MineConfig,
    *,
    refused: pa.Table | None = None,
    judgements: Judgements | None = None,
) -> pa.Table:
    """The pairs in a merged `neighbours` table, best first, in the `pairs` schema.

    Ties of the margin are in the order of cosine, source id and target id. `found_by` says which sentence, if not
    both, has the other as its best. `maximum` takes pairs away; their sentences do not get a second choice.

    Args:
        neighbours: of both sides, merged.
        config: margin, retrieval, k and limits.
        refused: those of the `candidates` that cannot be chosen: their sentences get their next choice.
        judgements: a second judge's scores, by which the margins are then.

    Raises:
        ValueError: if the table is not of both sides or not merged, or the judgements are of another.
    """
    sides = sides_of(neighbours, config.k)
    source_ids, target_ids, found = sides
    margin = _margins(sides, config, judgements)
    if refused is not None:
        rows = positions(refused["source_id"], source_ids), positions(refused["target_id"], target_ids)
        margin = without(found, margin, rows)
    pairs = _choose(found, margin, (ranks(source_ids), ranks(target_ids)), config)
    found_by = pa.DictionaryArray.from_arrays(pa.array(pairs.found_by), list(_FOUND_BY)).cast(pa.string())
    columns = [*_id_columns(pairs, source_ids, target_ids), pa.array(pairs.cosine), pa.array(pairs.margin), found_by]
    columns.append(pa.nulls(len(found_by), pa.float32()))
    return check("pairs", pa.Table.from_arrays(columns, schema=empty("pairs").schema))


def candidates(neighbours: pa.Table, config: MineConfig, judgements: Judgements | None = None) -> pa.Table:
    """All neighbours of either side whose margin is high enough, each pair once: what may become a pair.

    Columns pair_id, source_id, target_id, cosine, margin; the order is that of the neighbours' rows.

    Raises:
        ValueError: if the table is not of both sides or not merged.
    """
    sides = sides_of(neighbours, config.k)
    source_ids, target_ids, found = sides
    listed = listed_candidates(found, _margins(sides, config, judgements), config.least)
    columns = [*_id_columns(listed, source_ids, target_ids), pa.array(listed.cosine), pa.array(listed.margin)]
    return pa.table(columns, names=["pair_id", "source_id", "target_id", "cosine", "margin"])


def _margins(sides: Sides, config: MineConfig, judgements: Judgements | None) -> Margins:
    margin = margins(sides.neighbours, config.margin)
    return margin if judgements is None else margins_by(judgements.table, sides, margin, judgements.config)


def mine_vectors(
    source: np.ndarray,
    target: np.ndarray,
    config: MineConfig,
    *,
    refuse: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source rows, target rows, cosines and margins of the pairs between two arrays of L2-normalised vectors.

    As `mine`, with row numbers in place of ids; `refuse` gets the source rows and target rows of all candidates and
    says which of them cannot be chosen.
    """
    places = np.arange(len(source)), np.arange(len(target))
    found = search(source, target, places, config.k)
    margin = margins(found, config.margin)
    if refuse is not None:
        listed = listed_candidates(found, margin, config.least)
        is_refused = refuse(listed.source_rows, listed.target_rows)
        margin = without(found, margin, (listed.source_rows[is_refused], listed.target_rows[is_refused]))
    pairs = _choose(found, margin, places, config)
    return pairs.source_rows, pairs.target_rows, pairs.cosine, pairs.margin


def score_vectors(
    source: np.ndarray, target: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], config: MarginConfig
) -> np.ndarray:
    """Margin (float32) of given pairs of rows of two arrays of L2-normalised vectors, neighbours or not."""
    found = search(source, target, (np.arange(len(source)), np.arange(len(target))), config.k)
    own, others = mean_cosines(found.forward)[pairs[0]], mean_cosines(found.backward)[pairs[1]]
    cosine = cosines_of(source, target, pairs)
    return compared(cosine, own, others, config.margin)


def _id_columns(pairs: Candidates | _Pairs, source_ids: pa.Array, target_ids: pa.Array) -> list[pa.Array]:
    sources, targets = source_ids.take(pa.array(pairs.source_rows)), target_ids.take(pa.array(pairs.target_rows))
    return [joined_ids(sources, targets), sources, targets]


def _choose(found: Neighbours, margin: Margins, places: tuple[np.ndarray, np.ndarray], config: MineConfig) -> _Pairs:
    """The pairs, best first; `places` are those of both sides' ids in their order."""
    pairs = _retrieve(found, margin, config.retrieval)
    pairs = _select(pairs, pairs.margin >= config.least)
    pairs = _select(pairs, _best_first(pairs, places))
    if config.retrieval == "max":
        free = (np.ones(len(one), np.bool_) for one in places)
        pairs = _select(pairs, _one_to_one(pairs.source_rows, pairs.target_rows, *free))
    if config.maximum is not None:
        pairs = _select(pairs, pairs.margin <= np.float32(config.maximum))
    return pairs


def _retrieve(found: Neighbours, margin: Margins, retrieval: Retrieval) -> _Pairs:
    """The best neighbours of each side that the retrieval asks for, without order or limits."""
    target, forward_cosine, forward_margin = _best(found.forward.rows, found.forward.cosines, margin[0])
    source, backward_cosine, backward_margin = _best(found.backward.rows, found.backward.cosines, margin[1])
    forward_both = _returned(target, source)
    backward_both = _returned(source, target)
    forward = _Pairs(np.arange(len(target)), target, forward_cosine, forward_margin, np.where(forward_both, 2, 0))
    backward = _Pairs(source, np.arange(len(source)), backward_cosine, backward_margin, np.where(backward_both, 2, 1))
    if retrieval == "forward":
        return _select(forward, target >= 0)
    if retrieval == "backward":
        return _select(backward, source >= 0)
    if retrieval == "intersection":
        return _select(forward, forward_both)
    either = _select(forward, target >= 0), _select(backward, (source >= 0) & ~backward_both)
    return _Pairs(*(np.concatenate(columns) for columns in zip(*either, strict=True)))


def _best(rows: np.ndarray, cosines: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbour, cosine and margin of each row's best margin; the first of equals is that of the highest cosine.

    The neighbour is -1 where there is none, or all were refused.
    """
    column = np.argmax(margin, axis=1)[:, None]
    row, cosine, best = (np.take_along_axis(array, column, axis=1)[:, 0] for array in (rows, cosines, margin))
    return np.where(best > -np.inf, row, -1), cosine, best


def _best_first(pairs: _Pairs, places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The order of margin, cosine, source id and target id; the ids are looked at only where the rest is equal."""
    keys = _descending(pairs.margin) << np.uint64(32) | _descending(pairs.cosine)
    order = np.argsort(keys)
    equal = keys[order[1:]] == keys[order[:-1]]
    tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
    some = order[tied]
    ids = places[1][pairs.target_rows[some]], places[0][pairs.source_rows[some]]
    order[tied] = some[np.lexsort((*ids, keys[some]))]
    return order


def _descending(values: np.ndarray) -> np.ndarray:
    """32 bits (uint64) that order as the float32 do, largest first; what orders is the bits, the sign's upside down."""
    bits = (values + np.float32(0)).view(np.uint32)  # of -0 as of 0
    return np.where(bits >> 31, bits, ~bits & np.uint32(0x7FFFFFFF)).astype(np.uint64)


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
