"""pairs + scores -> corpus, rejected_pairs"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from storage.fingerprint import Settings
from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.store import Store
from tasks import stage
from tasks.filters import LanguageAgreement, LengthRatio, LetterShare, NumberMatch, Overlap, PairFilter
from tasks.filters.verdicts import split_pairs
from tasks.formats.pairing import origins_of_pairs
from tasks.score_pairs import read_texts

VERSION = 1
ORIGIN_COLUMNS = ["doc_id", "crawl", "url", "file", "offset"]


class SelectPairsConfig(Settings):
    """Which pairs are good enough."""

    filters: Annotated[list[PairFilter], Field(description="Asked in this order")] = [
        LengthRatio(),
        LanguageAgreement(),
        Overlap(),
        NumberMatch(),
        LetterShare(),
    ]


@stage(task_run_name="select-{pairs.partition}")
def select_pairs(  # noqa: PLR0913, PLR0917 - a join of everything that is known of a pair
    store: Store,
    pairs: Dataset,
    scores: list[Dataset],
    sources: list[Dataset],
    targets: list[Dataset],
    documents: list[Dataset],
    config: SelectPairsConfig,
) -> tuple[Dataset, Dataset]:
    """Keep the pairs that every filter accepts, each with its text and where both sides come from."""
    inputs = (pairs, tuple(scores), tuple(sources), tuple(targets), tuple(documents))
    slots = (Slot("corpus", pairs.partition), Slot("rejected_pairs", pairs.partition))
    corpus, rejected = store.derive(Job("select_pairs", VERSION, config, inputs, slots, _select, need="core"))
    return corpus, rejected


def _select(  # noqa: PLR0913, PLR0917
    tally: Tally,
    config: SelectPairsConfig,
    pairs: Rows,
    scores: list[Rows],
    sources: list[Rows],
    targets: list[Rows],
    documents: list[Rows],
) -> Iterator[tuple[str, pa.Table]]:
    texts = read_texts(pairs, tuple(sources), tuple(targets))
    values = [part.read(["score"])["score"].to_numpy() for part in scores]
    limits = [one.model_dump_json() for one in config.filters]
    origins = (batch for part in documents for batch in part.batches(ORIGIN_COLUMNS))
    corpus, rejected = split_pairs(origins_of_pairs(texts, origins), values, config.filters, limits)
    for entry in pc.value_counts(rejected["filter"]).to_pylist():
        tally[entry["values"]] += entry["counts"]
    yield "corpus", corpus
    yield "rejected_pairs", rejected
