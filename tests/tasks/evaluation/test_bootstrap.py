from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.bootstrap import difference, interval

numbers = st.lists(st.floats(-100, 100), min_size=1, max_size=30)


def test_the_interval_of_a_share_is_that_of_the_binomial():
    values = np.arange(400) < 300
    low, high = interval(values, samples=4000)
    half_width = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert low == pytest.approx(0.75 - half_width, abs=0.006)
    assert high == pytest.approx(0.75 + half_width, abs=0.006)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    chance = np.random.default_rng(1)
    covered = []
    for turn in range(100):
        low, high = interval(chance.exponential(2, 80), seed=turn, samples=200, level=0.9)
        covered.append(low <= 2 <= high)
    assert 0.8 <= np.mean(covered) <= 0.97


@settings(max_examples=30, deadline=None)
@given(numbers, st.integers(0, 5))
def test_the_mean_lies_in_its_interval_and_the_order_of_values_does_not_matter(values, seed):
    found = interval(np.array(values), seed, samples=50)
    assert found == interval(np.array(sorted(values)), seed, samples=50)
    assert min(values) - 1e-9 <= found[0] <= found[1] <= max(values) + 1e-9


def test_a_higher_level_is_wider_and_a_seed_is_all_that_is_drawn():
    values = np.random.default_rng(2).normal(size=50)
    narrow, wide = interval(values, level=0.8), interval(values, level=0.99)
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]
    assert interval(values) == interval(values)
    assert interval(values) != interval(values, seed=1)


def test_one_value_everywhere_leaves_no_doubt():
    assert interval(np.full(7, 0.25)) == (0.25, 0.25)
    assert interval(np.array([True])) == (1.0, 1.0)


def test_a_paired_difference_sees_what_two_intervals_hide():
    chance = np.random.default_rng(3)
    b = chance.random(300) < 0.6
    a = b | (chance.random(300) < 0.05)
    found = difference(a, b)
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert 0 < found.low <= found.mean <= found.high
    assert found.p < 0.03
    assert interval(a)[0] < interval(b)[1]


def test_the_difference_turns_round_with_its_sides():
    chance = np.random.default_rng(4)
    a, b = chance.random(40), chance.random(40)
    there, back = difference(a, b, samples=4000), difference(b, a, samples=4000)
    assert there.mean == -back.mean
    assert there.low == pytest.approx(-back.high, abs=0.02)
    assert there.p == pytest.approx(back.p, abs=0.06)


def test_no_difference_has_p_1_and_no_p_is_0():
    a = np.random.default_rng(5).random(30) < 0.5
    assert difference(a, a) == (0, 0, 0, 1)
    assert difference(np.ones(30), np.zeros(30), samples=99).p == pytest.approx(2 / 100)


@pytest.mark.parametrize("values", [[], [1, float("nan")], [[1.0, 2.0]]])
def test_what_has_no_mean_is_a_value_error(values):
    with pytest.raises(ValueError, match="finite values"):
        interval(np.array(values))


def test_values_of_different_sentences_are_not_compared():
    with pytest.raises(ValueError, match="same sentences"):
        difference(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="level"):
        interval(np.ones(3), level=1)
