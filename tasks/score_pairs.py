"""pairs + texts -> pair_scores, one dataset per filter"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import pyarrow as pa

from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.store import Rows, Store
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
    sides = (tuple(sources), tuple(targets))
    left, right = ([store.rows(part) for part in side] for side in sides)
    texts = cache(partial(read_texts, store.rows(pairs), left, right))
    jobs = [
        Job(
            f"score_pairs.{one.kind}",
            VERSION,
            one,
            (pairs, *sides),
            (Slot("pair_scores", f"{pairs.partition}/{one.kind}"),),
            partial(_score, texts),
            LIMITS,
        )
        for one in filters
    ]
    return [store.derive(job)[0] for job in jobs]


def read_texts(pairs: Rows, sources: Sequence[Rows], targets: Sequence[Rows]) -> pa.Table:
    """Return the pairs with both sides' texts."""
    source, target = (side[0].dataset.partition.split("/")[0] for side in (sources, targets))
    left, right = ((batch for part in side for batch in part.batches(TEXT_COLUMNS)) for side in (sources, targets))
    return texts_of_pairs(pairs.read(), left, right, (source, target))


def _score(texts: Callable[[], pa.Table], _: Tally, config: PairFilter, *__: object) -> Iterator[tuple[str, pa.Table]]:
    pairs = texts()
    scores = pa.array(config.score(pairs), pa.float32())
    yield (
        "pair_scores",
        pa.table({"pair_id": pairs["pair_id"], "score": scores}).cast(
            pa.schema([("pair_id", pa.binary(16)), ("score", pa.float32())])
        ),
    )
