"""document_pairs, sentences and vectors of one crawl in two languages -> local_pairs"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoder.inference import SentenceEncoder
from storage.handles import Precedent, Rows
from storage.jobs import Input, Job, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import IDS, check, empty
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import EncoderReference
from tasks.match_documents import LanguageSide, Written, in_batches, written
from tasks.similarity.document_alignment import AlignConfig, Links, align, joined, overlaps
from tasks.similarity.identifiers import flat, positions

VERSION = 1
SENTENCES_AT_ONCE = 16_384  # of both sides: 64 MB of float32 vectors of 512 dimensions for each length of overlaps


class _How(NamedTuple):
    """Both sides' encoders, and how much is held in memory."""

    encoders: tuple[EncoderReference, EncoderReference]
    sentences_at_once: int


class _Matched(NamedTuple):
    """Matched documents: place i of both sides is a pair."""

    pairs: pa.Table
    sides: tuple[Written, Written]


@stage(task_run_name="align-{matches.partition}")
def align_documents(  # noqa: PLR0913, PLR0917 - a join of documents, sentences and vectors
    store: Store,
    matches: Dataset,
    source: LanguageSide,
    target: LanguageSide,
    encoders: tuple[EncoderReference, EncoderReference],
    config: AlignConfig,
    *,
    sentences_at_once: int = SENTENCES_AT_ONCE,
) -> Dataset:
    """Align the sentences of matched documents; consecutive sentences together are embedded by their side's encoder.

    `sentences_at_once` bounds the memory and never changes the result.
    """
    inputs: tuple[Input | tuple[Input, ...], ...] = (
        matches,
        *(tuple(part) for side in (source, target) for part in side),
        *(one.fingerprint for one in encoders),
    )
    slot = Slot("local_pairs", matches.partition)
    how = _How(encoders, sentences_at_once)
    compute, update = partial(_align, how), partial(_update, how)
    job = Job("align_documents", VERSION, config, inputs, (slot,), compute, update=update, need="gpu")
    return store.derive(job)[0]


def _align(how: _How, tally: Tally, config: AlignConfig, *inputs: Any) -> Iterator[tuple[str, pa.Table]]:
    yield "local_pairs", empty("local_pairs")
    with _opened(inputs) as matched:
        linked = _aligner(how.encoders, config, matched, inputs[0])
        for some in _batches(how, tally, config, matched):
            yield "local_pairs", linked(some)


def _update(
    how: _How, tally: Tally, config: AlignConfig, precedent: Precedent, *inputs: Any
) -> Iterator[tuple[str, pa.Table]] | None:
    """Copy the links of documents whose sentences and vectors are as they were."""
    if precedent.inputs[-2:] != list(inputs[-2:]):
        return None
    return _patched(how, tally, config, precedent, *inputs)


def _patched(
    how: _How, tally: Tally, config: AlignConfig, precedent: Precedent, *inputs: Any
) -> Iterator[tuple[str, pa.Table]]:
    known = precedent.rows("local_pairs").read()
    yield "local_pairs", empty("local_pairs")
    with ExitStack() as stack:
        before, after = (stack.enter_context(_opened(some)) for some in (precedent.inputs, inputs))
        linked = _aligner(how.encoders, config, after, inputs[0])
        for some in _batches(how, tally, config, after):
            same = _unchanged(before, after, some)
            ids = after.pairs["source_doc_id"].take(pa.array(some[same]))
            copied = known.filter(pc.is_in(known["source_doc_id"], flat(ids)))
            both = pa.concat_tables([copied, linked(some[~same])])
            order = positions(both["source_doc_id"], after.pairs["source_doc_id"])
            yield "local_pairs", both.take(pa.array(np.argsort(order, kind="stable")))


def _unchanged(before: _Matched, after: _Matched, some: np.ndarray) -> np.ndarray:
    """Whether each of some pairs of documents is there before, with the same sentences and vectors."""
    earlier, later = (one.pairs["source_doc_id"] for one in (before, after))
    places = positions(later.take(pa.array(some)), earlier)
    same = np.zeros(len(some), np.bool_)
    for index, (old, new) in enumerate(zip(places.tolist(), some.tolist(), strict=True)):
        same[index] = old >= 0 and all(
            theirs.of(old).equals(ours.of(new))
            and np.array_equal(theirs.vectors(np.array([old])), ours.vectors(np.array([new])))
            for theirs, ours in zip(before.sides, after.sides, strict=True)
        )
    return same


@contextmanager
def _opened(inputs: Any) -> Iterator[_Matched]:
    matches, source_sentences, source_embeddings, target_sentences, target_embeddings, *_ = inputs
    pairs = matches.read()
    with (
        written(pairs["source_doc_id"], source_sentences, source_embeddings, ["text"]) as source,
        written(pairs["target_doc_id"], target_sentences, target_embeddings, ["text"]) as target,
    ):
        yield _Matched(pairs, (source, target))


def _batches(how: _How, tally: Tally, config: AlignConfig, matched: _Matched) -> Iterator[np.ndarray]:
    """Places of pairs of documents to work on together; what is too long is counted and left out."""
    source, target = (side.counts for side in matched.sides)
    is_long = np.maximum(source, target) > config.max_sentences
    tally["too long"] += int(is_long.sum())
    places = np.flatnonzero(~is_long & (np.minimum(source, target) > 0))
    for some in in_batches((source + target)[places], how.sentences_at_once):
        yield places[some]


def _aligner(
    references: tuple[EncoderReference, EncoderReference], config: AlignConfig, matched: _Matched, matches: Rows
) -> Callable[[np.ndarray], pa.Table]:
    """Return what makes the links of some pairs of documents."""
    languages = matches.dataset.partition.split("/")[0].split("-")

    def linked(some: np.ndarray) -> pa.Table:
        if not len(some):
            return empty("local_pairs")
        sides = [
            _embedded(side, some, reference.load(matches.store), language, config.longest)
            for side, reference, language in zip(matched.sides, references, languages, strict=True)
        ]
        tables = [
            _table(matched, place, align(source, target, config), languages)
            for place, source, target in zip(some.tolist(), *sides, strict=True)
        ]
        return pa.concat_tables(tables)

    return linked


def _embedded(
    side: Written, some: np.ndarray, encoder: SentenceEncoder, language: str, longest: int
) -> list[np.ndarray]:
    """Vectors (longest, n, d) of each document's sentences, one by one and together, rounded as they are stored."""
    texts = [side.of(place)["text"].to_pylist() for place in some.tolist()]
    runs = [overlaps(one, longest, language) for one in texts]
    together = encoder.encode([text for document in runs for run in document for text in run]).astype(np.float16)
    alone = side.vectors(some)
    found, at, done = [], 0, 0
    for one, document in zip(texts, runs, strict=True):
        vectors = np.zeros((longest, len(one), alone.shape[1]), np.float16)
        vectors[0] = alone[at : at + len(one)]
        at += len(one)
        for length, run in enumerate(document, start=1):
            vectors[length, : len(run)] = together[done : done + len(run)]
            done += len(run)
        found.append(vectors)
    return found


def _table(matched: _Matched, place: int, links: Links, languages: list[str]) -> pa.Table:
    """The links of one pair of documents."""
    documents = [one.of(place) for one in matched.sides]
    runs = (links.source_starts, links.source_counts), (links.target_starts, links.target_counts)
    is_long = links.source_counts + links.target_counts > 2
    ids = (_lists(one["sentence_id"], *run) for one, run in zip(documents, runs, strict=True))
    texts = (
        _texts(one["text"], *run, is_long, language)
        for one, run, language in zip(documents, runs, languages, strict=True)
    )
    doc_ids = (pa.repeat(matched.pairs[name][place], len(is_long)) for name in ("source_doc_id", "target_doc_id"))
    columns = [*doc_ids, *ids, pa.array(links.cosine), pa.array(links.alignment), *texts]
    return check("local_pairs", pa.Table.from_arrays(columns, schema=empty("local_pairs").schema))


def _lists(ids: pa.ChunkedArray, starts: np.ndarray, counts: np.ndarray) -> pa.Array:
    """The ids of each run of sentences."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat(ids).take(pa.array(rows)), type=IDS)


def _texts(
    texts: pa.ChunkedArray, starts: np.ndarray, counts: np.ndarray, is_long: np.ndarray, language: str
) -> pa.Array:
    """The text of each run of sentences, null where it is not asked for."""
    known = texts.to_pylist()
    runs = zip(starts.tolist(), counts.tolist(), is_long.tolist(), strict=True)
    return pa.array(
        [joined(known[start : start + count], language) if wanted else None for start, count, wanted in runs],
        pa.string(),
    )
