"""documents -> languages"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.handles import Precedent, Rows, SourceFile
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset, Source
from storage.sources import local_copy
from storage.store import Store
from tasks import stage
from tasks.text.alignment import recomputed
from tasks.text.language import IdentifyConfig, identify_documents, load_identifier

VERSION = 2
_COLUMNS = ["doc_id", "text"]


@stage(task_run_name="identify-{documents.partition}")
def identify_languages(store: Store, documents: Dataset, model: Source, config: IdentifyConfig) -> Dataset:
    """Say which language each document is in, row by row."""
    slot, inputs = Slot("languages", documents.partition), (documents, model)
    job = Job("identify_languages", VERSION, config, inputs, (slot,), _identify, update=_update, need="core")
    return store.derive(job)[0]


def _identify(_: Tally, config: IdentifyConfig, documents: Rows, model: SourceFile) -> Iterator[tuple[str, pa.Table]]:
    identifier = load_identifier(local_copy(model.source))
    for batch in documents.batches(_COLUMNS):
        yield "languages", identify_documents(batch, identifier, config)


def _update(
    _: Tally, config: IdentifyConfig, precedent: Precedent, documents: Rows, model: SourceFile
) -> Iterator[tuple[str, pa.Table]] | None:
    before, earlier_model = precedent.inputs
    if earlier_model.source.digest != model.source.digest or before.dataset.rows != documents.dataset.rows:
        return None
    identifier = load_identifier(local_copy(model.source))
    tables = recomputed(
        before.batches(_COLUMNS),
        documents.batches(_COLUMNS),
        precedent.rows("languages").batches(),
        lambda rows: identify_documents(rows, identifier, config),
    )
    return (("languages", table) for table in tables)
