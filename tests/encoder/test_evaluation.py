from __future__ import annotations

import numpy as np
import pytest

from encoder.evaluation import best_partners, nearest, retrieval_accuracy, xsim
from encoder.inference import unit_rows


def vectors(rows: int, seed: int, dimension: int = 8) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32))


def test_nearest_is_a_full_sort_and_lower_rows_win_ties() -> None:
    chance = np.random.default_rng(1)
    x, y = (chance.integers(-2, 3, (rows, 6)).astype(np.float32) for rows in (2500, 40))
    columns, cosines = nearest(x, y, 4)
    np.testing.assert_array_equal(columns, np.argsort(-(x @ y.T), axis=1, kind="stable")[:, :4])
    assert (np.diff(cosines, axis=1) <= 0).all()


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
