from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from encoder.inference import unit_rows
from tasks.evaluation.bucc import BuccConfig, bucc, hide, once
from tasks.evaluation.mined import f1, f1_difference, f1_interval

SENTENCES = [f"Satz {row}" for row in range(60)], [f"sentence {row}" for row in range(60)]


def vectors(rows, seed=0, dimension=32):
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32))


def hidden_vectors(noise, pairs=100, others=150, seed=1):
    """Gold pairs whose vectors differ by some noise, among others that have nothing to do with each other."""
    y = vectors(pairs + others, seed)
    x = unit_rows(y[:pairs] + noise * vectors(pairs, seed + 1))
    x = np.concatenate([x, vectors(others, seed + 2)])
    gold = np.stack([np.arange(pairs)] * 2, axis=1)
    return x, y, gold


def test_near_pairs_are_all_found_and_nothing_else():
    x, y, gold = hidden_vectors(0.05)
    found = bucc(x, y, gold, BuccConfig())
    assert found.f1 > 0.98
    assert found.recalled.mean() > 0.98
    assert found.tuned.f1 == 1


def test_the_means_are_of_two_halves_that_were_tuned_on_each_other():
    x, y, gold = hidden_vectors(1.3)
    found = bucc(x, y, gold, BuccConfig())
    first, second = found.halves
    assert first.threshold != second.threshold
    assert found.f1 == pytest.approx((first.f1 + second.f1) / 2)
    assert found.threshold == pytest.approx((first.threshold + second.threshold) / 2)
    assert found.recall == pytest.approx(found.recalled.mean())  # the halves have equally many gold pairs
    assert 0.3 < found.f1 <= found.tuned.f1 < 1


def test_what_was_mined_of_each_source_is_what_the_scores_are_of():
    x, y, gold = hidden_vectors(1.3)
    found = bucc(x, y, gold, BuccConfig())
    assert f1(found.mined) == pytest.approx(found.f1)
    assert (found.mined.true[:100] == 1).all()
    assert not found.mined.true[100:].any()
    np.testing.assert_array_equal(found.mined.right[:100] > 0, found.recalled)
    for side, half in enumerate(found.halves):
        right, kept = (column[found.mined.half == side].sum() for column in (found.mined.right, found.mined.found))
        assert right / kept == pytest.approx(half.precision)
    low, high = f1_interval({"deu": found.mined})
    assert low < found.f1 < high < low + 0.25


def test_the_halves_of_two_encoders_are_the_same_sources():
    first, second = (bucc(*hidden_vectors(noise), BuccConfig()).mined for noise in (0.5, 1.3))
    np.testing.assert_array_equal(first.half, second.half)
    assert f1_difference({"deu": first}, {"deu": second}).high < 0


def test_a_threshold_lies_between_two_candidates():
    x, y, gold = hidden_vectors(0.05)
    found = bucc(x, y, gold, BuccConfig(margin="absolute"))
    right = np.einsum("ij,ij->i", x[:100], y[:100])
    for half in found.halves:
        assert half.threshold < right.min()
        assert half.threshold > 0.5


def test_another_seed_draws_other_halves():
    x, y, gold = hidden_vectors(1.3)
    assert bucc(x, y, gold, BuccConfig(seed=1)).halves != bucc(x, y, gold, BuccConfig(seed=2)).halves
    assert bucc(x, y, gold, BuccConfig(seed=1)).tuned == bucc(x, y, gold, BuccConfig(seed=2)).tuned


def test_where_nothing_is_right_nothing_passes():
    x, y, _ = hidden_vectors(0.05)
    wrong = np.stack([np.arange(100), np.roll(np.arange(100), 1)], axis=1)
    found = bucc(x, y, wrong, BuccConfig())
    assert (found.f1, found.precision, found.recall) == (0, 0, 0)
    assert not found.recalled.any()


@pytest.mark.parametrize("gold", [[[0, 0]], [[0, 0], [5, 1]], [[0, 0], [1, 5]], [[0, 0], [-1, 1]]])
def test_gold_that_is_not_there_is_a_value_error(gold):
    with pytest.raises(ValueError, match="gold pairs"):
        bucc(vectors(5), vectors(5), np.array(gold), BuccConfig())


def test_a_source_in_two_gold_pairs_is_a_value_error():
    with pytest.raises(ValueError, match="two gold pairs"):
        bucc(vectors(5), vectors(5), np.array([[0, 0], [0, 1]]), BuccConfig())


def test_settings_are_checked():
    with pytest.raises(ValidationError):
        BuccConfig(k=0)
    with pytest.raises(ValidationError):
        BuccConfig(thresold=1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=25),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_hidden_sets_hold_no_true_pair_but_the_gold(rows, pairs, seed):
    sources, targets = [f"s{source}" for source, _ in rows], [f"t{target}" for _, target in rows]
    try:
        hidden = hide(sources, targets, pairs, seed)
    except ValueError:
        return
    shown = [sources[row] for row in hidden.source_rows], [targets[row] for row in hidden.target_rows]
    assert once(shown[0]).all()
    assert once(shown[1]).all()
    true = set(zip(sources, targets, strict=True))
    there = {
        (x, y) for x, source in enumerate(shown[0]) for y, target in enumerate(shown[1]) if (source, target) in true
    }
    assert there == {tuple(pair) for pair in hidden.gold.tolist()}
    assert len(hidden.gold) == pairs
    assert len(hidden.source_rows) == len(hidden.target_rows)


def test_a_set_is_hidden_the_same_way_for_one_seed_only():
    first, again, other = (hide(*SENTENCES, 20, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.source_rows, again.source_rows)
    np.testing.assert_array_equal(first.gold, again.gold)
    assert first.source_rows.tolist() != other.source_rows.tolist()
    assert len(first.source_rows) == 40
    assert hide(*SENTENCES, 20, distractors=3).target_rows.shape == (23,)


def test_more_pairs_than_there_are_is_a_value_error():
    with pytest.raises(ValueError, match="cannot hide 3 pairs of 2"):
        hide(["a", "b", "b"], ["c", "d", "e"], 3)
    with pytest.raises(ValueError, match="parallel"):
        hide(["a"], [], 1)


def test_once_is_no_text_that_occurs_twice():
    assert once(["a", "b", "a", "c"]).tolist() == [False, True, False, True]
    assert once([]).tolist() == []
