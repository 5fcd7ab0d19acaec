"""unique_sentences -> embeddings"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from encoder.checkpoint import unpack
from encoder.inference import SentenceEncoder
from encoder.precision import Precision
from encoder.registry import load_encoder
from storage.errors import ConfigError
from storage.fingerprint import Settings
from storage.handles import Precedent, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.schemas import ID, embeddings_schema
from storage.store import Store
from tasks import stage
from tasks.text.reuse import unchanged

VERSION = 2
_REPORT_SECONDS = 10.0
_ROWS = 65_536  # so that sentences of every length fill batches; fewer cost a GPU a third of its time in padding

_logger = logging.getLogger(__name__)


class EmbedConfig(Settings):
    """How sentences are embedded."""

    precision: Annotated[
        Precision,
        Field(description="float32; or, for other vectors in less time, bfloat16, float16 (GPU) or int8 (CPU, bilstm)"),
    ] = "float32"


class EncoderReference(Settings):
    """Which encoder: what travels to where sentences are embedded, in place of the weights."""

    name: str = ""  # "default", a folder or a URL; or else
    artifact: Artifact | None = None  # one that this store holds
    precision: Precision = "float32"
    fingerprint: str = ""  # equal only for encoders that give equal vectors

    def load(self, store: Store) -> SentenceEncoder:
        """Return the encoder; a second call in one process returns the same object.

        Raises:
            ConfigError: if there is none, or it is broken.
        """
        return _load(self, store)


@stage(task_run_name="embed-{sentences.partition}")
def embed_sentences(store: Store, sentences: Dataset, encoder: EncoderReference) -> Dataset:
    """Give each sentence its vector, on all cores of a machine; the same vector in whatever company."""
    slot, inputs = Slot("embeddings", sentences.partition), (sentences, encoder.fingerprint)
    compute, update = partial(_embed, encoder), partial(_update, encoder)
    job = Job("embed_sentences", VERSION, None, inputs, (slot,), compute, update=update, need="gpu")
    return store.derive(job)[0]


def _embed(
    reference: EncoderReference, _: Tally, __: None, sentences: Rows, ___: str
) -> Iterator[tuple[str, pa.Table]]:
    encoder = reference.load(sentences.store)
    yield "embeddings", embeddings_schema(encoder.dimension).empty_table()
    begun = told = time.monotonic()
    done = 0
    for batch in sentences.batches(["sentence_id", "text"], rows=_ROWS):
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


def _update(
    reference: EncoderReference, _: Tally, __: None, precedent: Precedent, sentences: Rows, fingerprint: str
) -> Iterator[tuple[str, pa.Table]] | None:
    earlier, used = precedent.inputs
    return _patched(reference, precedent, earlier, sentences) if used == fingerprint else None


def _patched(
    reference: EncoderReference, precedent: Precedent, earlier: Rows, sentences: Rows
) -> Iterator[tuple[str, pa.Table]]:
    """Copy the vectors of sentences that were there, and embed the others."""
    before, known = earlier.read(["sentence_id", "text"]), precedent.rows("embeddings").read()
    encoder = reference.load(sentences.store)
    yield "embeddings", embeddings_schema(encoder.dimension).empty_table()
    for batch in sentences.batches(["sentence_id", "text"]):
        same = unchanged(batch, before, "sentence_id", ["text"])
        is_new = same < 0
        vectors = (
            vectors_of(known)[np.where(is_new, 0, same)]
            if known.num_rows
            else np.zeros((batch.num_rows, encoder.dimension), np.float16)
        )
        if is_new.any():
            vectors[is_new] = encoder.encode(batch["text"].filter(pa.array(is_new)).to_pylist()).astype(np.float16)
        yield "embeddings", embedding_table(batch["sentence_id"], vectors)


@lru_cache(maxsize=2)  # an encoder and its partner
def _load(reference: EncoderReference, store: Store) -> SentenceEncoder:
    try:
        if reference.artifact is not None:
            found = unpack(store.files(reference.artifact).read())
            return found if reference.precision == "float32" else found.at(reference.precision)
        return load_encoder(reference.name, reference.precision)
    except ValueError as error:
        raise ConfigError(f"encoder: {error}") from error


def embedding_table(ids: pa.ChunkedArray, vectors: np.ndarray) -> pa.Table:
    """Put vectors of shape (rows, dimension) beside their ids, rounded to float16 as they are stored."""
    stored = np.ascontiguousarray(vectors, "<f2")
    schema = embeddings_schema(vectors.shape[1])
    column = pa.Array.from_buffers(schema.field("vector").type, len(stored), [None, pa.py_buffer(stored)])
    return pa.Table.from_arrays([ids.combine_chunks().cast(ID), column], schema=schema)


def vectors_of(embeddings: pa.Table) -> np.ndarray:
    """Return an embeddings table's vectors as float16 of shape (rows, dimension)."""
    column = embeddings["vector"].combine_chunks()
    width = column.type.byte_width
    numbers = np.frombuffer(column.buffers()[1], "<f2", len(column) * width // 2, column.offset * width)
    return numbers.reshape(len(column), width // 2)
