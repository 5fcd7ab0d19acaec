from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.similarity.approximate import ready, recall, sample_exactly, search_index
from tasks.similarity.different import different
from tasks.similarity.indexes import (
    AUTO_ROWS,
    CELLS,
    IndexConfig,
    build_index,
    cells_of,
    deserialize,
    evenly_spaced,
    serialize,
    set_parameters,
)
from tasks.similarity.neighbours import search
from tasks.similarity.ranking import cosine_of

ROWS, K = 10_000, 4


def unit(vectors, kind=np.float16):
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(kind)


def side(vectors, places=None):
    return different(vectors, np.arange(len(vectors)) if places is None else places)


def exactly(queries, targets, k=K):
    return search(queries.stored, targets.stored, (queries.row_places, targets.row_places), k).forward


@pytest.fixture(scope="module")
def sides():
    """Clustered vectors of two sides, half of the targets with a partner."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(400, 16))
    source = centres[rng.integers(0, 400, 1_000)] + 0.3 * rng.normal(size=(1_000, 16))
    target = centres[rng.integers(0, 400, ROWS)] + 0.3 * rng.normal(size=(ROWS, 16))
    target[: len(source) // 2] = source[::2] + 0.1 * rng.normal(size=(500, 16))
    return side(unit(source), rng.permutation(1_000)), side(unit(target), rng.permutation(ROWS))


@pytest.fixture(scope="module")
def cells(sides):
    """An index of the targets with cells of some forty vectors."""
    return serialize(build_index(sides[1], IndexConfig(index="IVF256,PQ8x4fs")))


def tuned(data, parameters):
    index = deserialize(data)
    set_parameters(index, parameters)
    return index


def recalled(index, queries, targets, k=K):
    return recall(index, sample_exactly(queries, targets, k, 1_000), 8)


def test_a_sensible_index_finds_nearly_all_and_its_cosines_are_those_of_the_exact_search(sides, cells):
    source, target = sides
    index = tuned(cells, "nprobe=64")
    measured = recalled(index, source, target)
    assert measured.wanted == K * len(source.stored)
    assert measured.share >= 0.95
    found, exact = search_index(index, source, target, K, 8), exactly(source, target)
    assert (found.cosines >= exact.cosines[:, -1:]).mean() == pytest.approx(measured.share, abs=1e-9)
    left, right = source.stored.astype(np.float32), target.stored.astype(np.float32)
    for row in range(0, len(left), 7):
        assert found.cosines[row].tolist() == [cosine_of(left[row], right[other]) for other in found.rows[row]]
    whole = (found.cosines == exact.cosines).all(axis=1)
    assert whole.mean() > 0.9
    np.testing.assert_array_equal(found.rows[whole], exact.rows[whole])


def test_cells_with_too_few_sentences_never_make_the_last_one_a_neighbour(sides, cells):
    """FAISS says -1 where there is nobody; as an index into an array that is the last sentence."""
    source, target = sides
    found = search_index(tuned(cells, "nprobe=1"), source, target, 64, 1)
    nobody = found.rows < 0
    assert 0.1 < nobody.mean() < 0.9
    np.testing.assert_array_equal(nobody, np.isneginf(found.cosines))
    last = ROWS - 1
    for row in np.flatnonzero((found.rows == last).any(axis=1)):
        cosine = cosine_of(source.block(row, row + 1)[0], target.block(last, ROWS)[0])
        assert found.cosines[row][found.rows[row] == last].tolist() == [cosine]
    others = np.flatnonzero(nobody.any(axis=1) & ~(found.rows == last).any(axis=1))
    assert len(others) > len(source.stored) // 2


class Proposing:
    """An index that proposes the same for every query."""

    def __init__(self, targets, proposed):
        self.ntotal, self.d = targets.size, targets.stored.shape[1]
        self._proposed = np.array(proposed, np.int64)

    def search(self, queries, count):
        full = np.append(self._proposed, np.full(count, -1))[:count]
        return None, np.tile(full, (len(queries), 1))


def test_another_neighbour_at_the_same_cosine_is_no_miss_and_a_farther_one_is():
    around = unit(
        np.array([[4, 3, 0], [4, -3, 0], [4, 0, 3], [4, 0, -3], [3, 4, 0], [0, 1, 0]], np.float64), np.float32
    )
    source, target = side(np.eye(3, dtype=np.float32)[:1]), side(around)
    assert exactly(source, target, 2).rows.tolist() == [[0, 1]]
    assert recalled(Proposing(target, [3, 2]), source, target, 2) == (2, 2)
    assert recalled(Proposing(target, [3, 4]), source, target, 2) == (1, 2)
    assert recalled(Proposing(target, [5]), source, target, 2) == (0, 2)
    assert recalled(Proposing(target, []), source, target, 2).share == 0
    assert search_index(Proposing(target, [3, -1, 0]), source, target, 3, 1).rows.tolist() == [[0, 3, -1]]


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.sampled_from([np.float16, np.float32]))
def test_where_everything_is_proposed_the_result_is_the_exact_one(seed, sources, targets, kind):
    """Coarse vectors make equal rows, equal cosines of different rows, and rows of zeros."""
    rng = np.random.default_rng(seed)
    source, target = (
        side(unit(rng.integers(-1, 2, (count, 3)).astype(np.float64), kind), rng.permutation(count))
        for count in (sources, targets)
    )
    index = build_index(target, IndexConfig(index="Flat"))
    found, exact = search_index(index, source, target, K, 8), exactly(source, target)  # 32 of at most 26 directions
    np.testing.assert_array_equal(found.rows, exact.rows)
    np.testing.assert_array_equal(found.cosines, exact.cosines)
    assert recalled(index, source, target).share == 1


def test_mapped_vectors_give_the_same_index_and_the_same_neighbours(sides, cells, tmp_path):
    mapped = []
    for name, one in zip("st", sides, strict=True):
        np.save(tmp_path / name, one.stored)
        mapped.append(side(np.load(tmp_path / f"{name}.npy", mmap_mode="r"), one.row_places))
    assert serialize(build_index(mapped[1], IndexConfig(index="IVF256,PQ8x4fs"))) == cells
    index = tuned(cells, "nprobe=8")
    found, again = (search_index(index, *both, K, 8) for both in (sides, mapped))
    np.testing.assert_array_equal(found.rows, again.rows)


def test_neither_the_order_of_ids_nor_the_threads_change_an_index_or_what_it_finds(sides, cells):
    source, target = sides
    found = search_index(tuned(cells, "nprobe=8"), source, target, K, 8)
    other = side(target.stored, np.arange(ROWS)[::-1].copy())
    threads = faiss.omp_get_max_threads(), torch.get_num_threads()
    try:
        faiss.omp_set_num_threads(3)
        torch.set_num_threads(3)
        assert serialize(build_index(other, IndexConfig(index="IVF256,PQ8x4fs"))) == cells
        again = search_index(tuned(cells, "nprobe=8"), source, target, K, 8)
    finally:
        faiss.omp_set_num_threads(threads[0])
        torch.set_num_threads(threads[1])
    np.testing.assert_array_equal(found.rows, again.rows)
    np.testing.assert_array_equal(found.cosines, again.cosines)


def test_too_few_vectors_to_train_on_are_kept_as_they_are(sides):
    source, _ = sides
    index = build_index(source, IndexConfig(index="IVF256,PQ8x4fs"))
    assert (type(index), index.ntotal) == (faiss.IndexFlatIP, source.size)
    nprobe = IndexConfig(index="IVF256,PQ8x4fs", parameters="nprobe=7")
    assert ready(index, sample_exactly(source, source, K, 100), nprobe) is index  # which has no cells to look into


def test_given_parameters_are_set(sides, cells):
    config = IndexConfig(index="IVF256,PQ8x4fs", parameters="nprobe=3")
    index = ready(deserialize(cells), sample_exactly(*sides, K, 100), config)
    assert cells_of(index).nprobe == 3


def test_without_parameters_as_many_cells_are_looked_into_as_the_recall_takes():
    rng = np.random.default_rng(3)
    source, target = (side(unit(rng.normal(size=(count, 12)))) for count in (300, ROWS))
    cells = serialize(build_index(target, IndexConfig(index="IVF256,Flat")))
    sample, probes = sample_exactly(source, target, K, 300), [16, 32, 64, 128, 256]
    shares = [recall(tuned(cells, f"nprobe={count}"), sample, 1).share for count in probes]
    assert shares == sorted(shares)
    assert shares[0] < shares[1] < shares[-1] == 1
    for wanted in (0.0, *shares):
        index = ready(deserialize(cells), sample, IndexConfig(index="IVF256,Flat", min_recall=wanted))
        assert cells_of(index).nprobe == next(
            count for count, share in zip(probes, shares, strict=True) if share >= wanted
        )


def test_what_the_codes_have_lost_no_number_of_cells_brings_back(sides, cells):
    sample = sample_exactly(*sides, 16, 1_000)
    index = ready(deserialize(cells), sample, IndexConfig(index="IVF256,PQ8x4fs", min_recall=1, candidates=1))
    assert cells_of(index).nprobe == 256
    assert recall(index, sample, 1).share < 0.99


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"index": "approximately"}, r"index: 'approximately' is neither exact, auto nor a FAISS factory string"),
        ({"index": "IVF16,Flat", "parameters": "probes=3"}, "parameters: FAISS does not take 'probes=3'.*probes"),
        (
            {"index": "HNSW32", "parameters": "nprobe=3"},
            "parameters: FAISS does not take .nprobe=3. for this index: could not set parameter nprobe",
        ),
        ({"index": "auto", "parameters": "nprobe"}, "parameters: .* could not interpret"),
    ],
)
def test_what_faiss_does_not_know_is_refused_at_once_by_the_name_of_the_field(wrong, told):
    with pytest.raises(ValueError, match=told):
        IndexConfig(**wrong)


def test_an_index_that_does_not_fit_the_dimension_is_refused(sides):
    with pytest.raises(ValueError, match=r"index: FAISS cannot index 16 dimensions by 'PQ48'"):
        build_index(sides[1], IndexConfig(index="PQ48"))


def test_an_index_of_another_side_is_refused(sides, cells):
    source, target = sides
    for call in (
        lambda index: search_index(index, target, source, K, 8),
        lambda index: recalled(index, target, source),
    ):
        with pytest.raises(ValueError, match="an index of 10000 vectors of 16 dimensions is not one of 1000 of 16"):
            call(tuned(cells, ""))


def test_bytes_that_are_no_index_are_refused():
    with pytest.raises(ValueError, match="this is no FAISS index"):
        deserialize(b"no index" * 9)


def test_an_index_is_asked_for_by_name_or_by_size():
    asked = [IndexConfig(index=index) for index in ("exact", "auto", "IVF16,Flat")]
    assert [one.wants_index(AUTO_ROWS) for one in asked] == [False, False, True]
    assert [one.wants_index(AUTO_ROWS + 1) for one in asked] == [False, True, True]


@pytest.mark.parametrize("dimension", [1, 50, 288, 512, 1024])
def test_the_default_index_suits_any_dimension(dimension):
    rng = np.random.default_rng(2)
    few = side(unit(rng.normal(size=(50, dimension)), np.float32))
    assert build_index(few, IndexConfig(index="auto")).ntotal == few.size
    assert [cells for _, cells in CELLS] == sorted(cells for _, cells in CELLS)


@given(st.integers(0, 5_000), st.integers(1, 300))
def test_a_sample_is_everything_or_evenly_spaced(count, wanted):
    rows = evenly_spaced(count, wanted)
    assert len(rows) == min(count, wanted)
    gaps = np.diff(np.append(rows, count))
    assert not len(rows) or (rows[0] == 0 and gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)
