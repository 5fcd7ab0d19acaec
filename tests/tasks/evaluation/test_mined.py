from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.evaluation.mined import Mined, f1, f1_difference, f1_interval


def mined(gold, others, seed=0, recall=0.7, wrong=0.1, noise=0.05):
    """Find gold pairs by chance, and take others for pairs; half of each kind of sentence is in each half."""
    chance = np.random.default_rng(seed)
    true = np.repeat([1, 0], [gold, others])
    right = (chance.random(gold + others) < recall) & (true > 0)
    mistaken = chance.random(gold + others) < np.where(true > 0, wrong / (1 - recall), noise)
    columns = (np.arange(gold + others) % 2, right, right | mistaken, true)
    return Mined(*(column.astype(np.int32) for column in columns))


def expected(gold, others, recall=0.7, wrong=0.1, noise=0.05):
    return 2 * recall * gold / ((recall + wrong) * gold + noise * others + gold)


def drawn(one, rows):
    return Mined(*(column[rows] for column in one))


def test_f1_is_the_mean_of_the_halves():
    halves, right, found, true = [0, 0, 0, 1, 1], [1, 0, 0, 1, 1], [1, 1, 0, 1, 1], [1, 0, 1, 1, 1]
    assert f1(Mined(*(np.array(column, np.int32) for column in (halves, right, found, true)))) == (2 / 4 + 1) / 2


def test_the_interval_is_as_wide_as_f1_varies():
    found = [f1(mined(200, 1000, seed)) for seed in range(400)]
    widths = [np.subtract(*reversed(f1_interval({"deu": mined(200, 1000, seed)}))) for seed in range(20)]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(found), rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = []
    for seed in range(200):
        low, high = f1_interval({"deu": mined(200, 1000, seed)}, samples=400)
        covered.append(low <= expected(200, 1000) <= high)
    assert 0.91 <= np.mean(covered) <= 0.985


def test_a_sentence_is_drawn_with_all_that_it_has():
    """Where right, found and true always go together, no resample has another F1 than 1."""
    columns = [np.arange(60) % 2, *[np.ones(60)] * 3]
    assert f1_interval({"deu": Mined(*(column.astype(np.int32) for column in columns))}) == (1, 1)


def test_the_mean_of_languages_is_surer_than_one_and_languages_are_drawn_apart():
    names = ("ces", "cmn", "deu", "rus")
    one = mined(200, 1000)
    alone = np.subtract(*reversed(f1_interval({"deu": one})))
    together = np.subtract(*reversed(f1_interval(dict.fromkeys(names, one))))
    assert together == pytest.approx(alone / 2, rel=0.15)
    assert f1_interval({"deu": one}) != f1_interval({"rus": one})


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(0, 60), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_sentences_does_not_matter(gold, others, seed, shuffle):
    one, other = mined(gold, others, seed), mined(gold, others, seed, recall=0.5)
    rows = np.arange(gold + others)
    shuffle.shuffle(rows)
    assert f1_interval({"deu": one}, samples=50) == f1_interval({"deu": drawn(one, rows)}, samples=50)
    found = f1_difference({"deu": one}, {"deu": other}, samples=50)
    assert found == f1_difference({"deu": drawn(one, rows)}, {"deu": drawn(other, rows)}, samples=50)
    low, high = f1_interval({"deu": one}, samples=50)
    assert 0 <= low <= high <= 1


def test_a_paired_difference_sees_what_two_intervals_hide():
    a = mined(400, 1000)
    lost = (np.random.default_rng(9).random(1400) < 0.08) & (a.right > 0)
    b = a._replace(right=a.right - lost, found=a.found - lost)
    found = f1_difference({"deu": b}, {"deu": a})
    assert found.mean == pytest.approx(f1(a) - f1(b))
    assert 0 < found.low < found.mean < found.high
    assert found.p < 0.01
    assert f1_interval({"deu": b})[1] > f1_interval({"deu": a})[0]


def test_the_difference_of_independent_encoders_is_as_wide_as_it_varies():
    pairs = [({"deu": mined(200, 800, 2 * turn)}, {"deu": mined(200, 800, 2 * turn + 1)}) for turn in range(200)]
    spread = np.std([f1(b["deu"]) - f1(a["deu"]) for a, b in pairs])
    found = [f1_difference(a, b) for a, b in pairs[:10]]
    assert np.mean([one.high - one.low for one in found]) == pytest.approx(2 * 1.96 * spread, rel=0.15)


def test_nothing_differs_from_itself():
    one = {"deu": mined(50, 100), "rus": mined(30, 40, 1)}
    assert f1_difference(one, one) == (0, 0, 0, 1)


def test_where_nothing_is_found_f1_is_0():
    nothing = mined(20, 20)._replace(right=np.zeros(40, np.int32), found=np.zeros(40, np.int32))
    assert f1_interval({"deu": nothing}) == (0, 0)


def test_other_sentences_and_no_language_are_value_errors():
    one, other = mined(20, 20), mined(20, 21)
    halves = one._replace(half=1 - one.half)
    for wrong in ({"deu": other}, {"deu": halves}, {"rus": one}):
        with pytest.raises(ValueError, match="different sentences"):
            f1_difference({"deu": one}, wrong)
    with pytest.raises(ValueError, match="no language"):
        f1_interval({})
