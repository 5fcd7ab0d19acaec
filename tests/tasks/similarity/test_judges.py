from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from encoder.registry import load_encoder
from encoder.token_vectors import token_encoder
from tasks.similarity.judges import scores_by
from tasks.similarity.judging import AlignmentJudge, EncoderJudge
from tasks.similarity.token_alignment import alignment_scores, tokens_of

GERMAN = ["Der Zug fährt nach Berlin.", "Der Ofen ist heiß.", "", "Nicht gefragt."]
ENGLISH = ["The oven is hot.", "The train goes to Berlin.", "Nobody asked."]
PAIRS = np.array([[1, 0], [0, 0], [0, 1], [1, 1], [2, 1]])
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


@pytest.mark.parametrize("judge", JUDGES)
def test_no_pair_no_score(both, judge):
    assert len(scores_by(judge, both, texts([], []), np.empty((0, 2), np.int64))) == 0


def test_encoders_that_cannot_judge_are_told(both):
    with pytest.raises(ValueError, match="Halved has no token vectors"):
        scores_by(AlignmentJudge(), (both[0], Halved()), texts(GERMAN, ENGLISH), PAIRS)
    with pytest.raises(ValueError, match="288 and 144 dimensions"):
        scores_by(EncoderJudge(encoder="x"), (both[0], Halved()), texts(GERMAN, ENGLISH), PAIRS)
