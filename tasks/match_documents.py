"""kept documents of one crawl, their sentences and vectors in two languages -> document_pairs"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import empty, schema_of
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import vectors_of
from tasks.similarity.document_matching import MatchConfig, centroids, match, pages, with_prospects
from tasks.similarity.identifiers import flat, positions

VERSION = 2
_ROWS = 65_536
SENTENCES_AT_ONCE = 262_144  # 512 MB of float32 vectors of 512 dimensions


class LanguageSide(NamedTuple):
    """One language of a crawl: its sentences by crawl file, and the embeddings of this and all earlier crawls.

    A sentence has its vector with the crawl that had it first.
    """

    sentences: list[Dataset]
    embeddings: list[Dataset]


class Written:
    """The sentences of some documents and their vectors, on this disk: a document's are together and in order."""

    def __init__(self, table: pa.Table, starts: np.ndarray, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Take a table that is mapped into memory, (n, 2) where its documents are, vectors, and each sentence's row."""
        self.table, self.starts, self._vectors, self._rows = table, starts, vectors, rows

    @property
    def counts(self) -> np.ndarray:
        """Sentences of each document."""
        return np.asarray(self.starts[:, 1] - self.starts[:, 0])

    def of(self, document: int) -> pa.Table:
        """The sentences of one document."""
        start, stop = self.starts[document]
        return self.table.slice(start, stop - start)

    def vectors(self, documents: np.ndarray) -> np.ndarray:
        """Vectors (float16) of the sentences of some documents, one after the other; zeros where there is none."""
        rows = np.concatenate([np.empty(0, np.int64), *(self._rows[slice(*self.starts[one])] for one in documents)])
        found = np.zeros((len(rows), self._vectors.shape[1]), np.float16)
        found[rows >= 0] = self._vectors[rows[rows >= 0]]
        return found


@stage(task_run_name="match-{pair}-{crawl}")
def match_documents(  # noqa: PLR0913, PLR0917 - a join of documents, sentences and vectors
    store: Store,
    pair: str,
    crawl: str,
    kept: list[Dataset],
    source: LanguageSide,
    target: LanguageSide,
    config: MatchConfig,
    *,
    sentences_at_once: int = SENTENCES_AT_ONCE,
) -> Dataset:
    """Find the documents of a crawl that translate each other; a later crawl never changes what an earlier one has.

    `sentences_at_once` bounds the memory and never changes the result.
    """
    inputs = (tuple(kept), *(tuple(part) for side in (source, target) for part in side))
    slot, compute = Slot("document_pairs", f"{pair}/{crawl}"), partial(_match, sentences_at_once)
    return store.derive(Job("match_documents", VERSION, config, inputs, (slot,), compute))[0]


def _match(  # noqa: PLR0913, PLR0917
    sentences_at_once: int,
    _: Tally,
    config: MatchConfig,
    kept: list[Rows],
    source_sentences: list[Rows],
    source_embeddings: list[Rows],
    target_sentences: list[Rows],
    target_embeddings: list[Rows],
) -> Iterator[tuple[str, pa.Table]]:
    languages = tuple(side[0].dataset.partition.split("/")[0] for side in (source_embeddings, target_embeddings))
    batches = (batch for part in kept for batch in part.batches(["doc_id", "language", "url", "alternates"]))
    found = [pages(batch, (languages[0], languages[1])) for batch in batches]
    hopeful = with_prospects(pa.concat_tables(found), config) if found else pa.table({})
    if not hopeful.num_rows:
        yield "document_pairs", empty("document_pairs")
        return
    is_target = flat(hopeful["is_target"]).to_numpy(zero_copy_only=False)
    means: list[np.ndarray] = []
    for rows, sentences, embeddings in (
        (np.flatnonzero(~is_target), source_sentences, source_embeddings),
        (np.flatnonzero(is_target), target_sentences, target_embeddings),
    ):
        with written(hopeful["doc_id"].take(pa.array(rows)), sentences, embeddings, []) as side:
            means.append(_means(side, sentences_at_once))
    both = np.empty((len(is_target), means[0].shape[1]), np.float32)
    both[~is_target], both[is_target] = means
    yield "document_pairs", match(hopeful, both, config)


def _means(side: Written, sentences_at_once: int) -> np.ndarray:
    """The centroids of all documents."""
    found = np.empty((len(side.starts), side.vectors(np.empty(0, np.int64)).shape[1]), np.float32)
    for some in in_batches(side.counts, sentences_at_once):
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(side.counts[some])])
        found[some] = centroids(side.vectors(some), starts)
    return found


def in_batches(sizes: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """Consecutive places whose sizes are no more than a limit together, or a single one that is alone."""
    start = total = 0
    for place, size in enumerate(sizes.tolist()):
        if total and total + size > limit:
            yield np.arange(start, place)
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield np.arange(start, len(sizes))


@contextmanager
def written(
    doc_ids: pa.ChunkedArray, sentences: list[Rows], embeddings: list[Rows], columns: list[str]
) -> Iterator[Written]:
    """Put the sentences of some documents and their vectors on this disk for a while; in memory are 72 bytes of each.

    Args:
        doc_ids: distinct ids of the documents.
        sentences: `sentences` of one language and crawl.
        embeddings: of this and all earlier crawls.
        columns: of the sentences, beside sentence_id and doc_id.
    """
    with tempfile.TemporaryDirectory(prefix="babelmill-") as folder:
        table = _write_sentences(f"{folder}/sentences.arrow", doc_ids, sentences, ["sentence_id", "doc_id", *columns])
        vectors, rows = _write_vectors(f"{folder}/vectors", table["sentence_id"], embeddings)
        yield Written(table, _starts(table["doc_id"], doc_ids), vectors, rows)


def _write_sentences(path: str, doc_ids: pa.ChunkedArray, sentences: list[Rows], columns: list[str]) -> pa.Table:
    whole = schema_of("sentences")
    schema = pa.schema([whole.field(name) for name in columns])
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for part in sentences:
            for batch in part.batches(columns, rows=_ROWS):
                wanted = pa.array(positions(batch["doc_id"], doc_ids) >= 0)
                writer.write_table(batch.filter(wanted).cast(schema))
    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def _starts(doc_column: pa.ChunkedArray, doc_ids: pa.ChunkedArray) -> np.ndarray:
    """Where each document's sentences start and stop (n, 2): nowhere if it has none of the language."""
    places = positions(doc_column, doc_ids)
    first = np.flatnonzero(np.diff(places, prepend=-1))
    found = np.zeros((len(doc_ids), 2), np.int64)
    found[places[first], 0] = first
    found[places[first], 1] = np.append(first[1:], len(places))[: len(first)]
    if len(np.unique(places[first])) < len(first):
        raise ValueError("the sentences of a document are not together")
    return found


def _write_vectors(path: str, ids: pa.ChunkedArray, embeddings: list[Rows]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of some sentences, mapped into memory, and each sentence's row among them, -1 if it has none."""
    known = pa.concat_tables(part.read(["sentence_id"]) for part in embeddings)
    at = positions(ids, known["sentence_id"])
    wanted = np.unique(at[at >= 0])
    width, done = 0, 0
    with open(path, "wb") as file:
        for part in embeddings:
            width = width or part.read(["vector"]).schema.field("vector").type.byte_width // 2
            for batch in part.batches(["vector"], rows=_ROWS):
                some = wanted[slice(*np.searchsorted(wanted, [done, done + batch.num_rows]))] - done
                file.write(vectors_of(batch)[some].tobytes())
                done += batch.num_rows
    rows = np.where(at >= 0, np.searchsorted(wanted, at), -1)
    if not len(wanted):
        return np.zeros((0, width), np.float16), rows
    return np.memmap(path, np.float16, "r", shape=(len(wanted), width)), rows
