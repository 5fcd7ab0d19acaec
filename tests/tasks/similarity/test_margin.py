import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.similarity.margin import (
    compared,
    listed_candidates,
    margins,
    mean_cosines,
    with_margins,
    without,
)
from tasks.similarity.neighbours import Neighbours
from tasks.similarity.ranking import Ranking


@st.composite
def lists(draw):
    """Neighbours on lists of any length, best first, that need not name each other."""
    sizes = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    k = draw(st.integers(1, 4))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    likeness = chance.uniform(0.1, 1, sizes).astype(np.float32)
    sides = []
    for matrix in (likeness, likeness.T):
        rows, cosines = np.full((len(matrix), k), -1, np.int64), np.full((len(matrix), k), -np.inf, np.float32)
        for row, values in enumerate(matrix):
            some = chance.permutation(len(values))[: chance.integers(0, k + 1)]
            some = some[np.argsort(-values[some])]
            rows[row, : len(some)], cosines[row, : len(some)] = some, values[some]
        sides.append(Ranking(rows, cosines))
    return Neighbours(*sides)


def entries(found, values):
    """{(source, target): value} of what is on the lists of either side."""
    result = {}
    for ranking, array, step in ((found.forward, values[0], 1), (found.backward, values[1], -1)):
        for row, column in zip(*np.nonzero(ranking.rows >= 0), strict=True):
            pair = (int(row), int(ranking.rows[row, column]))
            result[pair[::step]] = array[row, column]
    return result


@settings(max_examples=60)
@given(lists(), st.sampled_from(["ratio", "distance", "absolute"]), st.floats(-1, 2))
def test_candidates_are_all_entries_above_the_limit_once(found, kind, least):
    worth = margins(found, kind)
    listed = listed_candidates(found, worth, np.float32(least))
    pairs = list(zip(listed.source_rows.tolist(), listed.target_rows.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == {pair for pair, one in entries(found, worth).items() if one >= np.float32(least)}
    assert [entries(found, worth)[pair] for pair in pairs] == listed.margin.tolist()


@settings(max_examples=60)
@given(lists(), st.integers(0, 2**32 - 1))
def test_margins_change_on_both_lists_and_nowhere_else(found, seed):
    worth = margins(found, "distance")
    listed = listed_candidates(found, worth, np.float32(-np.inf))
    some = np.random.default_rng(seed).random(len(listed.margin)) < 0.5
    chosen = listed.source_rows[some], listed.target_rows[some]
    changed = with_margins(found, worth, chosen, np.full(some.sum(), 7, np.float32))
    pairs = set(zip(*(rows.tolist() for rows in chosen), strict=True))
    before = entries(found, worth)
    after = entries(found, changed)
    assert after == {pair: 7 if pair in pairs else one for pair, one in before.items()}
    gone = entries(found, without(found, worth, chosen))
    assert {pair for pair, one in gone.items() if one == -np.inf} == pairs
    assert entries(found, worth) == before  # what was given is as it was


def test_a_pair_that_is_nobody_s_neighbour_changes_nothing():
    found = Neighbours(
        Ranking(np.array([[0]]), np.array([[0.5]], np.float32)),
        Ranking(np.array([[0], [-1]]), np.array([[0.5], [-np.inf]], np.float32)),
    )
    worth = margins(found, "ratio")
    for pair in ((0, 1), (-1, 0), (0, -1), (-1, -1)):
        changed = without(found, worth, (np.array(pair[:1]), np.array(pair[1:])))
        assert all(np.array_equal(*both) for both in zip(worth, changed, strict=True))


def test_a_mean_is_of_the_neighbours_that_there_are():
    rows, cosines = np.array([[2, 0, -1], [-1, -1, -1]]), np.array([[0.5, 0.25, -np.inf], [-np.inf] * 3], np.float32)
    assert mean_cosines(Ranking(rows, cosines)).tolist() == [0.375, 0]


@pytest.mark.parametrize(("kind", "expected"), [("ratio", 0.8 / 0.5), ("distance", 0.8 - 0.5), ("absolute", 0.8)])
def test_a_cosine_is_compared_with_the_mean_of_both_neighbourhoods(kind, expected):
    margin = compared(np.array([0.8], np.float32), np.array([0.4]), np.array([0.6]), kind)
    assert margin.dtype == np.float32
    assert margin.tolist() == pytest.approx([expected], abs=1e-6)


def test_a_ratio_to_a_neighbourhood_without_likeness_is_no_evidence():
    cosine = np.array([0.3, -0.3], np.float32)
    assert compared(cosine, np.array([-0.1, -0.2]), np.array([0.1, -0.2]), "ratio").tolist() == [0, 0]
