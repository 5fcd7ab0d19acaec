from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from encoder.evaluation import best_partners, nearest, xsim
from tasks.evaluation.retrieval import ROWS_AT_ONCE, both_ways, errors_between, same_text


def some(rows, seed, dimension=8):
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(0, 100))
def test_both_directions_are_what_each_is_alone(left, right, k, seed):
    x, y = some(left, seed), some(right, seed + 1)
    found = both_ways(x, y, k)
    k = min(k, left, right)
    np.testing.assert_array_equal(found.forward.rows, nearest(x, y, k)[0])
    np.testing.assert_array_equal(found.backward.rows, nearest(y, x, k)[0])
    np.testing.assert_array_equal(found.by_margin().forward, best_partners(x, y, "ratio", k))
    np.testing.assert_array_equal(found.by_margin().backward, best_partners(y, x, "ratio", k))


def test_of_equal_candidates_the_first_is_first():
    x = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    y = np.eye(3, dtype=np.float32)[[1, 0, 0, 0]]
    found = both_ways(x, y, 2)
    assert found.forward.rows.tolist() == [[1, 2], [1, 2], [0, 1]]
    assert found.backward.rows.tolist() == [[2, 0], [0, 1], [0, 1], [0, 1]]


def test_blocks_change_nothing():
    x, y = some(ROWS_AT_ONCE + 40, 1), some(50, 2)
    whole, part = both_ways(x, y, 3), both_ways(x[ROWS_AT_ONCE:], y, 3)
    np.testing.assert_array_equal(whole.forward.rows[ROWS_AT_ONCE:], part.forward.rows)
    np.testing.assert_array_equal(whole.backward.rows, nearest(y, x, 3)[0])


def test_equal_texts_stand_for_each_other():
    assert same_text(["a", "b", "a"], np.array([2, 0, 1])).tolist() == [True, False, False]


def test_a_matrix_holds_xsim_of_every_two_languages():
    vectors = {name: some(30, seed) for seed, name in enumerate("abc")}
    texts = {name: [f"{name} {row // 2}" for row in range(30)] for name in "abc"}
    found = {(source, target): error for source, target, error in errors_between(vectors, texts)}
    assert len(found) == 6
    for (source, target), error in found.items():
        alone = xsim(vectors[source], vectors[target], texts[source], texts[target])
        assert error == pytest.approx(alone)
