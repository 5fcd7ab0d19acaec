"""all blocks of neighbours of a language pair, texts for the guards, a judge's scores -> pairs with margin"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import check, empty
from storage.store import Store
from tasks import stage
from tasks.filters import LanguageAgreement, Overlap, PairFilter
from tasks.filters.verdicts import PASSED, first_refusals
from tasks.formats.pairing import texts_of_pairs
from tasks.score_pairs import TEXT_COLUMNS
from tasks.similarity.judging import Judge, JudgeConfig
from tasks.similarity.local_pairs import LocalConfig, merge_pairs
from tasks.similarity.margin import Margin
from tasks.similarity.neighbour_tables import merge_tables
from tasks.similarity.retrieval import Judgements, MineConfig, candidates, mine

VERSION = 3
# What an alignment judge's margins call for in place of the search's: between the best of the default encoder for news
# in four languages, docs/mining.md. Of another encoder's margins nothing is known: they have the search's.
ALIGNED_THRESHOLDS: dict[Margin, float] = {"ratio": 1.32, "distance": 0.075, "absolute": 0.52}


class MinePairsConfig(MineConfig):
    """Which neighbours are pairs, and which must not even be asked for."""

    guards: Annotated[
        list[PairFilter],
        Field(
            description="Filters that refuse neighbours before the choice, so that a sentence whose nearest is a copy, "
            "or is in its own language, finds its translation; they read the text of every one above the threshold"
        ),
    ] = [LanguageAgreement(), Overlap()]
    judge: Annotated[
        Judge | None, Field(description="Who looks again at what is plausible, and gives it its margin; null: nobody")
    ] = None

    local: LocalConfig = LocalConfig()

    @property
    def is_judged(self) -> bool:
        """Whether a second judge gives the margins."""
        return self.judge is not None

    @property
    def default_threshold(self) -> float:
        """Least margin of a pair where nothing says which."""
        is_aligned = self.judge is not None and self.judge.kind == "alignment"
        return ALIGNED_THRESHOLDS[self.margin] if is_aligned else super().default_threshold

    @property
    def judging(self) -> JudgeConfig | None:
        """Who judges, with the margin and k that the scores are for; None if nobody does."""
        return None if self.judge is None else JudgeConfig(judge=self.judge, margin=self.margin, k=self.k)


@stage(task_run_name="mine-{pair}")
def mine_pairs(  # noqa: PLR0913, PLR0917 - a join of what is near and what is written
    store: Store,
    pair: str,
    blocks: list[Dataset],
    sources: list[Dataset],
    targets: list[Dataset],
    config: MinePairsConfig,
    judgements: Dataset | None = None,
    links: tuple[Dataset, ...] = (),
) -> Dataset:
    """Merge the blocks' lists, which is exact, and keep the pairs whose margin is high enough.

    `sources` and `targets` are both sides' unique_sentences; nothing depends on them where there are no guards.
    `judgements` are what the judge of the settings has found; `links` the local_pairs of matched documents, which join
    those that were mined.
    """
    texts = (tuple(sources), tuple(targets)) if config.guards else ((), ())
    inputs = (tuple(blocks), *texts, (judgements,) if judgements else (), links)
    job = Job("mine_pairs", VERSION, config, inputs, (Slot("pairs", pair),), _mine, need="core")
    return store.derive(job)[0]


def _mine(  # noqa: PLR0913, PLR0917 - as mine_pairs
    tally: Tally,
    config: MinePairsConfig,
    blocks: list[Rows],
    sources: list[Rows],
    targets: list[Rows],
    judged: list[Rows],
    links: list[Rows],
) -> Iterator[tuple[str, pa.Table]]:
    merged = merge_tables([block.read() for block in blocks], config.k)
    judging = config.judging
    judgements = Judgements(judged[0].read(), judging) if judging and judged else None
    near = candidates(merged, config, judgements) if config.guards else empty("pairs")
    refused = _refused(tally, config, near, sources, targets) if near.num_rows else None
    pairs = mine(merged, config, refused=refused, judgements=judgements)
    if links:
        local = pa.concat_tables([one.read() for one in links])
        pairs = check("pairs", merge_pairs(pairs, local, merged, config, config.local))
    yield "pairs", pairs


def _refused(
    tally: Tally, config: MinePairsConfig, near: pa.Table, sources: list[Rows], targets: list[Rows]
) -> pa.Table:
    """Return the candidates that a guard refuses, and count them by the first that does."""
    languages = tuple(side[0].dataset.partition.split("/")[0] for side in (sources, targets))
    left, right = ((batch for part in side for batch in part.batches(TEXT_COLUMNS)) for side in (sources, targets))
    texts = texts_of_pairs(near, left, right, (languages[0], languages[1]))
    refused_by = first_refusals(near.num_rows, [guard.score(texts) for guard in config.guards], config.guards)
    for place, guard in enumerate(config.guards):
        if count := int(np.count_nonzero(refused_by == place)):
            tally[f"guard {guard.kind}"] += count
    return near.filter(pa.array(refused_by != PASSED))
