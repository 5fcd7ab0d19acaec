"""all blocks of neighbours of a language pair, with texts -> judgements: scores of its plausible pairs by a judge"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from encoder.inference import SentenceEncoder
from encoder.token_vectors import token_encoder
from storage.errors import ConfigError
from storage.handles import Precedent, Rows
from storage.jobs import Job, Need, Slot, Tally
from storage.manifest import Dataset
from storage.schemas import conform
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import EncoderReference
from tasks.similarity.identifiers import flat, positions, ranks
from tasks.similarity.judges import scores_by
from tasks.similarity.judging import JudgeConfig, pair_ids, to_judge
from tasks.similarity.margin import Candidates, margins
from tasks.similarity.neighbour_tables import Sides, merge_tables, sides_of

VERSION = 1
UNJUDGED = "no plausible partner"  # how many sentences the judge need not look at
_ROWS = 262_144

_Judges = tuple[EncoderReference, EncoderReference]


class _Wanted(NamedTuple):
    """What is to be judged, in the order of pair_id."""

    ids: pa.Array
    pairs: Candidates
    sides: Sides


@stage(task_run_name="judge-{pair}")
def judge_candidates(  # noqa: PLR0913, PLR0917 - a join of what is near and what is written
    store: Store,
    pair: str,
    blocks: list[Dataset],
    sources: list[Dataset],
    targets: list[Dataset],
    encoders: tuple[EncoderReference, EncoderReference],
    config: JudgeConfig,
) -> Dataset:
    """Let a second, slower judge score the candidates that the neighbours of all blocks leave plausible.

    Args:
        store: where all is kept.
        pair: labels of source and target, "deu_Latn-eng_Latn".
        blocks: neighbours of all crawls by crawls.
        sources: the source language's unique_sentences.
        targets: the target language's.
        encoders: of source and target; an alignment is by those that embedded the sentences.
        config: who judges what.

    Raises:
        ConfigError: if the encoders cannot judge.
    """
    inputs = (tuple(blocks), tuple(sources), tuple(targets), encoders[0].fingerprint, encoders[1].fingerprint)
    slot = Slot("pair_scores", f"{pair}/judge")
    compute, update = partial(_judge, encoders), partial(_update, encoders)
    need: Need = "gpu" if config.judge.kind == "encoder" else "machine"
    job = Job("judge_candidates", VERSION, config, inputs, (slot,), compute, update=update, need=need)
    return store.derive(job)[0]


def check_alignment(encoder: SentenceEncoder, field: str) -> None:
    """Refuse an encoder that cannot judge by alignment, before the work.

    Raises:
        ConfigError: naming the field that asks for it.
    """
    try:
        token_encoder(encoder)
    except ValueError as error:
        raise ConfigError(f"{field}: {error}") from error


def _judge(encoders: _Judges, tally: Tally, config: JudgeConfig, *inputs: Any) -> Iterator[tuple[str, pa.Table]]:
    blocks, sources, targets, *_ = inputs
    wanted = _wanted(tally, config, blocks)
    scores = _scores(encoders, config, wanted, sources, targets)
    yield "pair_scores", _table(wanted.ids, scores)


def _update(
    encoders: _Judges, tally: Tally, config: JudgeConfig, precedent: Precedent, *inputs: Any
) -> Iterator[tuple[str, pa.Table]] | None:
    """Keep the scores that are there: an id stands for both texts, and the encoders are the same."""
    return _patched(encoders, tally, config, precedent, *inputs) if precedent.inputs[3:] == list(inputs[3:]) else None


def _patched(
    encoders: _Judges, tally: Tally, config: JudgeConfig, precedent: Precedent, *inputs: Any
) -> Iterator[tuple[str, pa.Table]]:
    blocks, sources, targets, *_ = inputs
    wanted, known = _wanted(tally, config, blocks), precedent.rows("pair_scores").read()
    rows = positions(wanted.ids, known["pair_id"])
    scores = np.append(known["score"].to_numpy(), np.float32(0))[rows]
    new = wanted._replace(pairs=_taken(wanted.pairs, rows < 0))
    scores[rows < 0] = _scores(encoders, config, new, sources, targets)
    yield "pair_scores", _table(wanted.ids, scores)


def _wanted(tally: Tally, config: JudgeConfig, blocks: list[Rows]) -> _Wanted:
    sides = sides_of(merge_tables([block.read() for block in blocks], config.k), config.k)
    pairs = to_judge(sides.neighbours, margins(sides.neighbours, config.margin), config)
    looked_at = len(np.unique(pairs.source_rows)) + len(np.unique(pairs.target_rows))
    tally[UNJUDGED] += len(sides.source_ids) + len(sides.target_ids) - looked_at
    ids = pair_ids(pairs, sides)
    order = np.argsort(ranks(ids))
    return _Wanted(ids.take(pa.array(order)), _taken(pairs, order), sides)


def _taken(pairs: Candidates, which: np.ndarray) -> Candidates:
    return Candidates(*(column[which] for column in pairs))


def _scores(
    encoders: _Judges, config: JudgeConfig, wanted: _Wanted, sources: list[Rows], targets: list[Rows]
) -> np.ndarray:
    """The scores of the wanted pairs, with the texts of no other sentence in memory."""
    if not len(wanted.pairs.source_rows):
        return np.empty(0, np.float32)
    left, source_rows = _texts(sources, wanted.sides.source_ids, wanted.pairs.source_rows)
    right, target_rows = _texts(targets, wanted.sides.target_ids, wanted.pairs.target_rows)
    loaded = encoders[0].load(sources[0].store), encoders[1].load(targets[0].store)
    try:
        return scores_by(config.judge, loaded, (left, right), np.stack([source_rows, target_rows], axis=1))
    except ValueError as error:
        raise ConfigError(f"judge: {error}") from error


def _texts(parts: list[Rows], ids: pa.Array, rows: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """The texts of the sentences that some rows name, each once, and where each row's is among them."""
    named, places = np.unique(rows, return_inverse=True)
    wanted = ids.take(pa.array(named))
    found, at = list[pa.ChunkedArray](), list[np.ndarray]()
    for part in parts:
        for batch in part.batches(["sentence_id", "text"], rows=_ROWS):
            place = positions(batch["sentence_id"], wanted)
            found.append(batch["text"].filter(pa.array(place >= 0)).cast(pa.large_string()))
            at.append(place[place >= 0])
    order = np.empty(len(named), np.int64)
    order[np.concatenate(at)] = np.arange(len(named))
    return flat(pa.chunked_array([chunk for one in found for chunk in one.chunks], pa.large_string())), order[places]


def _table(ids: pa.Array, scores: np.ndarray) -> pa.Table:
    return conform("pair_scores", pa.table({"pair_id": ids, "score": pa.array(scores, pa.float32())}))
