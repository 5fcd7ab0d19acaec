import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import ID, check, empty
from tasks.similarity.neighbour_tables import neighbour_table
from tasks.similarity.neighbours import neighbours
from tasks.similarity.repair import WORTH, Block, Embedded, repair


def unit(vectors, kind=np.float16):
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(kind)


def coarse(rng, count, width=3):
    """Unit vectors with many equal rows, equal cosines of different rows, and rows of zeros."""
    return unit(rng.integers(-1, 2, (count, width)).astype(np.float64))


def side_of(numbers, vectors):
    return Embedded(pa.array([int(number).to_bytes(16) for number in numbers], ID), vectors)


def searched(block, k):
    found = neighbours(block.source.vectors, block.target.vectors, block.source.ids, block.target.ids, k)
    return neighbour_table(found, block.source.ids, block.target.ids)


def took(side, rows):
    return Embedded(side.ids.take(pa.array(rows, pa.int64())), side.vectors[rows])


def both(one, other):
    return Embedded(pa.concat_arrays([one.ids, other.ids]), np.concatenate([one.vectors, other.vectors]))


def one_more(side, rng):
    """A side with one sentence more, whose id comes anywhere in the order of the others'."""
    known = {int.from_bytes(one) for one in side.ids.to_pylist()}
    number = next(number for number in rng.integers(0, 400, 1000) if number not in known)
    return both(side, side_of([number], coarse(rng, 1, side.vectors.shape[1])))


def some_rows_more(rng, side, gone, came, changed):
    """The side after some rows are gone, some have other vectors and some came, in another order."""
    rows = rng.permutation(len(side.ids))[min(gone, len(side.ids)) :]
    after = took(side, rows)
    vectors = after.vectors.copy()
    vectors[: min(changed, len(rows))] = coarse(rng, min(changed, len(rows)), vectors.shape[1])
    after = Embedded(after.ids, vectors)
    for _ in range(came):
        after = one_more(after, rng)
    return took(after, rng.permutation(len(after.ids)))


def to_search(before, after, k):
    """By the definition, with sets: sources and targets that came, or lost one of k neighbours."""
    table = {(row["side"], row["sentence_id"]): row["neighbour_ids"][:k] for row in searched(before, 64).to_pylist()}
    then, now = (
        [dict(zip(side.ids.to_pylist(), map(bytes, side.vectors), strict=True)) for side in block]
        for block in (before, after)
    )
    counts = []
    for name, own, other in (("source", 0, 1), ("target", 1, 0)):
        stayed = {one for one, vector in now[own].items() if then[own].get(one) == vector}
        gone = {one for one, vector in then[other].items() if now[other].get(one) != vector}
        lost = {one for one in stayed if len(table[name, one]) == k and gone & set(table[name, one])}
        counts.append(len(now[own]) - len(stayed) + len(lost))
    return counts


few = st.integers(0, 3)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 30), st.integers(1, 5),
    st.tuples(few, few, few), st.tuples(few, few, few),
)  # fmt: skip
def test_repaired_is_searched_anew(seed, sources, targets, k, source_changes, target_changes):
    rng = np.random.default_rng(seed)
    before = Block(
        *(side_of(rng.permutation(400)[:count], coarse(rng, count)) for count in (sources, targets)),
    )
    after = Block(
        some_rows_more(rng, before.source, *source_changes), some_rows_more(rng, before.target, *target_changes)
    )
    rows, columns = to_search(before, after, k)
    n, m = len(after.source.ids), len(after.target.ids)
    repaired = repair(searched(before, k), before, after, k)
    assert (repaired is None) == (rows * m + columns * n > WORTH * n * m)
    if repaired is not None:
        assert check("neighbours", repaired).equals(searched(after, k), check_metadata=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_chain_of_repairs_is_searched_anew(seed, k):
    rng = np.random.default_rng(seed)
    block = Block(*(side_of(rng.permutation(400)[:60], coarse(rng, 60, 5)) for _ in range(2)))
    table = searched(block, k)
    for _ in range(4):
        after = Block(some_rows_more(rng, block.source, 1, 1, 0), some_rows_more(rng, block.target, 1, 0, 1))
        repaired = repair(table, block, after, k)
        table = searched(after, k) if repaired is None else repaired
        assert table.equals(searched(after, k))
        block = after


def test_ties_come_and_go_in_the_order_of_ids():
    """Six equal targets, of which a list of two holds the first two ids."""
    vectors = np.tile(np.array([[1, 0]], np.float16), (12, 1))
    source, target = side_of(range(12), vectors), side_of(range(10, 22, 2), vectors[:6])
    before = Block(source, target)
    table = searched(before, 2)

    def first(changed):
        repaired = repair(table, before, Block(source, changed), 2)
        assert repaired.equals(searched(Block(source, changed), 2))
        return [int.from_bytes(one) for one in repaired["neighbour_ids"][0].as_py()]

    assert first(took(target, [0, 1, 2])) == [10, 12]
    assert first(both(target, side_of([11], vectors[:1]))) == [10, 11]
    assert first(both(target, side_of([13], vectors[:1]))) == [10, 12]
    assert repair(table, before, Block(source, took(target, [0, 2, 3, 4, 5])), 2) is None  # all sources lost one


def test_a_short_list_that_loses_a_neighbour_is_not_searched_again():
    rng = np.random.default_rng(1)
    before = Block(side_of(range(40), unit(rng.normal(size=(40, 8)))), side_of(range(3), unit(rng.normal(size=(3, 8)))))
    after = Block(before.source, took(before.target, [2, 0]))
    assert to_search(before, after, 4) == [0, 0]
    assert repair(searched(before, 4), before, after, 4).equals(searched(after, 4))


def test_a_short_list_closes_its_gap_before_others_enter_it():
    """One of eight targets, not the last on the lists of nine, makes place for another that belongs behind it."""
    angles = np.linspace(0, 1.4, 9)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    source = side_of(range(100), np.tile(vectors[:1], (100, 1)))
    before = Block(source, side_of(range(8), vectors[[0, 1, 2, 3, 4, 5, 6, 8]]))
    after = Block(source, both(took(before.target, [0, 1, 3, 4, 5, 6, 7]), side_of([9], vectors[7:8])))
    repaired = repair(searched(before, 9), before, after, 9)
    assert [int.from_bytes(one) for one in repaired["neighbour_ids"][0].as_py()] == [0, 1, 3, 4, 5, 6, 9, 7]
    assert repaired.equals(searched(after, 9))


def test_nothing_changed_is_the_same_table_and_everything_changed_is_not_worth_it():
    rng = np.random.default_rng(2)
    before = Block(*(side_of(range(30), unit(rng.normal(size=(30, 8)))) for _ in range(2)))
    table = searched(before, 3)
    assert repair(table, before, before, 3).equals(table)
    wider = Block(*(Embedded(side.ids, unit(rng.normal(size=(30, 9)))) for side in before))
    assert repair(table, before, wider, 3) is None
    finer = Block(*(Embedded(side.ids, side.vectors.astype(np.float32)) for side in before))
    assert repair(table, before, finer, 3) is None


def test_a_table_of_more_neighbours_serves_and_one_of_fewer_is_refused():
    rng = np.random.default_rng(3)
    before = Block(*(side_of(range(60), unit(rng.normal(size=(60, 8)))) for _ in range(2)))
    after = Block(took(before.source, range(59)), before.target)
    assert repair(searched(before, 6), before, after, 3).equals(searched(after, 3))
    with pytest.raises(ValueError, match="not of 3 neighbours"):
        repair(searched(before, 2), before, after, 3)


@pytest.mark.parametrize(("sources", "targets"), [(0, 0), (0, 5), (5, 0)])
def test_from_nothing_and_to_nothing(sources, targets):
    rng = np.random.default_rng(4)
    some = Block(*(side_of(range(5), unit(rng.normal(size=(5, 8)))) for _ in range(2)))
    fewer = Block(took(some.source, range(sources)), took(some.target, range(targets)))
    assert repair(searched(some, 2), some, fewer, 2).equals(searched(fewer, 2))
    assert repair(searched(fewer, 2), fewer, fewer, 2).equals(searched(fewer, 2))
    assert repair(searched(fewer, 2), fewer, some, 2) is None


def test_wrong_calls_are_refused():
    rng = np.random.default_rng(5)
    block = Block(*(side_of(range(5), unit(rng.normal(size=(5, 8)))) for _ in range(2)))
    table = searched(block, 2)
    other = block._replace(source=side_of(range(1, 6), block.source.vectors))
    with pytest.raises(ValueError, match="sentences before"):
        repair(table, other, block, 2)
    with pytest.raises(ValueError, match="sentences before"):
        repair(empty("neighbours"), block, block, 2)
    with pytest.raises(ValueError, match="one id per vector"):
        repair(table, block, block._replace(target=Embedded(block.target.ids, block.target.vectors[1:])), 2)
    with pytest.raises(ValueError, match="twice"):
        repair(table, block, block._replace(target=both(block.target, block.target)), 2)
