import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.similarity.products import allowances, buffer, multiply, rounded, score_error
from tasks.similarity.ranking import cosine_of

PRODUCTS = ["float32", "bfloat16", "float16", "int8"]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def drawn(rng, rows, dimension):
    """Spread over all numbers, or over few: what a step of int8 costs depends on the largest."""
    return unit(rng.standard_t(rng.choice([1, 2, 30]), size=(rows, dimension)))


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**32 - 1), st.sampled_from(PRODUCTS), st.integers(1, 300))
def test_no_true_cosine_is_above_its_score_and_the_allowance(seed, product, dimension):
    rng = np.random.default_rng(seed)
    sides = [drawn(rng, rows, dimension) for rows in (9, 12)]
    sides[1][:4] = unit(sides[0][:4] + rng.normal(scale=1e-3, size=(4, dimension)))
    rows, columns = (rounded(side, product) for side in sides)
    scores = multiply(rows, columns, buffer(200, product)).double().numpy() * rows.scales[:, None] * columns.scales
    exact = np.array([[cosine_of(one, other) for other in sides[1]] for one in sides[0]])
    allowed = allowances(rows, columns)
    assert (exact <= scores + allowed[:, None]).all()
    assert (scores <= exact + allowed[:, None]).all()  # and none is farther off than it says


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_allowance_is_small_where_the_product_is_fine(product):
    rng = np.random.default_rng(1)
    sides = [rounded(unit(rng.normal(size=(50, 256))), product) for _ in range(2)]
    most = {"float32": 2e-5, "bfloat16": 0.011, "float16": 0.0015, "int8": 0.025}
    assert 0 < allowances(*sides).max() < most[product]


def test_the_error_bound_of_float32_holds():
    rng = np.random.default_rng(7)
    source, target = (unit(rng.normal(size=(200, 256))) for _ in range(2))
    exact = np.array([[cosine_of(one, other) for other in target] for one in source])
    assert 0 < np.abs(exact - source @ target.T).max() <= score_error(256)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_a_cosine_does_not_depend_on_the_order_of_the_sum(seed, dimension):
    """The sum in the documented order, rounded once, near or far from where float32 rounds the other way."""
    rng = np.random.default_rng(seed)
    left, right = (rng.normal(size=(1, dimension)) for _ in range(2))
    left, right = unit(left)[0], unit(right)[0]
    if dimension > 2:  # the last element brings the sum to the middle between two float32
        left[-1] = 1.0
        rest = float(np.sum(left[:-1].astype(np.float64) * right[:-1]))
        middle = (float(np.float32(rest)) + float(np.nextafter(np.float32(rest), np.float32(2)))) / 2
        right[-1] = np.float32(middle - rest)
    sums = [np.float64(0)] * 8
    whole = dimension // 8 * 8
    for place in range(dimension):
        at = place % 8 if place < whole else 0
        sums[at] += np.float64(left[place]) * np.float64(right[place])
    a, b, c, d, e, f, g, h = sums
    assert cosine_of(left, right) == np.float32(((a + b) + (c + d)) + ((e + f) + (g + h)))


def test_int8_products_are_whole_numbers():
    ones = rounded(np.full((3, 1024), 1 / 32, np.float32), "int8")
    found = multiply(ones, ones, buffer(9, "int8"))
    assert found.dtype is torch.int32
    assert found.unique().tolist() == [127 * 127 * 1024]
