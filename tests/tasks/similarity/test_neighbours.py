import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import ID
from tasks.similarity.neighbours import neighbours, search
from tasks.similarity.ranking import Ranking, cosine_of, merge
from tasks.similarity.sweep import Multiplying

PRODUCTS = ["float32", "bfloat16", "float16", "int8"]


def ids_of(rng, count):
    return pa.array([rng.bytes(16) for _ in range(count)], ID)


def unit(vectors, kind=np.float32):
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(kind)


def literally(source, target, target_ids, k):
    """All cosines, sorted by (cosine, id)."""
    ids, rows, cosines = target_ids.to_pylist(), [], []
    for one in source.astype(np.float32):
        scored = [
            (-float(cosine_of(one, other)), ids[row], row)
            for row, other in enumerate(target.astype(np.float32))
            if one.any() and other.any()
        ]
        best = sorted(scored)[:k] + [(np.inf, b"", -1)] * k
        rows.append([row for *_, row in best[:k]])
        cosines.append([-minus for minus, *_ in best[:k]])
    shape = (len(source), k)
    return np.array(rows, np.int64).reshape(shape), np.array(cosines, np.float32).reshape(shape)


def same(ranking, expected):
    np.testing.assert_array_equal(ranking.rows, expected[0])
    np.testing.assert_array_equal(ranking.cosines, expected[1])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 6),
    st.integers(1, 41),
    st.sampled_from([np.float16, np.float32]),
    st.sampled_from(PRODUCTS),
)
def test_equals_sorting_all_cosines_whatever_the_blocks(seed, sources, targets, k, block, kind, product):
    """Coarse vectors make equal rows, equal cosines of different rows, and rows of zeros."""
    rng = np.random.default_rng(seed)
    source, target = (unit(rng.integers(-1, 2, (n, 3)).astype(np.float64), kind) for n in (sources, targets))
    source_ids, target_ids = ids_of(rng, sources), ids_of(rng, targets)
    found = neighbours(source, target, source_ids, target_ids, k)
    same(found.forward, literally(source, target, target_ids, k))
    same(found.backward, literally(target, source, source_ids, k))
    places = tuple(
        np.argsort(np.argsort(np.array(ids.to_pylist(), "V16").view("S16"))) for ids in (source_ids, target_ids)
    )
    blocked = search(source, target, places, k, multiplying=Multiplying(product, block, "cpu"))
    same(blocked.forward, found.forward)
    same(blocked.backward, found.backward)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_hundreds_of_equal_and_nearly_equal_rows(kind, product):
    """More near ties than a cheap product can tell apart: every pair of a tile has to be looked at."""
    rng = np.random.default_rng(5)
    centre = rng.normal(size=(1, 24))
    near = centre + np.where(rng.random((300, 24)) < 0.05, 2e-7, 0)  # below float32's resolution of the cosine
    source = unit(np.concatenate([np.repeat(centre, 60, 0), rng.normal(size=(40, 24)), centre + 1e-3]), kind)
    target = unit(np.concatenate([near, np.repeat(centre, 200, 0), rng.normal(size=(100, 24)), -centre]), kind)
    source_ids, target_ids = ids_of(rng, len(source)), ids_of(rng, len(target))
    places = tuple(
        np.array([sorted(ids).index(one) for one in ids]) for ids in (source_ids.to_pylist(), target_ids.to_pylist())
    )
    found = search(source, target, places, 5, multiplying=Multiplying(product, device="cpu"))
    same(found.forward, literally(source, target, target_ids, 5))
    same(found.backward, literally(target, source, source_ids, 5))


def test_cosines_are_the_same_both_ways():
    rng = np.random.default_rng(8)
    source, target = unit(rng.normal(size=(30, 19))), unit(rng.normal(size=(20, 19)))
    found = neighbours(source, target, ids_of(rng, 30), ids_of(rng, 20), 20)
    forward = {
        (row, t): c
        for row in range(30)
        for t, c in zip(found.forward.rows[row], found.forward.cosines[row], strict=True)
    }
    for row in range(20):
        for s, cosine in zip(found.backward.rows[row], found.backward.cosines[row], strict=True):
            assert forward[s, row] == cosine


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(4)))
def test_merging_is_associative_commutative_and_idempotent(seed, order):
    rng = np.random.default_rng(seed)
    places = rng.permutation(12)
    cosine_of_row = rng.integers(0, 4, 12).astype(np.float32)
    lists = []
    for _ in range(4):
        rows = rng.permutation(12)[:3]
        rows = rows[np.lexsort((places[rows], -cosine_of_row[rows]))]
        lists.append(Ranking(rows[None], cosine_of_row[rows][None]))
    whole = merge(lists, places)
    union = np.unique(np.concatenate([one.rows[0] for one in lists]))
    best = union[np.lexsort((places[union], -cosine_of_row[union]))][:3]
    assert whole.rows[0].tolist() == best.tolist()
    a, b, c, d = (lists[place] for place in order)
    same(merge([merge([a, b], places), merge([c, d, a], places)], places), whole)


@pytest.mark.parametrize(
    ("source", "target", "k"),
    [
        (np.eye(2), np.eye(3), 1),
        (np.eye(2), np.ones((2, 2)), 1),
        (np.full((2, 2), np.nan), np.eye(2), 1),
        (np.eye(2), np.eye(2), 0),
    ],
)
def test_wrong_calls_are_refused(source, target, k):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"normalised|cannot search"):
        neighbours(source.astype(np.float32), target.astype(np.float32), ids_of(rng, 2), ids_of(rng, len(target)), k)
    with pytest.raises(ValueError, match="one id per vector"):
        neighbours(np.eye(2), np.eye(2), ids_of(rng, 2), ids_of(rng, 3), 1)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_mapped_file_and_any_number_of_threads_give_the_same(tmp_path, product):
    rng = np.random.default_rng(9)
    sides = [unit(rng.normal(size=(rows, 20)), np.float16) for rows in (700, 500)]
    mapped = []
    for name, side in zip(("source.npy", "target.npy"), sides, strict=True):
        np.save(tmp_path / name, side)
        mapped.append(np.load(tmp_path / name, mmap_mode="r"))
    places = np.arange(700), np.arange(500)
    expected = search(*sides, places, 6)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found = search(*mapped, places, 6, multiplying=Multiplying(product, 64, "cpu"))
            same(found.forward, expected.forward)
            same(found.backward, expected.backward)
    finally:
        torch.set_num_threads(threads)
