"""documents -> languages"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset, Source
from storage.sources import local_copy
from storage.store import Rows, SourceFile, Store
from tasks import stage
from tasks.text.language import IdentifyConfig, identify_documents, load_identifier

VERSION = 1


@stage(task_run_name="identify-{documents.partition}")
def identify_languages(store: Store, documents: Dataset, model: Source, config: IdentifyConfig) -> Dataset:
    """Say which language each document is in, row by row."""
    job = Job(
        "identify_languages", VERSION, config, (documents, model), (Slot("languages", documents.partition),), _identify
    )
    return store.derive(job, in_child=True)[0]


def _identify(_: Tally, config: IdentifyConfig, documents: Rows, model: SourceFile) -> Iterator[tuple[str, pa.Table]]:
    identifier = load_identifier(local_copy(model.source))
    for batch in documents.batches(["doc_id", "text"]):
        yield "languages", identify_documents(batch, identifier, config)
