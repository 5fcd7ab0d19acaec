from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.similarity.calibration import Found, TargetConfig, choose, thresholds_between
from tasks.similarity.scoring import best_threshold, scores

RIGHT, WRONG, SPREAD = 1.3, 1.0, 0.1  # margins of planted pairs: normal, right ones above wrong ones


def planted(gold=400, distractors=3_600, seed=0, missed=0.1):
    """Every source finds something; of those with a translation, a tenth find something wrong."""
    chance = np.random.default_rng(seed)
    is_right = (np.arange(gold + distractors) < gold) & (chance.random(gold + distractors) >= missed)
    margins = chance.normal(np.where(is_right, RIGHT, WRONG), SPREAD).astype(np.float32)
    order = chance.permutation(len(margins))
    return Found(order, margins[order], is_right[order], gold, distractors)


def scored(found, threshold):
    kept = found.margins >= np.float32(threshold)
    return scores(int(found.is_right[kept].sum()), int(kept.sum()), found.gold)


@pytest.fixture(scope="module")
def everything():
    """So much of the same kind that it is the truth."""
    return planted(100_000, 900_000, seed=99)


def test_the_best_f1_is_found_and_told():
    found = planted()
    chosen = choose(found, TargetConfig())
    best = best_threshold(found.margins, found.is_right, found.gold)
    assert (chosen.precision.value, chosen.recall.value, chosen.f1.value) == best[:3]
    assert best == scored(found, chosen.threshold.value)._replace(threshold=best.threshold)
    assert chosen.threshold.value < best.threshold  # between two candidates
    assert (chosen.target, chosen.confident) == ("f1", False)


def test_intervals_cover_the_truth(everything):
    truth = best_threshold(everything.margins, everything.is_right, everything.gold)
    choices = [choose(planted(seed=seed), TargetConfig(samples=100)) for seed in range(20)]
    for of, covered in (
        ("threshold", lambda one: one.threshold.low <= truth.threshold <= one.threshold.high),
        ("f1", lambda one: one.f1.low <= scored(everything, one.threshold.value).f1 <= one.f1.high),
        (
            "precision",
            lambda one: one.precision.low <= scored(everything, one.threshold.value).precision <= one.precision.high,
        ),
    ):
        assert sum(map(covered, choices)) >= 17, of  # 19 of 20 are expected
    widths = [one.threshold.high - one.threshold.low for one in choices]
    assert 0.005 < np.mean(widths) < 0.1


@pytest.mark.parametrize("precision", [0.7, 0.9])
def test_a_wanted_precision_is_met_in_new_text(everything, precision):
    choices = [choose(planted(seed=seed), TargetConfig(precision=precision, samples=100)) for seed in range(20)]
    fresh = [scored(everything, one.threshold.value).precision for one in choices]
    assert sum(one >= precision for one in fresh) >= 18
    assert np.mean(fresh) < precision + 0.06  # and not by giving up recall without need
    for one in choices:
        assert one.precision.low >= precision
        assert one.threshold.low <= one.threshold.value <= one.threshold.high
        assert (one.target, one.confident) == (precision, True)


def test_without_confidence_the_estimate_is_enough(everything):
    config = TargetConfig(precision=0.9, confident=False, samples=100)
    choices = [choose(planted(seed=seed), config) for seed in range(20)]
    assert all(one.precision.value >= 0.9 for one in choices)
    fresh = [scored(everything, one.threshold.value).precision for one in choices]
    assert np.mean(fresh) == pytest.approx(0.9, abs=0.02)
    sure = choose(planted(), config.model_copy(update={"confident": True}))
    assert sure.threshold.value > choices[0].threshold.value


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=20, max_size=60),
    st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    st.booleans(),
)
def test_more_precision_is_never_a_lower_threshold(pairs, wanted, confident):
    margins, is_right = (np.array(column) for column in zip(*pairs, strict=True))
    assume(is_right.any())
    # sources with a translation come first; the others find something wrong
    order = np.argsort(~is_right, kind="stable")
    gold = max(int(is_right.sum()), 10)
    sources = np.arange(len(margins))
    found = Found(sources, margins[order].astype(np.float32), is_right[order], gold, len(margins))
    chosen = []
    for precision in sorted(wanted):
        try:
            config = TargetConfig(precision=precision, confident=confident, samples=100)
            chosen.append(choose(found, config).threshold.value)
        except ValueError:
            chosen.append(np.inf)
    assert chosen[0] <= chosen[1]


def test_what_cannot_be_reached_is_told_with_what_can():
    found = planted(missed=0.1)
    mixed = found._replace(is_right=found.is_right & (found.sources % 2 == 0))
    with pytest.raises(
        ValueError, match=r"precision of 0\.99 with 95% confidence; the best is 0\.[0-9]+, at 1\.[0-9]+"
    ):
        choose(mixed, TargetConfig(precision=0.99))
    reached = choose(mixed, TargetConfig(precision=0.3))
    assert reached.recall.value > 0.3


def test_a_few_right_pairs_at_the_top_prove_nothing():
    margins = np.concatenate([np.full(12, 2.0), np.linspace(1, 1.1, 400)]).astype(np.float32)
    is_right = np.concatenate([np.ones(12, np.bool_), np.arange(400) % 4 == 0])
    order = np.argsort(~is_right, kind="stable")
    found = Found(np.arange(412), margins[order], is_right[order], 112, 300)
    with pytest.raises(ValueError, match=r"the best is 0\.7"):
        choose(found, TargetConfig(precision=0.95))
    assert choose(found, TargetConfig(precision=0.95, confident=False)).threshold.value == pytest.approx(1.55)


@pytest.mark.parametrize(
    "found",
    [
        planted(gold=9, distractors=100),
        planted(missed=1.0),
        Found(np.arange(5), np.ones(5, np.float32), np.ones(5, np.bool_), 20, 20),
    ],
    ids=["gold", "right", "found"],
)
def test_too_little_to_judge_by_is_told(found):
    with pytest.raises(ValueError, match="too few"):
        choose(found, TargetConfig())


def test_the_order_of_pairs_does_not_matter_and_the_seed_does():
    found = planted()
    order = np.random.default_rng(5).permutation(len(found.margins))
    shuffled = found._replace(**{name: getattr(found, name)[order] for name in ("sources", "margins", "is_right")})
    assert choose(shuffled, TargetConfig()) == choose(found, TargetConfig())
    other = choose(found, TargetConfig(seed=1))
    assert other.threshold.value == choose(found, TargetConfig()).threshold.value
    assert other.f1 != choose(found, TargetConfig()).f1


def test_a_source_is_resampled_with_all_that_was_found_for_it():
    once = planted(gold=100, distractors=400)
    twice = once._replace(**{name: np.repeat(getattr(once, name), 2) for name in ("sources", "margins", "is_right")})
    config = TargetConfig(precision=0.7, confident=False)
    wide, same = choose(once, config), choose(twice, config)
    # of independent pairs twice as many would give an interval narrower by a third
    assert (same.precision.high, same.threshold) == (wide.precision.high, wide.threshold)


def test_the_curve_shows_what_each_threshold_gives():
    found = planted()
    chosen = choose(found, TargetConfig(precision=0.9))
    assert len(chosen.curve) == 50
    for point in chosen.curve:
        assert (point.precision, point.recall, point.f1) == scored(found, point.threshold)[:3]
    at = [point.threshold for point in chosen.curve]
    assert at == sorted(at)
    assert at[0] < chosen.threshold.value < at[-1]
    recalls = [point.recall for point in chosen.curve]
    assert recalls == sorted(recalls, reverse=True)


def test_a_large_set_is_cut_at_fewer_places_that_hold_the_best():
    found = planted(gold=2_000, distractors=18_000)
    best = best_threshold(found.margins, found.is_right, found.gold)
    assert choose(found, TargetConfig(samples=100)).f1.value == best.f1
    assert choose(found, TargetConfig(samples=100, precision=0.9)).precision.low >= 0.9


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=30))
def test_a_threshold_lets_in_what_is_above_it_and_no_more(values):
    margins = np.sort(np.array(values, np.float32))[::-1]
    for place, threshold in enumerate(thresholds_between(margins)):
        kept = margins >= np.float32(threshold)
        np.testing.assert_array_equal(kept, margins >= margins[place])


def test_neighbouring_numbers_are_told_apart():
    margins = [np.float32(1.1)]
    for _ in range(6):
        margins.insert(0, np.nextafter(margins[0], np.float32(2)))
    for place, threshold in enumerate(thresholds_between(np.array(margins))):
        assert sum(margin >= np.float32(threshold) for margin in margins) == place + 1


def test_settings_are_checked():
    for wrong in ({"precision": 0}, {"precision": 1.0}, {"precission": 0.9}, {"samples": 1}):
        with pytest.raises(ValidationError):
            TargetConfig(**wrong)
