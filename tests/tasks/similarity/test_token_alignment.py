from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.similarity.token_alignment import STEPS, WIDEST, alignment_scores, tokens_of


def side(seed, lengths, width):
    """Token vectors of sentences of these lengths, some of them zeros."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(sum(lengths), width)).astype(np.float32) * rng.exponential(size=(sum(lengths), 1))
    values[rng.random(len(values)) < 0.1] = 0
    return values.astype(np.float32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def every_pair(left, right):
    return np.array([(row, column) for row in range(left) for column in range(right)], np.int64).reshape(-1, 2)


def by_definition(one, other):
    """The mean over the tokens of one sentence of the best cosine with a token of the other, and the other way."""
    one, other = (tokens[np.linalg.norm(tokens, axis=1) > 0].astype(np.float64) for tokens in (one, other))
    if not len(one) or not len(other):
        return 0.0
    lengths = [np.linalg.norm(tokens, axis=1) for tokens in (one, other)]
    cosines = (one / lengths[0][:, None]) @ (other / lengths[1][:, None]).T
    ways = np.average(cosines.max(axis=1), weights=lengths[0]), np.average(cosines.max(axis=0), weights=lengths[1])
    return sum(ways) / 2


LENGTHS = st.lists(st.integers(0, 20), min_size=1, max_size=5)


@settings(max_examples=40)
@given(LENGTHS, LENGTHS, st.sampled_from([1, 3, 8, 30]), st.integers(0, 99))
def test_scores_are_those_of_the_definition(left, right, width, seed):
    (x, x_offsets), (y, y_offsets) = side(seed, left, width), side(seed + 100, right, width)
    pairs = every_pair(len(left), len(right))
    found = alignment_scores(tokens_of(x, x_offsets), tokens_of(y, y_offsets), pairs)
    wanted = [
        by_definition(x[x_offsets[row] : x_offsets[row + 1]], y[y_offsets[column] : y_offsets[column + 1]])
        for row, column in pairs
    ]
    np.testing.assert_allclose(found, wanted, atol=3 / STEPS * np.sqrt(width))


@settings(max_examples=40)
@given(LENGTHS, LENGTHS, st.integers(0, 99), st.randoms(use_true_random=False))
def test_a_score_has_the_same_bits_in_any_order_and_company(left, right, seed, chance):
    x, y = tokens_of(*side(seed, left, 19)), tokens_of(*side(seed + 100, right, 19))
    pairs = every_pair(len(left), len(right))
    found = alignment_scores(x, y, pairs)
    order = list(range(len(pairs)))
    chance.shuffle(order)
    assert alignment_scores(x, y, pairs[order]).tobytes() == found[order].tobytes()
    assert alignment_scores(x, y, pairs[order[:1]]).tobytes() == found[order[:1]].tobytes()


def test_sides_may_change_places():
    x, y = tokens_of(*side(1, [5, 17, 1], 40)), tokens_of(*side(2, [16, 2], 40))
    pairs = every_pair(3, 2)
    np.testing.assert_allclose(alignment_scores(x, y, pairs), alignment_scores(y, x, pairs[:, ::-1].copy()), rtol=1e-6)


@pytest.mark.parametrize("width", [288, 4000, WIDEST])
def test_every_sum_of_products_is_exact_in_float32(width):
    values = np.random.default_rng(0).normal(size=(6, width)).astype(np.float32)
    values[1] = values[0]
    values[2] = 1  # all roundings go the same way
    directions = tokens_of(values, np.array([0, 6])).directions
    assert np.array_equal(directions, np.rint(directions))
    exact = directions.astype(np.int64) @ directions.T.astype(np.int64)
    most = np.abs(directions).astype(np.int64) @ np.abs(directions).T.astype(np.int64)
    assert most.max() <= 2**24
    assert np.array_equal(directions @ directions.T, exact)


def test_a_sentence_fits_itself_and_length_is_weight_alone():
    values, offsets = side(3, [9, 4], 32)
    one, other = tokens_of(values, offsets), tokens_of(values * np.float32(8), offsets)
    pairs = every_pair(2, 2)
    scores = alignment_scores(one, one, pairs)
    np.testing.assert_allclose(scores[[0, 3]], 1, atol=1e-3)
    assert scores[1] < 0.9
    assert alignment_scores(one, other, pairs).tobytes() == scores.tobytes()


def test_a_sentence_without_tokens_fits_nothing():
    none = tokens_of(np.zeros((2, 3), np.float32), np.array([0, 2, 2]))
    some = tokens_of(np.ones((2, 3), np.float32), np.array([0, 2]))
    assert list(alignment_scores(none, some, np.array([[0, 0], [1, 0]]))) == [0, 0]
    assert len(alignment_scores(none, some, np.empty((0, 2), np.int64))) == 0
    empty = tokens_of(np.empty((0, 3), np.float32), np.array([0]))
    assert len(alignment_scores(empty, empty, np.empty((0, 2), np.int64))) == 0


@pytest.mark.parametrize(
    ("values", "offsets"),
    [
        (np.ones((2, 3), np.float32), [0, 3]),
        (np.ones((2, 3), np.float32), [1, 2]),
        (np.full((2, 3), np.nan, np.float32), [0, 2]),
        (np.full((2, 3), np.float32(3e38)), [0, 2]),
        (np.ones(3, np.float32), [0, 3]),
        (np.ones((1, WIDEST + 1), np.float32), [0, 1]),
    ],
)
def test_what_is_no_token_vector_is_refused(values, offsets):
    with pytest.raises(ValueError, match="token vector"):
        tokens_of(values, np.array(offsets))


def test_sides_of_two_encoders_are_refused():
    one, other = (tokens_of(np.ones((1, width), np.float32), np.array([0, 1])) for width in (3, 4))
    with pytest.raises(ValueError, match="two encoders"):
        alignment_scores(one, other, np.array([[0, 0]]))
