"""all blocks of neighbours of a language pair -> pairs with margin"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.store import Store
from tasks import stage
from tasks.similarity.neighbour_tables import merge_tables
from tasks.similarity.retrieval import MineConfig, mine

VERSION = 1


@stage(task_run_name="mine-{pair}")
def mine_pairs(store: Store, pair: str, blocks: list[Dataset], config: MineConfig) -> Dataset:
    """Merge the blocks' lists, which is exact, and keep the pairs whose margin is high enough."""
    job = Job("mine_pairs", VERSION, config, (tuple(blocks),), (Slot("pairs", pair),), _mine, need="core")
    return store.derive(job)[0]


def _mine(_: Tally, config: MineConfig, blocks: list[Rows]) -> Iterator[tuple[str, pa.Table]]:
    merged = merge_tables([block.read() for block in blocks], config.k)
    yield "pairs", mine(merged, config)
