from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from encoder.inference import unit_rows
from encoder.registry import load_encoder
from encoder.token_vectors import token_encoder
from storage.ids import content_id
from storage.schemas import ID
from tasks.similarity.judges import Reader, mine_judged, scores_by
from tasks.similarity.judging import AlignmentJudge, EncoderJudge, JudgeConfig, pair_ids, to_judge
from tasks.similarity.margin import margins
from tasks.similarity.neighbour_tables import neighbour_table, sides_of
from tasks.similarity.neighbours import neighbours
from tasks.similarity.retrieval import Judgements, MineConfig, candidates, mine
from tasks.similarity.token_alignment import alignment_scores, tokens_of

GERMAN = ["Der Zug fährt nach Berlin.", "Der Ofen ist heiß.", "", "Nicht gefragt."]
ENGLISH = ["The oven is hot.", "The train goes to Berlin.", "Nobody asked."]
PAIRS = np.array([[1, 0], [0, 0], [0, 1], [1, 1], [2, 1]])
ENDS = ("source_id", "target_id")
JUDGES = [AlignmentJudge(), EncoderJudge(encoder="default")]


class Halved:
    """An encoder with half as many numbers as the default one, and no token vectors."""

    dimension, fingerprint = 144, "half"

    def encode(self, sentences):
        vectors = np.ones((len(sentences), self.dimension), np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def both():
    encoder = load_encoder("default")
    return encoder, encoder


def texts(*sides):
    return tuple(pa.array(side, pa.large_string()) for side in sides)


@pytest.mark.parametrize("judge", JUDGES)
def test_translations_score_best_and_a_sentence_without_words_nothing(both, judge):
    scores = scores_by(judge, both, texts(GERMAN, ENGLISH), PAIRS)
    assert scores[0] > scores[1] + 0.2
    assert scores[2] > scores[3] + 0.2
    assert scores[4] == 0


def test_an_alignment_is_that_of_the_token_vectors(both):
    tokens = [tokens_of(*token_encoder(both[0]).token_vectors(side)) for side in (GERMAN, ENGLISH)]
    found = scores_by(AlignmentJudge(), both, texts(GERMAN, ENGLISH), PAIRS)
    assert found.tobytes() == alignment_scores(*tokens, PAIRS).tobytes()


def test_a_cosine_is_that_of_the_vectors(both):
    x, y = (both[0].encode(side).astype(np.float16).astype(np.float64) for side in (GERMAN, ENGLISH))
    found = scores_by(EncoderJudge(encoder="default"), both, texts(GERMAN, ENGLISH), PAIRS)
    np.testing.assert_allclose(found, (x[PAIRS[:, 0]] * y[PAIRS[:, 1]]).sum(axis=1), rtol=1e-6)


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("threads", [1, 3])
def test_scores_are_the_same_in_any_order_company_and_number_of_threads(both, judge, threads):
    rng = np.random.default_rng(0)
    words = ["Zug", "train", "Ofen", "oven", "Berlin", "heiß", "hot", "Haus", "house", "der", "the"]
    long = [" ".join(rng.choice(words, 2500)) for _ in range(40)]  # half a megabyte: worked on in some pieces
    pairs = np.unique(rng.integers(0, 20, (60, 2)), axis=0)
    sides = texts(long[:20], long[20:])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = scores_by(judge, both, sides, pairs)
        order = rng.permutation(len(pairs))
        assert scores_by(judge, both, sides, pairs[order]).tobytes() == found[order].tobytes()
    finally:
        torch.set_num_threads(before)
    for row in (0, 17):
        assert scores_by(judge, both, sides, pairs[[row]]).tobytes() == found[[row]].tobytes()


def words(language):
    """Sentences of numbers, some of them in those of another language too."""
    rng = np.random.default_rng(len(language))
    return [f"{language} {' '.join(map(str, rng.integers(0, 9, 2)))} {row}" for row in range(60)]


def near_vectors(encoder, side):
    """Vectors, a little aside, so that no two are equally near: ties are broken by ids, and rows are others."""
    vectors = encoder.encode(side)
    return unit_rows(vectors + np.random.default_rng(0).normal(0, 1e-3, vectors.shape).astype(np.float32))


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("retrieval", ["forward", "max", "union"])
@pytest.mark.parametrize("is_guarded", [False, True])
def test_pairs_of_two_arrays_are_those_of_the_stages(both, judge, retrieval, is_guarded):
    sides = words("Haus"), words("house")
    vectors = [near_vectors(both[0], side) for side in sides]
    config = MineConfig(retrieval=retrieval, threshold=0.9, k=3)
    judging = JudgeConfig(judge=judge, k=3)

    def refuse(sources, targets):
        return (sources + targets) % 3 == 0 if is_guarded else np.zeros(len(sources), np.bool_)

    rows, columns, cosines, worth = mine_judged(
        *vectors, config, Reader(judge, both, texts(*sides)), refuse=refuse if is_guarded else None
    )
    ids = [
        pa.array([content_id(language, text) for text in side], ID) for language, side in zip("ab", sides, strict=True)
    ]
    near = neighbour_table(neighbours(*vectors, *ids, 3), *ids)
    parts = sides_of(near, 3)
    wanted = to_judge(parts.neighbours, margins(parts.neighbours, "ratio"), judging)
    own = [[place[one] for one in part.to_pylist()] for place, part in zip(places(ids), parts[:2], strict=True)]
    pairs = [(own[0][row], own[1][column]) for row, column in zip(wanted.source_rows, wanted.target_rows, strict=True)]
    scores = scores_by(judge, both, texts(*sides), np.array(pairs))
    judgements = Judgements(pa.table({"pair_id": pair_ids(wanted, parts), "score": scores}), judging)
    listed = candidates(near, config, judgements)
    source, target = (
        [place[one] for one in listed[name].to_pylist()] for place, name in zip(places(ids), ENDS, strict=True)
    )
    refused = listed.filter(pa.array(refuse(np.array(source), np.array(target))))
    found = mine(near, config, refused=refused, judgements=judgements)
    expected = [[place[one] for one in found[name].to_pylist()] for place, name in zip(places(ids), ENDS, strict=True)]
    assert len(rows) > 10
    assert sorted(zip(rows, columns, cosines, worth, strict=True)) == sorted(
        zip(*expected, found["cosine"].to_pylist(), found["margin"].to_pylist(), strict=True)
    )
    assert (np.diff(worth) <= 0).all()
    assert not is_guarded or not refuse(rows, columns).any()


def places(ids):
    return [{one: row for row, one in enumerate(side.to_pylist())} for side in ids]


@pytest.mark.parametrize("judge", JUDGES)
def test_without_anything_plausible_nothing_is_mined(both, judge):
    vectors = both[0].encode(GERMAN), both[0].encode(ENGLISH)
    strict = judge.model_copy(update={"plausible": 99.0})
    none = np.empty((0, both[0].dimension), np.float32)
    reader = Reader(strict, both, texts(GERMAN, ENGLISH))
    assert [len(one) for one in mine_judged(*vectors, MineConfig(threshold=-np.inf), reader)] == [0] * 4
    reader = Reader(judge, both, texts([], ENGLISH))
    assert [len(one) for one in mine_judged(none, vectors[1], MineConfig(threshold=-np.inf), reader)] == [0] * 4


@pytest.mark.parametrize("judge", JUDGES)
def test_no_pair_no_score(both, judge):
    assert len(scores_by(judge, both, texts([], []), np.empty((0, 2), np.int64))) == 0


def test_encoders_that_cannot_judge_are_told(both):
    with pytest.raises(ValueError, match="Halved has no token vectors"):
        scores_by(AlignmentJudge(), (both[0], Halved()), texts(GERMAN, ENGLISH), PAIRS)
    with pytest.raises(ValueError, match="288 and 144 dimensions"):
        scores_by(EncoderJudge(encoder="x"), (both[0], Halved()), texts(GERMAN, ENGLISH), PAIRS)
