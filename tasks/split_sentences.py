"""kept_documents of one crawl file -> sentences, one partition per language"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset, Source
from storage.sources import local_copy
from storage.store import Rows, SourceFile, Store
from tasks import stage
from tasks.text.language import load_identifier
from tasks.text.sentences import SentenceConfig, document_sentences

VERSION = 1


@stage(task_run_name="split-{kept.partition}")
def split_sentences(
    store: Store, kept: Dataset, languages: list[str], model: Source, config: SentenceConfig
) -> list[Dataset]:
    """Cut documents into sentences, each filed under its own language; return one dataset per wanted language."""
    slots = tuple(Slot("sentences", f"{language}/{kept.partition}", language) for language in languages)
    job = Job("split_sentences", VERSION, config, (kept, model), slots, _split)
    return store.derive(job, in_child=True)


def _split(tally: Tally, config: SentenceConfig, kept: Rows, model: SourceFile) -> Iterator[tuple[str, pa.Table]]:
    identifier = load_identifier(local_copy(model.source))
    for batch in kept.batches(rows=2_048):
        found = document_sentences(batch, identifier, config)
        tally.update(found.dropped)
        yield from found.tables.items()
