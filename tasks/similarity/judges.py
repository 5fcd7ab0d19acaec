"""Sentences with their texts and the encoders of a judge in, its scores, or the pairs mined by them, out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoder.inference import SentenceEncoder
from encoder.threads import on_one_thread_each
from encoder.token_vectors import TokenEncoder, token_encoder
from storage.schemas import ID
from tasks.similarity.identifiers import keys
from tasks.similarity.judging import Judge, JudgeConfig, pair_ids, to_judge
from tasks.similarity.margin import margins
from tasks.similarity.neighbour_tables import neighbour_table, sides_of
from tasks.similarity.neighbours import search
from tasks.similarity.ranking import cosines_of
from tasks.similarity.retrieval import Judgements, MineConfig, candidates, mine
from tasks.similarity.token_alignment import Tokens, alignment_scores, tokens_of

Encoders: TypeAlias = tuple[SentenceEncoder, SentenceEncoder]
Texts: TypeAlias = tuple[pa.Array, pa.Array]

_BYTES_AT_ONCE = 262_144  # of text, of both sides: about 80 MB of token vectors of 288 dimensions, twice
_SENTENCES_AT_ONCE = 16_384


class Reader(NamedTuple):
    """A judge with what it reads: the encoders by which it judges, and the texts of both sides."""

    judge: Judge
    encoders: Encoders
    texts: Texts


def mine_judged(
    source: np.ndarray,
    target: np.ndarray,
    config: MineConfig,
    reader: Reader,
    *,
    refuse: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Source rows, target rows, cosines and judged margins of the pairs between two arrays of unit vectors.

    It is what the stages of a build do, one after the other: search, judge what is plausible, choose by the judge's
    margins; row numbers stand for ids. `refuse` is as in `mine_vectors`.

    Raises:
        ValueError: as `scores_by`.
    """
    places = np.arange(len(source)), np.arange(len(target))
    ids = _row_ids(len(source)), _row_ids(len(target))
    near = neighbour_table(search(source, target, places, config.k), *ids)
    judging = JudgeConfig(judge=reader.judge, margin=config.margin, k=config.k)
    judgements = Judgements(_judgements(near, reader, judging), judging)
    refused = None
    if refuse is not None:
        listed = candidates(near, config, judgements)
        refused = listed.filter(pa.array(refuse(_rows_of(listed["source_id"]), _rows_of(listed["target_id"]))))
    pairs = mine(near, config, refused=refused, judgements=judgements)
    rows = _rows_of(pairs["source_id"]), _rows_of(pairs["target_id"])
    return *rows, pairs["cosine"].to_numpy(), pairs["margin"].to_numpy()


def scores_by(judge: Judge, encoders: Encoders, texts: Texts, pairs: np.ndarray) -> np.ndarray:
    """Score (float32) of each pair; the same in any order, company and number of threads.

    Args:
        judge: which kind of score.
        encoders: of source and target, in one space.
        texts: sentences of both sides, as Arrow arrays of strings; those of no pair are not looked at.
        pairs: rows of the sentences, int64 (n, 2).

    Raises:
        ValueError: if the encoders have no token vectors for an alignment, or vectors of different dimensions.
    """
    if judge.kind == "encoder":
        return _cosines(encoders, texts, pairs)
    return _alignments(encoders, texts, pairs)


def _judgements(near: pa.Table, reader: Reader, judging: JudgeConfig) -> pa.Table:
    sides = sides_of(near, judging.k)
    wanted = to_judge(sides.neighbours, margins(sides.neighbours, judging.margin), judging)
    ids = pair_ids(wanted, sides)
    scores = np.empty(0, np.float32)
    if len(ids):
        rows = np.stack([wanted.source_rows, wanted.target_rows], axis=1)  # in the order of ids, which are rows
        scores = scores_by(reader.judge, reader.encoders, reader.texts, rows)
    return pa.table({"pair_id": ids, "score": scores})


def _row_ids(count: int) -> pa.Array:
    """Row numbers as ids of that order."""
    words = np.zeros((count, 2), ">u8")
    words[:, 1] = np.arange(count)
    return pa.FixedSizeBinaryArray.from_buffers(ID, count, [None, pa.py_buffer(words.tobytes())])


def _rows_of(ids: pa.ChunkedArray) -> np.ndarray:
    return keys(ids)[:, 1].astype(np.int64)


def _alignments(encoders: Encoders, texts: Texts, pairs: np.ndarray) -> np.ndarray:
    tokenisers = token_encoder(encoders[0]), token_encoder(encoders[1])
    scores = np.empty(len(pairs), np.float32)

    def score(rows: np.ndarray) -> None:
        sources, left = np.unique(pairs[rows, 0], return_inverse=True)
        targets, right = np.unique(pairs[rows, 1], return_inverse=True)
        source = _tokens(tokenisers[0], texts[0], sources)
        target = _tokens(tokenisers[1], texts[1], targets)
        scores[rows] = alignment_scores(source, target, np.stack([left, right], axis=1))

    on_one_thread_each(score, list(_batches(texts, pairs)))
    return scores


def _tokens(tokeniser: TokenEncoder, texts: pa.Array, rows: np.ndarray) -> Tokens:
    return tokens_of(*tokeniser.token_vectors(texts.take(pa.array(rows)).to_pylist()))


def _batches(texts: Texts, pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Places of pairs that are scored together, those of one source one after the other."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    sizes = [pc.binary_length(side).to_numpy(zero_copy_only=False) for side in texts]
    total = np.cumsum(sizes[0][pairs[order, 0]].astype(np.int64) + sizes[1][pairs[order, 1]])
    cuts = np.flatnonzero(np.diff(total // _BYTES_AT_ONCE)) + 1
    yield from (rows for rows in np.split(order, cuts) if len(rows))


def _cosines(encoders: Encoders, texts: Texts, pairs: np.ndarray) -> np.ndarray:
    sources, left = np.unique(pairs[:, 0], return_inverse=True)
    targets, right = np.unique(pairs[:, 1], return_inverse=True)
    if encoders[0].dimension != encoders[1].dimension:
        dimensions = " and ".join(str(one.dimension) for one in encoders)
        raise ValueError(f"vectors of {dimensions} dimensions cannot be compared")
    x, y = _vectors(encoders[0], texts[0], sources), _vectors(encoders[1], texts[1], targets)
    return cosines_of(x, y, (left, right))


def _vectors(encoder: SentenceEncoder, texts: pa.Array, rows: np.ndarray) -> np.ndarray:
    """Vectors of some sentences, rounded to float16 as those are that a search reads."""
    vectors = np.empty((len(rows), encoder.dimension), np.float16)
    for start in range(0, len(rows), _SENTENCES_AT_ONCE):
        part = slice(start, start + _SENTENCES_AT_ONCE)
        vectors[part] = encoder.encode(texts.take(pa.array(rows[part])).to_pylist())
    return vectors
