"""all blocks of neighbours of a language pair, with texts for the guards -> pairs with margin"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.store import Store
from tasks import stage
from tasks.filters import LanguageAgreement, Overlap, PairFilter
from tasks.filters.verdicts import PASSED, first_refusals
from tasks.formats.pairing import texts_of_pairs
from tasks.score_pairs import TEXT_COLUMNS
from tasks.similarity.neighbour_tables import merge_tables
from tasks.similarity.retrieval import MineConfig, candidates, mine

VERSION = 2


class MinePairsConfig(MineConfig):
    """Which neighbours are pairs, and which must not even be asked for."""

    guards: Annotated[
        list[PairFilter],
        Field(
            description="Filters that refuse neighbours before the choice, so that a sentence whose nearest is a copy, "
            "or is in its own language, finds its translation; they read the text of every one above the threshold"
        ),
    ] = [LanguageAgreement(), Overlap()]


@stage(task_run_name="mine-{pair}")
def mine_pairs(  # noqa: PLR0913, PLR0917 - a join of what is near and what is written
    store: Store,
    pair: str,
    blocks: list[Dataset],
    sources: list[Dataset],
    targets: list[Dataset],
    config: MinePairsConfig,
) -> Dataset:
    """Merge the blocks' lists, which is exact, and keep the pairs whose margin is high enough.

    `sources` and `targets` are both sides' unique_sentences; nothing depends on them where there are no guards.
    """
    texts = (tuple(sources), tuple(targets)) if config.guards else ((), ())
    job = Job("mine_pairs", VERSION, config, (tuple(blocks), *texts), (Slot("pairs", pair),), _mine, need="core")
    return store.derive(job)[0]


def _mine(
    tally: Tally, config: MinePairsConfig, blocks: list[Rows], sources: list[Rows], targets: list[Rows]
) -> Iterator[tuple[str, pa.Table]]:
    merged = merge_tables([block.read() for block in blocks], config.k)
    refused = _refused(tally, config, merged, sources, targets) if config.guards else None
    yield "pairs", mine(merged, config, refused=refused)


def _refused(
    tally: Tally, config: MinePairsConfig, merged: pa.Table, sources: list[Rows], targets: list[Rows]
) -> pa.Table:
    """Return the candidates that a guard refuses, and count them by the first that does."""
    near = candidates(merged, config)
    if not near.num_rows:
        return near
    languages = tuple(side[0].dataset.partition.split("/")[0] for side in (sources, targets))
    left, right = ((batch for part in side for batch in part.batches(TEXT_COLUMNS)) for side in (sources, targets))
    texts = texts_of_pairs(near, left, right, (languages[0], languages[1]))
    refused_by = first_refusals(near.num_rows, [guard.score(texts) for guard in config.guards], config.guards)
    for place, guard in enumerate(config.guards):
        if count := int(np.count_nonzero(refused_by == place)):
            tally[f"guard {guard.kind}"] += count
    return near.filter(pa.array(refused_by != PASSED))
