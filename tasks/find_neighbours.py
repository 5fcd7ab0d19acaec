"""embeddings of one crawl x embeddings of another, in two languages -> neighbours, both directions"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.handles import Precedent, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import vectors_of
from tasks.similarity.neighbour_tables import neighbour_table
from tasks.similarity.neighbours import neighbours
from tasks.similarity.repair import Block, Embedded, repair

VERSION = 1


class NeighbourConfig(Settings):
    """How many nearest neighbours are looked for."""

    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per sentence, each way")] = 4


@stage(task_run_name="neighbours-{source.partition}-{target.partition}")
def find_neighbours(store: Store, source: Dataset, target: Dataset, config: NeighbourConfig) -> Dataset:
    """Find the nearest sentences of either side in the other: one block of the grid of crawls by crawls."""
    (source_language, source_crawl), (target_language, target_crawl) = (
        side.partition.split("/") for side in (source, target)
    )
    slot = Slot("neighbours", f"{source_language}-{target_language}/{source_crawl}/{target_crawl}")
    job = Job("find_neighbours", VERSION, config, (source, target), (slot,), _find, update=_update)
    return store.derive(job)[0]


def _find(_: Tally, config: NeighbourConfig, source: Rows, target: Rows) -> Iterator[tuple[str, pa.Table]]:
    left, right = _block(source, target)
    found = neighbours(left.vectors, right.vectors, left.ids, right.ids, config.k)
    yield "neighbours", neighbour_table(found, left.ids, right.ids)


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
