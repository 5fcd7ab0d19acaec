"""pairs + texts -> pair_scores, one dataset per filter"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pyarrow as pa

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import conform
from storage.store import Store
from tasks import stage
from tasks.filters import PairFilter
from tasks.filters.verdicts import LIMITS
from tasks.formats.pairing import texts_of_pairs

VERSION = 1
TEXT_COLUMNS = ["sentence_id", "text", "confidence", "doc_id", "position"]


@stage(task_run_name="score-{pairs.partition}")
def score_pairs(
    store: Store, pairs: Dataset, sources: list[Dataset], targets: list[Dataset], filters: list[PairFilter]
) -> list[Dataset]:
    """Score every pair by every filter; one whose scores are there already, whatever its limit, is not run again."""
    inputs = (pairs, tuple(sources), tuple(targets))
    jobs = [
        Job(
            f"score_pairs.{one.kind}",
            VERSION,
            one,
            inputs,
            (Slot("pair_scores", f"{pairs.partition}/{one.kind}"),),
            _score,
            LIMITS,
            need="core",
        )
        for one in filters
    ]
    return [store.derive(job)[0] for job in jobs]


@lru_cache(maxsize=1)  # filter after filter asks for the same
def read_texts(pairs: Rows, sources: tuple[Rows, ...], targets: tuple[Rows, ...]) -> pa.Table:
    """Return the pairs with both sides' texts."""
    source, target = (side[0].dataset.partition.split("/")[0] for side in (sources, targets))
    left, right = ((batch for part in side for batch in part.batches(TEXT_COLUMNS)) for side in (sources, targets))
    return texts_of_pairs(pairs.read(), left, right, (source, target))


def _score(
    _: Tally, config: PairFilter, pairs: Rows, sources: list[Rows], targets: list[Rows]
) -> Iterator[tuple[str, pa.Table]]:
    texts = read_texts(pairs, tuple(sources), tuple(targets))
    scores = pa.array(config.score(texts), pa.float32())
    yield "pair_scores", conform("pair_scores", pa.table({"pair_id": texts["pair_id"], "score": scores}))
