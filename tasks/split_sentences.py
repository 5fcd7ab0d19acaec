"""kept_documents -> sentences, one dataset per wanted language"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.handles import Precedent, Rows, SourceFile
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset, Source
from storage.schemas import empty
from storage.sources import local_copy
from storage.store import Store
from tasks import stage
from tasks.text.language import Identifier, load_identifier
from tasks.text.reuse import sentences_in_order, unchanged
from tasks.text.sentences import SentenceConfig, document_sentences

VERSION = 2
_ROWS = 2_048
_COLUMNS = ["doc_id", "language", "text"]


@stage(task_run_name="split-{kept.partition}")
def split_sentences(
    store: Store, kept: Dataset, languages: list[str], model: Source, config: SentenceConfig
) -> list[Dataset]:
    """Cut documents into sentences, each filed under its own language; return one dataset per wanted language."""
    slots = tuple(Slot("sentences", f"{language}/{kept.partition}", language) for language in languages)
    job = Job("split_sentences", VERSION, config, (kept, model), slots, _split, update=_update, need="core")
    return store.derive(job)


def _split(tally: Tally, config: SentenceConfig, kept: Rows, model: SourceFile) -> Iterator[tuple[str, pa.Table]]:
    identifier = load_identifier(local_copy(model.source))
    for batch in kept.batches(_COLUMNS, rows=_ROWS):
        found = document_sentences(batch, identifier, config)
        tally.update(found.dropped)
        yield from found.tables.items()


def _update(
    tally: Tally, config: SentenceConfig, precedent: Precedent, kept: Rows, model: SourceFile
) -> Iterator[tuple[str, pa.Table]] | None:
    earlier, earlier_model = precedent.inputs
    if earlier_model.source.digest != model.source.digest:
        return None
    identifier = load_identifier(local_copy(model.source))
    before, after = earlier.read(_COLUMNS), kept.read(_COLUMNS)
    same = unchanged(after, before, "doc_id", ["language", "text"])
    gone = np.setdiff1d(np.arange(before.num_rows), same)
    if len(gone) > before.num_rows // 2:
        return None
    return _patched(tally, config, precedent, identifier, (before.take(pa.array(gone)), after, pa.array(same < 0)))


def _patched(
    tally: Tally,
    config: SentenceConfig,
    precedent: Precedent,
    identifier: Identifier,
    documents: tuple[pa.Table, pa.Table, pa.Array],
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the sentences of all documents, those of unchanged ones copied; counts go with the documents that went."""
    gone, after, is_new = documents
    tally.update(next(iter(precedent.manifests.values())).dropped)
    tally.subtract(document_sentences(gone, identifier, config).dropped)
    found = document_sentences(after.filter(is_new), identifier, config)
    tally.update(found.dropped)
    for reason in [reason for reason, count in tally.items() if not count]:
        del tally[reason]
    stayed = after.filter(pc.invert(is_new))["doc_id"].combine_chunks()
    for language in precedent.manifests:
        known = precedent.rows(language).read()
        copied = known.filter(pc.is_in(known["doc_id"], stayed))
        yield language, sentences_in_order(after["doc_id"], copied, found.tables.get(language, empty("sentences")))
