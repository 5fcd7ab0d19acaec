"""documents + languages -> document_scores, one dataset per scorer"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from storage.handles import Precedent, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import conform
from storage.store import Store
from tasks import stage
from tasks.filters.verdicts import LIMITS
from tasks.text.alignment import in_step, recomputed
from tasks.text.quality import DocumentFilter

VERSION = 2


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
            (Slot("document_scores", f"{documents.partition}/{one.kind}", "scores"),),
            _score,
            LIMITS,
            update=_update,
            need="core",
        )
        for one in filters
    ]
    return [store.derive(job)[0] for job in jobs]


def _score(_: Tally, config: DocumentFilter, documents: Rows, languages: Rows) -> Iterator[tuple[str, pa.Table]]:
    for rows in _labelled(documents, languages):
        yield "scores", _scores(config, rows)


def _update(
    _: Tally, config: DocumentFilter, precedent: Precedent, documents: Rows, languages: Rows
) -> Iterator[tuple[str, pa.Table]] | None:
    before, labels_before = precedent.inputs
    if before.dataset.rows != documents.dataset.rows:
        return None
    tables = recomputed(
        _labelled(before, labels_before),
        _labelled(documents, languages),
        precedent.rows("scores").batches(),
        partial(_scores, config),
    )
    return (("scores", table) for table in tables)


def _labelled(documents: Rows, languages: Rows) -> Iterator[pa.Table]:
    """Yield doc_id, language, confidence and text; languages are row-aligned with their documents."""
    texts, labels = documents.batches(["text"]), languages.batches(["doc_id", "language", "confidence"])
    for batch, rows in in_step(texts, labels):
        yield rows.append_column("text", batch["text"].fill_null(""))


def _scores(config: DocumentFilter, rows: pa.Table) -> pa.Table:
    scores = pa.array(config.score(rows), pa.float32())
    return conform("document_scores", pa.table({"doc_id": rows["doc_id"], "score": scores}))
