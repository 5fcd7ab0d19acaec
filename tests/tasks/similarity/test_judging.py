from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from storage.schemas import ID
from tasks.similarity.judging import (
    NEIGHBOURHOOD,
    PLAUSIBLE,
    AlignmentJudge,
    EncoderJudge,
    Judge,
    JudgeConfig,
    judged_margins,
    margins_by,
    pair_ids,
    scores_of,
    to_judge,
)
from tasks.similarity.margin import Candidates, margins
from tasks.similarity.neighbour_tables import Sides
from tasks.similarity.neighbours import neighbours

JUDGES = {"alignment": AlignmentJudge, "encoder": lambda **settings: EncoderJudge(encoder="other", **settings)}


def sides(seed, left, right, k):
    rng = np.random.default_rng(seed)
    vectors = [rng.normal(size=(count, 4)) for count in (left, right)]
    source, target = ((one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in vectors)
    ids = [pa.array([rng.bytes(16) for _ in range(count)], ID) for count in (left, right)]
    return Sides(*ids, neighbours(source, target, *ids, k))


def listed(found):
    """All pairs of rows that are on a list, and the margins as a dictionary."""
    values = margins(found, "ratio")
    forward = {
        (row, column): float(values[0][row, place])
        for row, columns in enumerate(found.forward.rows.tolist())
        for place, column in enumerate(columns)
        if column >= 0
    }
    backward = {
        (row, column): float(values[1][column, place])
        for column, rows in enumerate(found.backward.rows.tolist())
        for place, row in enumerate(rows)
        if row >= 0
    }
    return forward | backward


def rows_of(pairs):
    return list(zip(pairs.source_rows.tolist(), pairs.target_rows.tolist(), strict=True))


def config(kind, plausible, k=4, margin="ratio"):
    return JudgeConfig(judge=JUDGES[kind](plausible=plausible), k=k, margin=margin)


CASES = st.tuples(st.integers(0, 999), st.integers(0, 12), st.integers(0, 12), st.integers(1, 5))


@settings(max_examples=60)
@given(CASES, st.sampled_from(sorted(JUDGES)), st.floats(0.5, 1.5))
def test_judged_are_the_neighbours_of_sentences_with_a_plausible_partner(case, kind, plausible):
    found = sides(*case).neighbours
    every = listed(found)
    likely = [pair for pair, margin in every.items() if margin >= np.float32(plausible)]
    sources, targets = {source for source, _ in likely}, {target for _, target in likely}
    both = all if kind == "encoder" else any
    wanted = {(source, target) for source, target in every if both([source in sources, target in targets])}
    pairs = to_judge(found, margins(found, "ratio"), config(kind, plausible, case[-1]))
    assert sorted(rows_of(pairs)) == sorted(wanted)
    assert set(likely) <= wanted
    assert [every[pair] for pair in rows_of(pairs)] == pairs.margin.tolist()


@settings(max_examples=30)
@given(CASES, st.sampled_from(sorted(JUDGES)), st.floats(0.5, 1.5), st.floats(0.5, 1.5))
def test_the_more_must_be_plausible_the_less_is_judged(case, kind, one, other):
    found = sides(*case).neighbours
    less, more = (
        set(rows_of(to_judge(found, margins(found, "ratio"), config(kind, least, case[-1]))))
        for least in sorted([one, other], reverse=True)
    )
    assert less <= more


def mean_of_best(scores):
    return np.mean(sorted(scores, reverse=True)[:NEIGHBOURHOOD])


def guessed(found, pairs, scores):
    """The first cosine of every neighbour, moved by as much as the judge's are on average."""
    shift = float(np.mean(scores.astype(np.float64) - pairs.cosine)) if len(scores) else 0.0
    return {
        pair: cosine + shift
        for ranking, turned in ((found.forward, False), (found.backward, True))
        for row, (others, cosines) in enumerate(zip(ranking.rows.tolist(), ranking.cosines.tolist(), strict=True))
        for other, cosine in zip(others, cosines, strict=True)
        if other >= 0
        for pair in [(other, row) if turned else (row, other)]
    }


@settings(max_examples=60)
@given(CASES, st.sampled_from(sorted(JUDGES)), st.sampled_from(["ratio", "distance", "absolute"]))
def test_margins_are_those_of_the_definition(case, kind, margin):
    found = sides(*case).neighbours
    first = margins(found, margin)
    settings_ = config(kind, 0.2, case[-1], margin)
    pairs = to_judge(found, first, settings_)
    scores = np.random.default_rng(case[0]).uniform(0.1, 1, len(pairs.source_rows)).astype(np.float32)
    known = dict(zip(rows_of(pairs), scores.tolist(), strict=True))
    around = known if kind == "alignment" else guessed(found, pairs, scores) | known
    wanted = {}
    for pair, margin_before in zip(rows_of(pairs), pairs.margin.tolist(), strict=True):
        means = [mean_of_best([one for other, one in around.items() if other[end] == pair[end]]) for end in (0, 1)]
        score, mean = known[pair], sum(means) / 2
        by_encoder = {"ratio": score / max(mean, 1e-9), "distance": score - mean, "absolute": score}[margin]
        wanted[pair] = (
            (by_encoder if mean > 0 or margin != "ratio" else 0) if kind == "encoder" else margin_before * score / mean
        )
    forward, backward = judged_margins(found, pairs, scores, settings_)
    for source, targets in enumerate(found.forward.rows.tolist()):
        np.testing.assert_allclose(
            forward[source], [wanted.get((source, one), -np.inf) for one in targets], rtol=1e-4, atol=1e-5
        )
    for target, sources in enumerate(found.backward.rows.tolist()):
        np.testing.assert_allclose(
            backward[target], [wanted.get((one, target), -np.inf) for one in sources], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("kind", sorted(JUDGES))
def test_the_order_of_the_pairs_changes_no_bit(kind):
    found = sides(7, 40, 30, 4).neighbours
    pairs = to_judge(found, margins(found, "ratio"), config(kind, 1.0))
    scores = np.random.default_rng(0).random(len(pairs.source_rows)).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(scores))
    shuffled = Candidates(*(column[order] for column in pairs))
    one = judged_margins(found, pairs, scores, config(kind, 1.0))
    other = judged_margins(found, shuffled, scores[order], config(kind, 1.0))
    assert [side.tobytes() for side in one] == [side.tobytes() for side in other]


def test_scores_that_fit_nothing_make_no_pair():
    found = sides(7, 10, 10, 2).neighbours
    pairs = to_judge(found, margins(found, "ratio"), config("alignment", 1.0))
    forward, backward = judged_margins(
        found, pairs, np.zeros(len(pairs.source_rows), np.float32), config("alignment", 1.0)
    )
    assert set(np.unique(forward)) | set(np.unique(backward)) <= {0.0, -np.inf}


def test_scores_are_found_by_pair_id():
    side = sides(3, 20, 15, 3)
    settings_ = config("alignment", 1.0, 3)
    first = margins(side.neighbours, "ratio")
    pairs = to_judge(side.neighbours, first, settings_)
    scores = np.random.default_rng(0).random(len(pairs.source_rows)).astype(np.float32)
    ids = pair_ids(pairs, side)
    order = np.argsort(ids.to_pylist())
    table = pa.table({"pair_id": ids.take(pa.array(order)), "score": scores[order]})
    assert scores_of(pairs, side, table).tobytes() == scores.tobytes()
    wanted = judged_margins(side.neighbours, pairs, scores, settings_)
    assert [one.tobytes() for one in margins_by(table, side, first, settings_)] == [one.tobytes() for one in wanted]
    with pytest.raises(ValueError, match=f"1 of {len(scores)} candidates have not been judged"):
        scores_of(pairs, side, table.slice(1))


def test_a_judge_is_named_by_its_kind():
    judge = TypeAdapter(Judge)
    assert judge.validate_python({"kind": "alignment"}) == AlignmentJudge()
    assert judge.validate_python({"kind": "encoder", "encoder": "laser2:x"}) == EncoderJudge(encoder="laser2:x")
    for wrong in ({"kind": "coin"}, {"kind": "encoder"}, {"kind": "alignment", "encoder": "default"}):
        with pytest.raises(ValidationError):
            judge.validate_python(wrong)
    assert AlignmentJudge().least("distance") == np.float32(PLAUSIBLE["distance"])
    assert AlignmentJudge(plausible=0.9).least("ratio") == np.float32(0.9)
