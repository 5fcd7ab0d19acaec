import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.similarity.products import allowances, buffer, multiply, rounded
from tasks.similarity.promising import Pairs, on_device, promising
from tasks.similarity.ranking import cosine_of


def unit(rng, rows, dimension):
    vectors = rng.normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def as_sets(pairs):
    return set(zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 150),
    st.sampled_from(["float32", "bfloat16", "float16", "int8"]),
)
def test_no_pair_that_reaches_a_limit_is_missing(seed, rows, columns, product):
    rng = np.random.default_rng(seed)
    vectors = unit(rng, rows, 24), unit(rng, columns, 24)
    limits = tuple(
        np.where(rng.random(len(side)) < 0.2, -np.inf, rng.uniform(0, 1, len(side))).astype(np.float32)
        for side in vectors
    )
    sides = tuple(rounded(side, product) for side in vectors)
    scores = multiply(*sides, buffer(rows * columns, product))
    found = promising(scores, sides, limits, Pairs.room(rows * columns + 1))
    cosines = np.array([[cosine_of(one, other) for other in vectors[1]] for one in vectors[0]])
    reached = cosines >= np.minimum(limits[0][:, None], limits[1])
    assert as_sets(found) >= set(zip(*(places.tolist() for places in np.nonzero(reached)), strict=True))
    assert (found.ceilings >= cosines[found.rows, found.columns]).all()
    assert (np.diff(found.rows) >= 0).all()
    assert len(as_sets(found)) == len(found.rows)
    near = cosines >= np.minimum(limits[0][:, None], limits[1]) - 2 * allowances(*sides)[:, None]
    assert near[found.rows, found.columns].all()  # and what is far from both is not looked at


@pytest.mark.parametrize("product", ["float32", "float16"])
def test_a_gpu_is_asked_for_the_same_pairs(product):
    """What runs there are torch's operations: here on the CPU."""
    rng = np.random.default_rng(3)
    sides = tuple(rounded(unit(rng, rows, 32), product) for rows in (70, 90))
    limits = rng.uniform(0, 0.6, 70).astype(np.float32), rng.uniform(0, 0.6, 90).astype(np.float32)
    scores = multiply(*sides, buffer(6300, product))
    here = promising(scores, sides, limits, Pairs.room(6301))
    there = on_device(scores, (sides[0].scales, sides[1].scales), limits, allowances(*sides))
    for one, other in zip(here, there, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_finds_the_same_neighbours():
    from tasks.similarity.neighbours import search
    from tasks.similarity.sweep import Multiplying

    rng = np.random.default_rng(4)
    sides, places = (unit(rng, 9000, 64), unit(rng, 5000, 64)), (np.arange(9000), np.arange(5000))
    here, there = (search(*sides, places, 8, multiplying=Multiplying(device=device)) for device in ("cpu", "cuda"))
    for one, other in zip((*here.forward, *here.backward), (*there.forward, *there.backward), strict=True):
        np.testing.assert_array_equal(one, other)
