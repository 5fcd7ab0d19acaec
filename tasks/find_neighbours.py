"""embeddings of one crawl x embeddings of another, in two languages -> neighbours, both directions"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from storage.errors import ConfigError
from storage.fingerprint import Settings
from storage.handles import Files, Precedent, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.planning import is_planned
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import vectors_of
from tasks.index_embeddings import FILE
from tasks.similarity.approximate import Sample, ready, recall, sample_exactly, search_index
from tasks.similarity.different import different
from tasks.similarity.identifiers import ranks
from tasks.similarity.indexes import IndexConfig, cells_of, deserialize
from tasks.similarity.neighbour_tables import neighbour_table
from tasks.similarity.neighbours import Neighbours, neighbours
from tasks.similarity.repair import Block, Embedded, repair

VERSION = 1
SIDES = ("sources", "targets")
SAMPLED, FOUND, PROBED = "neighbours of a sample", "found of them", "cells looked into"
_OF_THE_INDEX = frozenset({"index", "train_rows"})  # which is an input

_logger = logging.getLogger(__name__)


class NeighbourConfig(Settings):
    """How many nearest neighbours are looked for, and how."""

    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per sentence, each way")] = 4
    search: IndexConfig = IndexConfig()


class ApproximateConfig(IndexConfig):
    """What the neighbours that are found through two indexes depend on."""

    k: int


@stage(task_run_name="neighbours-{source.partition}-{target.partition}")
def find_neighbours(
    store: Store,
    source: Dataset,
    target: Dataset,
    config: NeighbourConfig,
    indexes: tuple[Artifact, Artifact] | None = None,
) -> Dataset:
    """Find the nearest sentences of either side in the other: one block of the grid of crawls by crawls.

    With indexes of both sides the search is approximate: what share of the exact neighbours it finds is measured first,
    and told in the manifest.

    Raises:
        ConfigError: if that is less than asked for, in this run or when the block was made.
    """
    (source_language, source_crawl), (target_language, target_crawl) = (
        side.partition.split("/") for side in (source, target)
    )
    slot = Slot("neighbours", f"{source_language}-{target_language}/{source_crawl}/{target_crawl}")
    if indexes is None:
        transient = frozenset({"search"})
        job = Job("find_neighbours", VERSION, config, (source, target), (slot,), _find, transient, _update)
        return store.derive(job)[0]
    settings, inputs = ApproximateConfig(k=config.k, **config.search.model_dump()), (source, target, *indexes)
    transient = _OF_THE_INDEX | ({"min_recall"} if settings.parameters else set())  # else it decides on nprobe
    job = Job("find_neighbours.approximate", VERSION, settings, inputs, (slot,), _find_approximately, transient)
    block = store.derive(job)[0]
    if not is_planned(block):  # it may have been made when less was enough
        check_recall(block, store.manifest(block).dropped, config.search)
    return block


def recalls(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the recall of each side that the counts of an approximate block tell of; nothing for an exact one."""
    wanted = {side: counts.get(f"{side}: {SAMPLED}", 0) for side in SIDES}
    return {side: counts.get(f"{side}: {FOUND}", 0) / count for side, count in wanted.items() if count}


def check_recall(block: object, counts: Mapping[str, int], config: IndexConfig) -> None:
    """Make sure that enough of the exact neighbours were found.

    Raises:
        ConfigError: if not, saying how many, and what to change.
    """
    for side, share in recalls(counts).items():
        if share < config.min_recall:
            used = f" (now {config.parameters})" if config.parameters else ""
            raise ConfigError(
                f"search.min_recall: {block}: of the exact neighbours of a sample of {side}, {share:.1%} were found, "
                f"less than {config.min_recall:.1%}; raise nprobe, or what the index has in its place, in "
                f"search.parameters{used}, raise search.candidates (now {config.candidates}), choose an index that "
                "keeps more of the vectors, or lower search.min_recall"
            )


def _find(_: Tally, config: NeighbourConfig, source: Rows, target: Rows) -> Iterator[tuple[str, pa.Table]]:
    left, right = _block(source, target)
    found = neighbours(left.vectors, right.vectors, left.ids, right.ids, config.k)
    yield "neighbours", neighbour_table(found, left.ids, right.ids)


def _find_approximately(
    tally: Tally, config: ApproximateConfig, source: Rows, target: Rows, *indexes: Files
) -> Iterator[tuple[str, pa.Table]]:
    """Measure the recall in both directions on a sample, and search if that is good enough."""
    block = _block(source, target)
    left, right = (different(side.vectors, ranks(side.ids)) for side in block)
    searchers = [
        _ready(tally, side, index, sample_exactly(*both, config.k, config.sample), config)
        for side, index, both in zip(SIDES, reversed(indexes), ((left, right), (right, left)), strict=True)
    ]
    place = f"{source.dataset.partition} x {target.dataset.partition}"
    told = ", ".join(f"{share:.1%} for {side}" for side, share in recalls(tally).items())
    _logger.info("find neighbours %s: recall@%d on a sample %s", place, config.k, told)
    check_recall(place, tally, config)
    found = Neighbours(
        search_index(searchers[0], left, right, config.k, config.candidates),
        search_index(searchers[1], right, left, config.k, config.candidates),
    )
    yield "neighbours", neighbour_table(found, block.source.ids, block.target.ids)


def _ready(tally: Tally, side: str, files: Files, sample: Sample, config: IndexConfig) -> Any:
    """Load the index in which a side's neighbours are looked for, and count what it finds for the sample."""
    try:
        index = deserialize(files.read()[FILE])
        searcher = ready(index, sample, config)
    except ValueError as error:
        raise ConfigError(f"search.{error}") from error
    measured = recall(searcher, sample, config.candidates)
    tally[f"{side}: {SAMPLED}"], tally[f"{side}: {FOUND}"] = measured.wanted, measured.found
    if (cells := cells_of(index)) is not None:
        tally[f"{side}: {PROBED}"] = cells.nprobe
    return searcher


def _update(
    _: Tally, config: NeighbourConfig, precedent: Precedent, source: Rows, target: Rows
) -> Iterator[tuple[str, pa.Table]] | None:
    """Search again only for sentences that are new or have lost a neighbour; None if that is no less work."""
    before, after = _block(*precedent.inputs), _block(source, target)
    table = repair(precedent.rows("neighbours").read(), before, after, config.k)
    return None if table is None else iter([("neighbours", table)])


def _block(source: Rows, target: Rows) -> Block:
    tables = [side.read() for side in (source, target)]
    return Block(*(Embedded(table["sentence_id"].combine_chunks(), vectors_of(table)) for table in tables))
