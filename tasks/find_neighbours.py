"""embeddings of one crawl x embeddings of another, in two languages -> neighbours, both directions"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.store import Rows, Store
from tasks import stage
from tasks.embed_sentences import vectors_of
from tasks.similarity.neighbour_tables import neighbour_table
from tasks.similarity.neighbours import neighbours

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
    job = Job("find_neighbours", VERSION, config, (source, target), (slot,), _find)
    return store.derive(job)[0]


def _find(_: Tally, config: NeighbourConfig, source: Rows, target: Rows) -> Iterator[tuple[str, pa.Table]]:
    left, right = source.read(), target.read()
    left_ids, right_ids = (side["sentence_id"].combine_chunks() for side in (left, right))
    found = neighbours(vectors_of(left), vectors_of(right), left_ids, right_ids, config.k)
    yield "neighbours", neighbour_table(found, left_ids, right_ids)
