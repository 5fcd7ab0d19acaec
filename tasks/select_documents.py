"""documents with languages and scores of a crawl, after earlier crawls -> kept and rejected documents, signatures"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import ID, MINHASHES, empty, schema_of
from storage.store import Store
from tasks import stage
from tasks.similarity.minhash import MinHashConfig, first_duplicates, signatures
from tasks.text.selection import SelectDocumentsConfig, split_by_fate, verdicts

VERSION = 2


class Scored(NamedTuple):
    """One crawl file's documents with what was found out about them."""

    documents: Dataset
    languages: Dataset
    scores: list[Dataset]


class Selected(NamedTuple):
    """What becomes of a crawl: kept and rejected documents per crawl file, and the signatures of all kept ones."""

    kept: list[Dataset]
    rejected: list[Dataset]
    signatures: Dataset


@stage(task_run_name="select-{crawl}")
def select_documents(
    store: Store, crawl: str, files: list[Scored], earlier: list[Dataset], config: SelectDocumentsConfig
) -> Selected:
    """Keep documents that pass every filter and repeat no earlier one, in this crawl's order and after earlier crawls.

    A document's fate is decided by what precedes it and never changes when crawls are added.
    """
    kept = [Slot("kept_documents", file.documents.partition, f"kept {place}") for place, file in enumerate(files)]
    rejected = [
        Slot("rejected_documents", file.documents.partition, f"rejected {place}") for place, file in enumerate(files)
    ]
    inputs = (
        tuple(file.documents for file in files),
        tuple(file.languages for file in files),
        tuple(chain.from_iterable(file.scores for file in files)),
        tuple(earlier),
    )
    outputs = (*kept, *rejected, Slot("signatures", crawl))
    made = store.derive(Job("select_documents", VERSION, config, inputs, outputs, _select, need="core"))
    return Selected(made[: len(files)], made[len(files) : -1], made[-1])


def _select(  # noqa: PLR0913, PLR0917 - one argument per kind of input
    tally: Tally,
    config: SelectDocumentsConfig,
    documents: list[Rows],
    languages: list[Rows],
    scores: list[Rows],
    earlier: list[Rows],
) -> Iterator[tuple[str, pa.Table]]:
    each = len(config.filters)
    fates = [_judge(config, file, scores[place * each : (place + 1) * each]) for place, file in enumerate(documents)]
    if config.near_duplicates:
        candidates = pa.concat_tables(
            [empty("signatures"), *map(_sign, documents, languages, fates, [config.near_duplicates] * len(fates))]
        )
        before = pa.concat_tables([empty("signatures"), *(part.read() for part in earlier)])
        duplicate_of = _duplicates(before, candidates, config.near_duplicates)
        fates = _with_duplicates(fates, duplicate_of)
        yield "signatures", candidates.filter(pc.is_null(duplicate_of))
    for place, (file, labels, fate) in enumerate(zip(documents, languages, fates, strict=True)):
        for entry in pc.value_counts(fate["reason"].drop_null()).to_pylist():
            tally[entry["values"]] += entry["counts"]
        known, start = labels.read(["language", "confidence"]), 0
        for batch in file.batches(["doc_id", "url", "alternates", "title", "text"]):
            rows = slice(start, start := start + batch.num_rows)
            kept, rejected = split_by_fate(batch, known[rows], fate[rows])
            yield f"kept {place}", kept
            yield f"rejected {place}", rejected


def _judge(config: SelectDocumentsConfig, documents: Rows, scores: list[Rows]) -> pa.Table:
    """Return the fates of one file's documents before near-duplicates are looked for."""
    values = [part.read(["score"])["score"].to_numpy() for part in scores]
    fates = verdicts(documents.read(["reason"])["reason"], values, config.filters)
    return fates.append_column("duplicate_of", pa.nulls(fates.num_rows, ID))


def _sign(documents: Rows, languages: Rows, fates: pa.Table, config: MinHashConfig) -> pa.Table:
    """Return the signatures of one file's documents that have passed so far, in order."""
    labels, start, signed = languages.read(["language"])["language"], 0, [empty("signatures")]
    for batch in documents.batches(["doc_id", "text"]):
        passed = pc.is_null(fates["reason"].slice(start, batch.num_rows))
        texts, names = batch.filter(passed), labels.slice(start, batch.num_rows).filter(passed)
        start += batch.num_rows
        signed.append(
            _signature_table(texts["doc_id"], signatures(texts["text"].combine_chunks(), names.to_pylist(), config))
        )
    return pa.concat_tables(signed)


def _signature_table(ids: pa.ChunkedArray, hashes: npt.NDArray[np.uint32]) -> pa.Table:
    offsets = np.arange(len(hashes) + 1, dtype=np.int32) * hashes.shape[1]
    lists = pa.ListArray.from_arrays(offsets, pa.array(hashes.reshape(-1)), type=MINHASHES)
    return pa.Table.from_arrays([ids.combine_chunks(), lists], schema=schema_of("signatures"))


def _duplicates(before: pa.Table, candidates: pa.Table, config: MinHashConfig) -> pa.Array:
    """Return for each candidate the doc_id that it repeats, or null."""
    sides = [
        (
            part["minhashes"].combine_chunks().flatten().to_numpy().reshape(-1, config.hashes),
            part["doc_id"].combine_chunks(),
        )
        for part in (before, candidates)
    ]
    return first_duplicates(*sides[0], *sides[1], config)


def _with_duplicates(fates: list[pa.Table], duplicate_of: pa.Array) -> list[pa.Table]:
    """Write the near-duplicates into the fates of the documents that had passed."""
    told, start = [], 0
    for fate in fates:
        passed = pc.is_null(fate["reason"]).combine_chunks()
        count = pc.sum(passed).as_py() or 0
        found = pc.replace_with_mask(pa.nulls(len(passed), ID), passed, duplicate_of.slice(start, count))
        start += count
        reason = pc.if_else(pc.is_valid(found), "near_duplicate", fate["reason"])
        told.append(fate.set_column(0, "reason", reason).set_column(3, "duplicate_of", found))
    return told
