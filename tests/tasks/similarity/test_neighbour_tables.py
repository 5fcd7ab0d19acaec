import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import ID, check, empty
from tasks.similarity.neighbour_tables import merge_tables, neighbour_table, sides_of
from tasks.similarity.neighbours import neighbours


def world(seed, sources, targets):
    """Coarse unit vectors, so that equal rows, equal cosines and zeros occur."""
    rng = np.random.default_rng(seed)
    for count in (sources, targets):
        vectors = rng.integers(-1, 2, (count, 3)).astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1)
        yield vectors.astype(np.float16)
        yield pa.array([rng.bytes(16) for _ in range(count)], ID)


def table_of(source, source_ids, target, target_ids, k=3):
    return neighbour_table(neighbours(source, target, source_ids, target_ids, k), source_ids, target_ids)


def cuts(count):
    return st.lists(st.integers(0, count), max_size=3).map(lambda inner: [0, *sorted(inner), count])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), cuts(20), cuts(15), st.randoms(use_true_random=False))
def test_any_grid_of_blocks_gives_the_table_of_the_whole(seed, rows, columns, random):
    source, source_ids, target, target_ids = world(seed, 20, 15)
    blocks = [
        table_of(source[a:b], source_ids[a:b], target[c:d], target_ids[c:d])
        for a, b in itertools.pairwise(rows)
        for c, d in itertools.pairwise(columns)
    ]
    random.shuffle(blocks)
    whole = table_of(source, source_ids, target, target_ids)
    half = random.randrange(len(blocks) + 1)
    assert merge_tables(blocks, 3).equals(whole)
    assert merge_tables([merge_tables(blocks[:half], 3), merge_tables(blocks[half:], 3)], 3).equals(whole)
    assert merge_tables([whole, *blocks], 3).equals(whole)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_row_order_does_not_matter(seed):
    source, source_ids, target, target_ids = world(seed, 12, 9)
    order = np.random.default_rng(seed + 1).permutation(12)
    shuffled = table_of(source[order], source_ids.take(pa.array(order)), target, target_ids)
    assert shuffled.equals(table_of(source, source_ids, target, target_ids))


def test_the_table_keeps_its_schema_and_sentences_without_neighbours():
    source, source_ids = np.array([[1, 0], [0, 0]], np.float16), pa.array([b"b" * 16, b"a" * 16], ID)
    target, target_ids = np.array([[0, 1], [1, 0]], np.float16), pa.array([b"y" * 16, b"x" * 16], ID)
    table = check("neighbours", table_of(source, source_ids, target, target_ids))
    assert table["side"].to_pylist() == ["source", "source", "target", "target"]
    assert table["sentence_id"].to_pylist() == [b"a" * 16, b"b" * 16, b"x" * 16, b"y" * 16]
    assert table["neighbour_ids"].to_pylist() == [[], [b"x" * 16, b"y" * 16], [b"b" * 16], [b"b" * 16]]
    assert table["cosines"].to_pylist() == [[], [1, 0], [1], [0]]


def test_fewer_neighbours_may_be_asked_for_when_merging():
    table = table_of(*world(3, 10, 8))
    assert merge_tables([table], 1).equals(table_of(*world(3, 10, 8), k=1))


def test_nothing_merges_to_nothing():
    assert merge_tables([], 4).equals(empty("neighbours"))
    assert merge_tables([empty("neighbours")] * 2, 4).equals(empty("neighbours"))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_a_table_read_back_is_what_was_found(seed, k):
    source, source_ids, target, target_ids = world(seed, 12, 9)
    order, other = (pa.array(np.argsort(ids.to_pylist())) for ids in (source_ids, target_ids))
    source, source_ids, target, target_ids = (
        source[order],
        source_ids.take(order),
        target[other],
        target_ids.take(other),
    )
    read = sides_of(table_of(source, source_ids, target, target_ids, k=5), k)
    found = neighbours(source, target, source_ids, target_ids, k)
    assert read.source_ids.equals(source_ids)
    assert read.target_ids.equals(target_ids)
    for one, expected in zip(read.neighbours, found, strict=True):
        np.testing.assert_array_equal(one.rows, expected.rows)
        np.testing.assert_array_equal(one.cosines, expected.cosines)


def test_half_a_table_or_an_unmerged_one_is_refused():
    table = table_of(*world(4, 5, 5))
    with pytest.raises(ValueError, match="both directions"):
        sides_of(table.slice(0, 5), 3)
    with pytest.raises(ValueError, match="merge"):
        sides_of(pa.concat_tables([table, table]), 3)
