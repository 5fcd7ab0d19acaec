import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.ids import joined_ids
from storage.schemas import ID, check, empty
from tasks.similarity.neighbour_tables import neighbour_table
from tasks.similarity.neighbours import neighbours
from tasks.similarity.retrieval import (
    DEFAULT_THRESHOLDS,
    MineConfig,
    candidates,
    mine,
    mine_vectors,
    score_vectors,
)

MARGINS = ["ratio", "distance", "absolute"]
RETRIEVALS = ["forward", "backward", "intersection", "max", "union"]


def planted(seed, sources=60, targets=50, pairs=30):
    """Clustered vectors with planted pairs; the last rows of each side repeat former ones, one row is zero."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 12)) * 2
    meaning = centres[rng.integers(0, 6, sources + targets)] + rng.normal(size=(sources + targets, 12))
    source = meaning[:sources] + rng.normal(size=(sources, 12)) * 0.2
    target = np.concatenate([meaning[:pairs], meaning[sources : sources + targets - pairs]])
    target += rng.normal(size=(targets, 12)) * 0.2
    source[-3:], target[-3:] = source[:3], target[:3]
    target[-4] = 0
    sides = []
    for vectors in (source, target):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        sides.append(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float16))
    ids = [pa.array([rng.bytes(16) for _ in vectors], ID) for vectors in sides]
    return *sides, *ids


def table_of(source, target, source_ids, target_ids, k=4):
    return neighbour_table(neighbours(source, target, source_ids, target_ids, k), source_ids, target_ids)


def literally(table, config, refused=()):  # noqa: C901
    """The algorithm in plain Python: {(source, target): (cosine, margin, found by)}, best first."""
    near = {"source": {}, "target": {}}
    for row in table.to_pylist():
        lists = zip(row["neighbour_ids"], row["cosines"], strict=True)
        near[row["side"]][row["sentence_id"]] = dict(itertools.islice(lists, config.k))
    mean = {side: {one: sum(found.values()) / max(len(found), 1) for one, found in near[side].items()} for side in near}

    def margin(source, target, cosine):
        average = (mean["source"][source] + mean["target"][target]) / 2
        if config.margin == "ratio":
            return float(np.float32(cosine / average if average > 0 else 0))
        return float(np.float32(cosine - average if config.margin == "distance" else cosine))

    best = {"forward": {}, "backward": {}}
    for source, found in near["source"].items():
        left = {target: cosine for target, cosine in found.items() if (source, target) not in refused}
        scored = [(-margin(source, target, cosine), -cosine, target) for target, cosine in left.items()]
        for worth, minus, target in sorted(scored)[:1]:
            best["forward"][source, target] = (-minus, -worth)
    for target, found in near["target"].items():
        left = {source: cosine for source, cosine in found.items() if (source, target) not in refused}
        scored = [(-margin(source, target, cosine), -cosine, source) for source, cosine in left.items()]
        for worth, minus, source in sorted(scored)[:1]:
            best["backward"][source, target] = (-minus, -worth)
    forward, backward = best["forward"], best["backward"]
    chosen = {
        "forward": forward,
        "backward": backward,
        "intersection": {pair: forward[pair] for pair in forward.keys() & backward.keys()},
        "max": forward | backward,
        "union": forward | backward,
    }[config.retrieval]
    ordered = sorted(chosen, key=lambda pair: (-chosen[pair][1], -chosen[pair][0], *pair))
    result, used = {}, set()
    for pair in ordered:
        cosine, worth = chosen[pair]
        if worth < np.float32(config.threshold) or (config.retrieval == "max" and not used.isdisjoint(enumerate(pair))):
            continue
        used |= set(enumerate(pair))
        if config.maximum is None or worth <= np.float32(config.maximum):
            by = "both" if pair in forward and pair in backward else "forward" if pair in forward else "backward"
            result[pair] = (cosine, worth, by)
    return result


def as_dictionary(pairs):
    return {
        (row["source_id"], row["target_id"]): (row["cosine"], row["margin"], row["found_by"])
        for row in pairs.to_pylist()
    }


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("retrieval", RETRIEVALS)
@pytest.mark.parametrize("maximum", [None, 1.3])
def test_equals_the_algorithm_in_plain_python(margin, retrieval, maximum):
    threshold = {"ratio": 1.02, "distance": 0.02, "absolute": 0.7}[margin]
    for seed, k in itertools.product(range(3), (1, 4)):
        config = MineConfig(margin=margin, retrieval=retrieval, k=k, threshold=threshold, maximum=maximum)
        table = table_of(*planted(seed))
        found = check("pairs", mine(table, config))
        expected = literally(table, config)
        assert list(as_dictionary(found).items()) == list(expected.items())
        assert k == 1 or len(expected) > 5
        assert (
            found["pair_id"]
            .combine_chunks()
            .equals(joined_ids(found["source_id"].combine_chunks(), found["target_id"].combine_chunks()))
        )


def test_planted_pairs_are_found():
    source, target, source_ids, target_ids = planted(1)
    pairs = as_dictionary(mine(table_of(source, target, source_ids, target_ids), MineConfig(threshold=1.0)))
    hidden = {(source_ids[row].as_py(), target_ids[row].as_py()) for row in range(3, 30)}
    assert len(hidden & pairs.keys()) >= 20


SWAPPED = {"forward": "backward", "backward": "forward"} | {
    same: same for same in ("intersection", "max", "union", "both")
}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(MARGINS), st.sampled_from(RETRIEVALS))
def test_swapping_the_sides_swaps_the_pairs(seed, margin, retrieval):
    source, target, source_ids, target_ids = planted(seed)
    source, source_ids, target, target_ids = source[:-3], source_ids[:-3], target[:-3], target_ids[:-3]  # no exact ties
    config = MineConfig(margin=margin, retrieval=retrieval, threshold=0)
    other = config.model_copy(update={"retrieval": SWAPPED[retrieval]})
    one_way = as_dictionary(mine(table_of(source, target, source_ids, target_ids), config))
    other_way = as_dictionary(mine(table_of(target, source, target_ids, source_ids), other))
    assert one_way == {(t, s): (cosine, worth, SWAPPED[by]) for (s, t), (cosine, worth, by) in other_way.items()}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(RETRIEVALS), st.floats(0.8, 1.4), st.floats(0.8, 1.4))
def test_a_higher_threshold_only_takes_pairs_away(seed, retrieval, one, other):
    low, high = sorted((one, other))
    table = table_of(*planted(seed))
    many = mine(table, MineConfig(retrieval=retrieval, threshold=low))
    few = mine(table, MineConfig(retrieval=retrieval, threshold=high))
    assert few.equals(many.slice(0, few.num_rows))
    assert all(margin >= np.float32(high) for margin in few["margin"].to_pylist())


def test_the_union_has_what_either_side_found_and_each_pair_once():
    table = table_of(*planted(2))
    found = {way: as_dictionary(mine(table, MineConfig(retrieval=way, threshold=1.0))) for way in RETRIEVALS}
    assert found["union"].keys() == found["forward"].keys() | found["backward"].keys()
    assert found["intersection"].keys() == found["forward"].keys() & found["backward"].keys()
    assert found["max"].keys() < found["union"].keys()
    assert mine(table, MineConfig(retrieval="union", threshold=1.0)).num_rows == len(found["union"])
    assert {by for *_, by in found["union"].values()} == {"forward", "backward", "both"}


@pytest.mark.parametrize("margin", MARGINS)
def test_without_a_threshold_the_default_of_the_margin_holds(margin):
    table = table_of(*planted(3))
    named = MineConfig(margin=margin, threshold=DEFAULT_THRESHOLDS[margin])
    assert mine(table, MineConfig(margin=margin)).equals(mine(table, named))
    assert mine(table, named).num_rows > 0
    assert all(one >= np.float32(named.threshold) for one in mine(table, named)["margin"].to_pylist())


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(MARGINS), st.sampled_from([-np.inf, 0.6, 1.02]))
def test_candidates_are_the_neighbours_of_either_side_with_margins_above_the_threshold(seed, margin, threshold):
    table = table_of(*planted(seed))
    found = candidates(table, MineConfig(margin=margin, threshold=threshold))
    near = [
        (row["sentence_id"], one) if row["side"] == "source" else (one, row["sentence_id"])
        for row in table.to_pylist()
        for one in row["neighbour_ids"]
    ]
    pairs = list(zip(found["source_id"].to_pylist(), found["target_id"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == set(near) if threshold == -np.inf else set(pairs) <= set(near)
    assert all(one >= np.float32(threshold) for one in found["margin"].to_pylist())
    ids = joined_ids(found["source_id"].combine_chunks(), found["target_id"].combine_chunks())
    assert found["pair_id"].combine_chunks().equals(ids)
    for way in RETRIEVALS:
        chosen = mine(table, MineConfig(margin=margin, threshold=threshold, retrieval=way))
        assert set(chosen["pair_id"].to_pylist()) <= set(found["pair_id"].to_pylist())


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(RETRIEVALS), st.integers(2, 4), st.sampled_from([-np.inf, 1.0]))
def test_what_is_refused_is_not_chosen_and_its_sentences_get_their_next_choice(seed, retrieval, every, threshold):
    table = table_of(*planted(seed))
    config = MineConfig(retrieval=retrieval, threshold=threshold)
    near = candidates(table, config)
    refused = near.filter(pa.array([row % every == 0 for row in range(near.num_rows)]))
    pairs = set(zip(refused["source_id"].to_pylist(), refused["target_id"].to_pylist(), strict=True))
    found = as_dictionary(mine(table, config, refused=refused))
    assert found == literally(table, config, pairs)
    assert not pairs & found.keys()


@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_nothing_is_left_when_everything_is_refused(retrieval):
    table = table_of(*planted(0))
    config = MineConfig(retrieval=retrieval, threshold=-np.inf)
    assert mine(table, config, refused=candidates(table, config)).num_rows == 0
    some = candidates(table, config).slice(0, 1)
    assert mine(table, config, refused=some.slice(1)).equals(mine(table, config))
    for side in ("source_id", "target_id"):  # of a sentence that nobody knows
        other = some.set_column(some.schema.get_field_index(side), side, pa.array([b"0" * 16], ID))
        assert mine(table, config, refused=other).equals(mine(table, config))


def test_pairs_of_equal_margin_are_in_the_order_of_cosine_and_ids():
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1, 2, 3]] * np.array([1, -1, 1, -1] * 2, np.float32)[:, None]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(8)
        ids = [
            pa.array([bytes([row, 0] * 8) for row in order], ID),
            pa.array([bytes([7 - row] * 16) for row in order], ID),
        ]
        config = MineConfig(retrieval="union", margin="distance", threshold=-np.inf)
        pairs = mine(table_of(vectors[order], vectors[order], *ids), config)
        rows = list(
            zip(*(pairs[name].to_pylist() for name in ("margin", "cosine", "source_id", "target_id")), strict=True)
        )
        assert len(rows) > 8
        assert rows == sorted(rows, key=lambda row: (-row[0], -row[1], row[2], row[3]))


@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_vectors_are_refused_by_their_rows(retrieval):
    source, target, source_ids, target_ids = planted(4)
    config = MineConfig(retrieval=retrieval, threshold=1.0)
    plain = mine_vectors(source, target, config)
    best = plain[0][0], plain[1][0]
    rows, columns, *_ = mine_vectors(
        source, target, config, refuse=lambda rows, columns: (rows == best[0]) & (columns == best[1])
    )
    assert best not in set(zip(rows.tolist(), columns.tolist(), strict=True))
    seen = []
    mine_vectors(
        source, target, config, refuse=lambda rows, columns: seen.append(len(rows)) or np.zeros(len(rows), bool)
    )
    assert seen == [candidates(table_of(source, target, source_ids, target_ids), config).num_rows]


@pytest.mark.parametrize("margin", MARGINS)
def test_given_pairs_are_scored_as_mining_scores_them(margin):
    source, target, *_ = planted(5)
    config = MineConfig(margin=margin, retrieval="union", threshold=-np.inf)
    rows, columns, _, worth = mine_vectors(source, target, config)
    assert score_vectors(source, target, (rows, columns), config).tolist() == worth.tolist()
    every = np.arange(46)  # most of which are not neighbours of each other, and one has no vector
    scored = score_vectors(source, target, (every, every), config)
    assert np.isfinite(scored).all()
    assert scored[:30].mean() > scored[30:].mean()


def test_max_is_one_to_one_and_repeated_vectors_share_out_their_partners():
    vectors = np.eye(3, 4, dtype=np.float32)[[0, 0, 0, 1, 2]]
    sources, targets, cosines, _ = mine_vectors(vectors, vectors[1:], MineConfig(k=2, threshold=0.5))
    assert len(set(sources)) == len(sources)
    assert len(set(targets)) == len(targets)
    assert (0, 0) in set(zip(sources.tolist(), targets.tolist(), strict=True))
    assert (cosines == 1).all()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from(RETRIEVALS))
def test_arrays_and_tables_give_the_same_pairs(seed, retrieval):
    source, target, *_ = planted(seed)
    ids = [pa.array([row.to_bytes(16) for row in range(len(side))], ID) for side in (source, target)]
    config = MineConfig(retrieval=retrieval)
    pairs = mine(table_of(source, target, *ids), config)
    source_rows, target_rows, cosine, margin = mine_vectors(source, target, config)
    assert [int.from_bytes(one) for one in pairs["source_id"].to_pylist()] == source_rows.tolist()
    assert [int.from_bytes(one) for one in pairs["target_id"].to_pylist()] == target_rows.tolist()
    assert pairs["cosine"].to_pylist() == cosine.tolist()
    assert pairs["margin"].to_pylist() == margin.tolist()


def test_a_neighbourhood_that_is_far_from_everything_is_no_evidence():
    source, target = np.array([[1, 0], [0, 1]], np.float32), np.array([[-1, 0], [0, -1]], np.float32)
    *_, margin = mine_vectors(source, target, MineConfig(k=2, threshold=0, retrieval="forward"))
    assert margin.tolist() == [0, 0]


@pytest.mark.parametrize("retrieval", RETRIEVALS)
@pytest.mark.parametrize(("sources", "targets"), [(0, 0), (3, 0), (0, 3)])
def test_an_empty_side_has_no_pairs(retrieval, sources, targets):
    config = MineConfig(retrieval=retrieval)
    source, target = np.eye(4, dtype=np.float16)[:sources], np.eye(4, dtype=np.float16)[:targets]
    assert [len(column) for column in mine_vectors(source, target, config)] == [0] * 4
    assert mine(empty("neighbours"), config).equals(empty("pairs"))
