"""documents + languages -> document_scores, one dataset per scorer"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import conform
from storage.store import Rows, Store
from tasks import stage
from tasks.filters.verdicts import LIMITS
from tasks.text.quality import DocumentFilter

VERSION = 1


@stage(task_run_name="score-{documents.partition}")
def score_documents(
    store: Store, documents: Dataset, languages: Dataset, filters: list[DocumentFilter]
) -> list[Dataset]:
    """Score every document by every filter; scores are kept, so a new limit runs nothing again."""
    jobs = [
        Job(
            "score_documents",
            VERSION,
            one,
            (documents, languages),
            (Slot("document_scores", f"{documents.partition}/{one.kind}"),),
            _score,
            LIMITS,
        )
        for one in filters
    ]
    return [store.derive(job, in_child=True)[0] for job in jobs]


def _score(_: Tally, config: DocumentFilter, documents: Rows, languages: Rows) -> Iterator[tuple[str, pa.Table]]:
    labels, place = languages.read(["doc_id", "language", "confidence"]), 0
    for batch in documents.batches(["doc_id", "text"]):
        rows = labels.slice(place, batch.num_rows)  # row-aligned: languages were derived batch by batch
        place += batch.num_rows
        table = rows.append_column("text", batch["text"].fill_null(""))
        scores = pa.array(config.score(table), pa.float32())
        yield "document_scores", conform("document_scores", pa.table({"doc_id": batch["doc_id"], "score": scores}))
