"""sentences of one language and crawl, and what earlier crawls had -> unique_sentences"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import empty
from storage.store import Store
from tasks import stage
from tasks.text.deduplication import unique_sentences

VERSION = 1


@stage(task_run_name="deduplicate-{language}-{crawl}")
def deduplicate_sentences(
    store: Store, language: str, crawl: str, sentences: list[Dataset], earlier: list[Dataset]
) -> Dataset:
    """Keep each sentence once over all crawls so far; what a crawl adds never depends on later crawls."""
    slot = Slot("unique_sentences", f"{language}/{crawl}")
    inputs = (tuple(sentences), tuple(earlier))
    job = Job("deduplicate_sentences", VERSION, None, inputs, (slot,), _deduplicate, need="core")
    return store.derive(job)[0]


def _deduplicate(tally: Tally, _: None, sentences: list[Rows], earlier: list[Rows]) -> Iterator[tuple[str, pa.Table]]:
    rows = pa.concat_tables([empty("sentences"), *(part.read() for part in sentences)])
    ids = [empty("unique_sentences").select(["sentence_id"])]
    unique = unique_sentences(rows, pa.concat_tables([*ids, *(part.read(["sentence_id"]) for part in earlier)]))
    tally["duplicate"] += rows.num_rows - unique.num_rows
    yield "unique_sentences", unique
