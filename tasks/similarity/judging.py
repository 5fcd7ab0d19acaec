"""Neighbours in, the pairs that a second, slower judge should score out; its scores in, the margins by them out."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.ids import joined_ids
from tasks.similarity.compiled import compiled
from tasks.similarity.identifiers import positions
from tasks.similarity.margin import Candidates, Margin, Margins, compared, listed_candidates, with_margins
from tasks.similarity.neighbour_tables import Sides
from tasks.similarity.neighbours import Neighbours
from tasks.similarity.ranking import Ranking

NEIGHBOURHOOD = 4  # best judged candidates of a sentence; of 2, 3, 4 and 6 this was best: docs/mining.md
PLAUSIBLE: dict[Margin, float] = {"ratio": 1.05, "distance": 0.02, "absolute": 0.0}  # measured: docs/mining.md

_ANY = np.float32(np.finfo(np.float32).min)


class _Looking(Settings):
    """Which candidates are worth a look."""

    plausible: Annotated[
        float | None,
        Field(
            description="Least margin that makes a pair plausible; null: 1.05 (ratio), 0.02 (distance), 0 (absolute)"
        ),
    ] = None

    def least(self, margin: Margin) -> np.float32:
        """Least margin of this kind that makes a pair plausible."""
        return np.float32(PLAUSIBLE[margin] if self.plausible is None else self.plausible)


class AlignmentJudge(_Looking):
    """How well the tokens of a pair match each other, by the token vectors of the encoder that the sentences have.

    It looks at all neighbours of the sentences of plausible pairs: it is cheap, and compares a pair with them.
    """

    kind: Literal["alignment"] = "alignment"


class EncoderJudge(_Looking):
    """The cosine of a pair by another, better encoder, which need not embed the sentences without a plausible partner.

    It looks at what is between sentences of plausible pairs: to score these, plausible or not, no other is embedded.
    """

    kind: Literal["encoder"] = "encoder"
    encoder: Annotated[str, Field(min_length=1, description="Name of the encoder that judges")]


Judge: TypeAlias = Annotated[
    AlignmentJudge | EncoderJudge, Field(discriminator="kind", description="Who judges the candidates")
]


class JudgeConfig(Settings):
    """What is judged, by whom: margin and k are those of the mining that it serves."""

    judge: Judge = AlignmentJudge()
    margin: Annotated[Margin, Field(description="How a cosine is compared with those of the neighbourhoods")] = "ratio"
    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per side")] = 4


def to_judge(found: Neighbours, margin: Margins, config: JudgeConfig) -> Candidates:
    """The pairs that the judge is to score, each once: neighbours of sentences that are in a plausible pair.

    A pair is plausible if its margin is high enough. What it is compared with must be scored too, plausible or not: the
    alignment judge scores all on the lists of both its sentences, the encoder judge what is between two such sentences.
    """
    likely = [values >= config.judge.least(config.margin) for values in margin]
    worth = _in_some(likely[0], found.backward.rows, likely[1]), _in_some(likely[1], found.forward.rows, likely[0])
    every = config.judge.kind == "encoder"
    wanted = (
        _among(found.forward, worth[0], worth[1], every=every),
        _among(found.backward, worth[1], worth[0], every=every),
    )
    kept = [np.where(mask, values, np.float32(-np.inf)) for mask, values in zip(wanted, margin, strict=True)]
    return listed_candidates(found, (kept[0], kept[1]), _ANY)


def scores_of(judged: Candidates, sides: Sides, judgements: pa.Table) -> np.ndarray:
    """The score (float32) of each pair in a table of pair_id and score.

    Raises:
        ValueError: if a pair is not in it: the judgements are of other candidates.
    """
    rows = positions(pair_ids(judged, sides), judgements["pair_id"])
    if (rows < 0).any():
        raise ValueError(f"{int((rows < 0).sum())} of {len(rows)} candidates have not been judged")
    scores: np.ndarray = judgements["score"].to_numpy()[rows]
    return scores


def pair_ids(pairs: Candidates, sides: Sides) -> pa.Array:
    """The pair_id of each pair of rows."""
    sources, targets = (
        sides.source_ids.take(pa.array(pairs.source_rows)),
        sides.target_ids.take(pa.array(pairs.target_rows)),
    )
    return joined_ids(sources, targets)


def judged_margins(found: Neighbours, judged: Candidates, scores: np.ndarray, config: JudgeConfig) -> Margins:
    """Margins by the judge in the shape of both rankings, -inf for what was not judged: it cannot be chosen.

    By an encoder the margin is that of its cosines. By alignment it is the first margin times the alignment margin: the
    score over the mean of both sentences' mean scores, a ratio whatever the first margin is. The mean is over a
    sentence's NEIGHBOURHOOD best candidates on either side's lists, or as many as there are; see `_neighbourhood`.

    Args:
        found: the neighbours.
        judged: what `to_judge` gave for them.
        scores: of these (float32), finite.
        config: who judged, and the kind of margin.
    """
    around = _neighbourhood(found, judged, scores, config.judge)
    own = _means_of_best(around.source_rows, around.margin, len(found.forward.rows), NEIGHBOURHOOD)
    others = _means_of_best(around.target_rows, around.margin, len(found.backward.rows), NEIGHBOURHOOD)
    means = own[judged.source_rows], others[judged.target_rows]
    if config.judge.kind == "encoder":
        values = compared(scores, *means, config.margin)
    else:
        values = judged.margin * compared(scores, *means, "ratio")
    return with_margins(found, _everywhere(found, -np.inf), (judged.source_rows, judged.target_rows), values)


def margins_by(judgements: pa.Table, sides: Sides, margin: Margins, config: JudgeConfig) -> Margins:
    """Margins by the judge, from a table of its scores; as `to_judge`, `scores_of` and `judged_margins` together."""
    judged = to_judge(sides.neighbours, margin, config)
    return judged_margins(sides.neighbours, judged, scores_of(judged, sides, judgements), config)


def _in_some(own: np.ndarray, others_rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each sentence is in a plausible pair, on its own list or on that of a sentence of the other side."""
    some = np.asarray(own.any(axis=1))
    some[others_rows[others]] = True
    return some


def _among(ranking: Ranking, own: np.ndarray, others: np.ndarray, *, every: bool) -> np.ndarray:
    """Which neighbours are of sentences worth a look: both of a pair, or at least one."""
    if not len(others):
        return np.zeros(ranking.rows.shape, np.bool_)
    theirs = others[ranking.rows]  # -1 is no row, and any answer does for it
    return np.asarray((own[:, None] & theirs) if every else (own[:, None] | theirs))


def _everywhere(found: Neighbours, value: float) -> Margins:
    forward, backward = (np.full(ranking.rows.shape, value, np.float32) for ranking in found)
    return forward, backward


def _neighbourhood(found: Neighbours, judged: Candidates, scores: np.ndarray, judge: Judge) -> Candidates:
    """The candidates with which a judged pair is compared, each with its score as the margin.

    Of alignments these are the judged ones, as all neighbours of plausible sentences are. An encoder leaves gaps, and a
    pair without company would have a margin of 1 however good it is. So the others count with their first cosine plus
    the mean difference of the two encoders' cosines. On news, with a quarter of the sentences embedded, this is worth 6
    to 10 points of F1: docs/mining.md.
    """
    if judge.kind == "alignment" or not len(scores):
        return judged._replace(margin=scores)
    shift = math.fsum((scores.astype(np.float64) - judged.cosine).tolist()) / len(
        scores
    )  # exact: in any order the same
    guessed = found.forward.cosines + np.float32(shift), found.backward.cosines + np.float32(shift)
    rows = judged.source_rows, judged.target_rows
    return listed_candidates(found, with_margins(found, guessed, rows, scores), _ANY)


@compiled
def _means_of_best(owners: np.ndarray, scores: np.ndarray, count: int, most: int) -> np.ndarray:
    """Mean (float64) of the best scores of each owner, summed best first: the order of the pairs says nothing."""
    best = np.full((count, most), -np.inf, np.float32)
    for pair in range(len(owners)):
        row = best[owners[pair]]
        place = most
        while place > 0 and scores[pair] > row[place - 1]:
            place -= 1
        for index in range(most - 1, place, -1):
            row[index] = row[index - 1]
        if place < most:
            row[place] = scores[pair]
    means = np.zeros(count, np.float64)
    for owner in range(count):
        there = 0
        for value in best[owner]:
            if value > -np.inf:
                means[owner] += np.float64(value)
                there += 1
        means[owner] /= max(there, 1)
    return means
