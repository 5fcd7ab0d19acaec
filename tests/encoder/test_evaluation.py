from __future__ import annotations

import numpy as np
import pytest

from encoder.evaluation import (
    best_partners,
    mutual_partners,
    nearest,
    retrieval_accuracy,
    retrieval_correct,
    xsim,
    xsim_correct,
)
from encoder.inference import unit_rows


def vectors(rows: int, seed: int, dimension: int = 8) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32))


def test_nearest_is_a_full_sort_and_lower_rows_win_ties() -> None:
    chance = np.random.default_rng(1)
    x, y = (chance.integers(-2, 3, (rows, 6)).astype(np.float32) for rows in (2500, 40))
    columns, cosines = nearest(x, y, 4)
    np.testing.assert_array_equal(columns, np.argsort(-(x @ y.T), axis=1, kind="stable")[:, :4])
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_nearest_to_a_zero_row_are_the_first_rows() -> None:
    y = vectors(9, 2)
    columns, cosines = nearest(np.zeros((3, 8), np.float32), y, 4)
    np.testing.assert_array_equal(columns, [[0, 1, 2, 3]] * 3)
    assert not cosines.any()


def test_what_is_no_number_is_never_nearer_than_a_number() -> None:
    y = vectors(6, 2)
    y[[0, 3, 4]] = np.nan
    columns, _ = nearest(vectors(5, 3), y, 4)
    assert sorted(set(columns[:, :3].ravel().tolist())) == [1, 2, 5]
    assert nearest(np.full((2, 8), np.nan, np.float32), y, 4)[0].shape == (2, 4)


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_both_directions_at_once_are_each_direction_alone(margin: str) -> None:
    x, y = vectors(60, 3), vectors(45, 4)
    forward, backward = mutual_partners(x, y, margin)
    np.testing.assert_array_equal(forward, best_partners(x, y, margin))
    np.testing.assert_array_equal(backward, best_partners(y, x, margin))


def test_the_shares_are_means_of_what_is_right_row_by_row() -> None:
    x, y = vectors(60, 3), vectors(60, 3)
    y[::3] = vectors(20, 7)
    texts = [str(row % 50) for row in range(60)]
    correct = xsim_correct(x, y, texts, texts)
    assert 0 < correct.mean() < 1
    assert xsim(x, y, texts, texts) == pytest.approx(1 - correct.mean())
    forward, backward = retrieval_correct(x, y, "ratio")
    found = retrieval_accuracy(x, y, "ratio")
    assert (found.forward, found.backward) == (forward.mean(), backward.mean())
    assert forward[1::3].mean() > forward[::3].mean()


@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_best_partners_are_those_of_the_formula(margin: str) -> None:
    x, y = vectors(60, 3), vectors(60, 4)
    cosine = (x @ y.T).astype(np.float64)
    around = (np.sort(cosine, axis=1)[:, -4:].mean(1)[:, None] + np.sort(cosine, axis=0)[-4:].mean(0)[None, :]) / 2
    score = {"ratio": cosine / around, "distance": cosine - around, "absolute": cosine}[margin]
    outside = np.argsort(-cosine, axis=1)[:, 4:]
    np.put_along_axis(score, outside, -np.inf, axis=1)
    np.testing.assert_array_equal(best_partners(x, y, margin), score.argmax(1))


def test_xsim_compares_texts_and_not_rows() -> None:
    x = vectors(4, 5)
    y = x[[0, 2, 1, 3]]
    assert xsim(x, x, ["s"] * 4, ["a", "b", "c", "d"]) == 0
    assert xsim(x, y, ["s"] * 4, ["a", "b", "c", "d"]) == 0.5
    assert xsim(x, y, ["s"] * 4, ["a", "b", "b", "d"]) == 0


def test_a_hub_misleads_the_cosine_and_not_the_margin() -> None:
    x = unit_rows(np.array([[0.65, 0, 0, 0.76], [0, 0.65, 0, 0.76], [0, 0, 0.3, 0.95]], np.float32))
    y = unit_rows(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.3, 0.95]], np.float32))
    assert retrieval_accuracy(x, y).forward < 1
    assert retrieval_accuracy(x, y, "ratio").forward == 1


def test_accuracy_is_given_each_way() -> None:
    x = np.eye(3, dtype=np.float32)
    y = unit_rows(np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 0, 1]], np.float32))
    found = retrieval_accuracy(x, y)
    assert (found.forward, found.backward) == (1, pytest.approx(2 / 3))
    assert found.mean == pytest.approx(5 / 6)


@pytest.mark.parametrize(("x", "y"), [((2, 3), (3, 3)), ((0, 3), (0, 3))])
def test_what_is_not_parallel_is_a_value_error(x: tuple[int, int], y: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        retrieval_accuracy(np.zeros(x, np.float32), np.zeros(y, np.float32))
    with pytest.raises(ValueError, match="texts"):
        xsim(vectors(3, 1), vectors(3, 1), ["a"], ["a", "b", "c"])
