"""unique_sentences -> embeddings"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa

from encoder.inference import SentenceEncoder
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import ID, embeddings_schema
from storage.store import Rows, Store
from tasks import stage

VERSION = 1
_REPORT_SECONDS = 10.0

_logger = logging.getLogger(__name__)


@stage(task_run_name="embed-{sentences.partition}")
def embed_sentences(store: Store, sentences: Dataset, encoder: SentenceEncoder) -> Dataset:
    """Give each sentence its vector, on all cores of this machine; the same vector in whatever company."""
    slot = Slot("embeddings", sentences.partition)
    job = Job("embed_sentences", VERSION, None, (sentences, encoder.fingerprint), (slot,), partial(_embed, encoder))
    return store.derive(job)[0]


def _embed(encoder: SentenceEncoder, _: Tally, __: None, sentences: Rows, ___: str) -> Iterator[tuple[str, pa.Table]]:
    yield "embeddings", embeddings_schema(encoder.dimension).empty_table()
    begun = told = time.monotonic()
    done = 0
    for batch in sentences.batches(["sentence_id", "text"]):
        yield "embeddings", embedding_table(batch["sentence_id"], encoder.encode(batch["text"].to_pylist()))
        done += batch.num_rows
        if time.monotonic() - told > _REPORT_SECONDS:
            told = time.monotonic()
            rate, total = done / (told - begun), sentences.dataset.rows
            _logger.info(
                "embed %s: %s of %s sentences, %s/s",
                sentences.dataset.partition,
                f"{done:,}",
                f"{total:,}",
                f"{rate:,.0f}",
            )


def embedding_table(ids: pa.ChunkedArray, vectors: np.ndarray) -> pa.Table:
    """Put vectors of shape (rows, dimension) beside their ids, rounded to float16 as they are stored."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float16).reshape(-1))
    schema = embeddings_schema(vectors.shape[1])
    column = pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type)
    return pa.Table.from_arrays([ids.combine_chunks().cast(ID), column], schema=schema)


def vectors_of(embeddings: pa.Table) -> np.ndarray:
    """Return an embeddings table's vectors as float16 of shape (rows, dimension)."""
    column = embeddings["vector"].combine_chunks()
    dimension = embeddings.schema.field("vector").type.list_size
    return np.asarray(column.values.to_numpy(zero_copy_only=False)[column.offset * dimension :]).reshape(-1, dimension)[
        : len(column)
    ]
