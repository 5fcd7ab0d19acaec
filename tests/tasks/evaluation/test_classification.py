from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tasks.evaluation.classification import ClassifierConfig, fit, pair_features

QUICK = ClassifierConfig(l2=[0.001, 0.1])


def clouds(rows, seed=0, spread=0.8, labels=("b", "a", "c")):
    """Points around one centre for each label, far from the origin."""
    centres = np.random.default_rng(99).normal(size=(len(labels), 10))
    chance = np.random.default_rng(seed)
    which = chance.integers(0, len(labels), rows)
    points = 3 + centres[which] + spread * chance.normal(size=(rows, 10))
    return points.astype(np.float32), [labels[number] for number in which]


def test_it_learns_what_can_be_learnt_and_reads_other_vectors():
    x, labels = clouds(200)
    classifier = fit(x, labels, QUICK)
    others, true = clouds(200, seed=1)
    assert classifier.correct(others, true).mean() > 0.9
    assert classifier.labels == ("a", "b", "c")
    assert classifier.l2 in QUICK.l2
    assert classifier.validation_accuracy > 0.8


def test_predictions_are_labels_of_the_training_set():
    x, labels = clouds(60)
    classifier = fit(x, labels, QUICK)
    assert set(classifier.predict(x)) <= set(labels)
    assert classifier.correct(x[:2], ["nowhere", "nowhere"]).tolist() == [False, False]
    assert classifier.predict(x[:0]) == []


def test_only_a_hidden_layer_separates_opposite_corners():
    chance = np.random.default_rng(3)
    x = chance.choice([-1.0, 1.0], (240, 2)) + 0.2 * chance.normal(size=(240, 2))
    x, labels = x.astype(np.float32), [str(bool(product > 0)) for product in x[:, 0] * x[:, 1]]
    linear = fit(x, labels, QUICK).correct(x, labels).mean()
    assert linear < 0.75
    assert fit(x, labels, ClassifierConfig(hidden=8, l2=[0.001])).correct(x, labels).mean() > 0.95


def test_the_penalty_is_chosen_by_what_is_held_out():
    chance = np.random.default_rng(4)
    noise = chance.normal(size=(60, 40)).astype(np.float32)
    labels = ["a", "b"] * 30
    held = chance.normal(size=(60, 40)).astype(np.float32)
    assert fit(noise, labels, ClassifierConfig(l2=[0.0001, 10.0]), (held, labels)).l2 == 10.0
    assert fit(noise, labels, ClassifierConfig(l2=[0.0001, 10.0]), (noise, labels)).l2 == 0.0001


def test_a_validation_set_is_not_trained_on():
    x, labels = clouds(90)
    config = ClassifierConfig(l2=[0.01])
    held, held_labels = clouds(30, seed=5)
    flipped = ["a"] * 30
    first, second = fit(x, labels, config, (held, held_labels)), fit(x, labels, config, (held, flipped))
    np.testing.assert_array_equal(first.layers[0][0], second.layers[0][0])
    assert first.validation_accuracy > second.validation_accuracy


@pytest.mark.parametrize("hidden", [0, 4])
def test_the_same_again_has_the_same_bits_for_any_number_of_threads(hidden):
    x, labels = clouds(80, spread=2)
    config = ClassifierConfig(hidden=hidden, l2=[0.01], iterations=20)
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(fit(x, labels, config))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for (weights, bias), (others, other_bias) in zip(made[0].layers, made[1].layers, strict=True):
        np.testing.assert_array_equal(weights, others)
        np.testing.assert_array_equal(bias, other_bias)


def test_the_scale_and_place_of_the_vectors_do_not_matter():
    x, labels = clouds(100, spread=2)
    others, _ = clouds(100, seed=6, spread=2)
    first = fit(x, labels, QUICK).predict(others)
    assert fit(x * 100 + 5, labels, QUICK).predict(others * 100 + 5) == first


def test_a_dimension_that_is_always_the_same_is_no_trouble():
    x, labels = clouds(50)
    x[:, 3] = 0
    assert fit(x, labels, QUICK).correct(x, labels).mean() > 0.9


def test_rare_labels_stay_in_training():
    x, labels = clouds(50)
    labels[0] = "rare"
    assert "rare" in fit(x, labels, QUICK).labels


def test_pairs_have_four_features():
    u, v = np.array([[1, 2]], np.float32), np.array([[3, -1]], np.float32)
    assert pair_features(u, v).tolist() == [[1, 2, 3, -1, 2, 3, 3, -2]]
    with pytest.raises(ValueError, match="one shape"):
        pair_features(u, v[:, :1])


@pytest.mark.parametrize(("rows", "labels"), [(2, ["a"]), (2, ["a", "a"]), (0, [])])
def test_what_cannot_be_learnt_from_is_a_value_error(rows, labels):
    with pytest.raises(ValueError, match="labels"):
        fit(np.zeros((rows, 3), np.float32), labels, QUICK)


def test_nothing_to_choose_by_is_a_value_error():
    with pytest.raises(ValueError, match="choose the penalty"):
        fit(np.eye(2, dtype=np.float32), ["a", "b"], QUICK)
    with pytest.raises(ValidationError):
        ClassifierConfig(l2=[])
