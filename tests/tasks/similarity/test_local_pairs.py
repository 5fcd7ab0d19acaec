from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from storage.schemas import COSINES, ID, IDS, empty, schema_of
from tasks.similarity.local_pairs import LocalConfig, merge_pairs
from tasks.similarity.margin import margins
from tasks.similarity.neighbour_tables import neighbour_table, sides_of
from tasks.similarity.neighbours import neighbours
from tasks.similarity.ranking import cosine_of
from tasks.similarity.retrieval import MineConfig, mine

MINING = MineConfig(threshold=1.1, k=4)
ANY = LocalConfig(alignment=-9, margin=-9)


def ids(side, rows):
    return [b"%s%015d" % (side, row) for row in rows]


@pytest.fixture(scope="module")
def world():
    """Two sides of 40 sentences, row i of which translates row i; the neighbours and what is mined from them."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(40, 12))
    source, target = (meaning + 0.7 * rng.normal(size=meaning.shape) for _ in range(2))
    sides = [(side / np.linalg.norm(side, axis=1, keepdims=True)).astype(np.float32) for side in (source, target)]
    names = [pa.array(ids(side, range(40)), ID) for side in (b"s", b"t")]
    table = neighbour_table(neighbours(*sides, *names, MINING.k), *names)
    return sides, table, mine(table, MINING)


def links(world, *rows, alignment=0.8):
    """Links of source rows with target rows, each (source rows, target rows)."""
    (source, target), _, _ = world
    columns = {
        "source_doc_id": pa.array([b"d" * 16] * len(rows), ID),
        "target_doc_id": pa.array([b"e" * 16] * len(rows), ID),
        "source_ids": pa.array([ids(b"s", row[0]) for row in rows], IDS),
        "target_ids": pa.array([ids(b"t", row[1]) for row in rows], IDS),
        "cosine": pa.array([cosine_of(source[row[0][0]], target[row[1][0]]) for row in rows], COSINES.value_type),
        "alignment": pa.array(np.broadcast_to(alignment, len(rows)), pa.float32()),
        "source": pa.nulls(len(rows), pa.string()),
        "target": pa.nulls(len(rows), pa.string()),
    }
    return pa.table(columns, schema=schema_of("local_pairs"))


def keyed(table):
    return {(row["source_id"], row["target_id"]): row for row in table.to_pylist()}


def test_without_local_pairs_the_others_stay_as_they_are(world):
    _, table, pairs = world
    merged = merge_pairs(pairs, empty("local_pairs"), table, MINING, ANY)
    assert merged.select(pairs.column_names).equals(pairs)
    assert merged["alignment"].null_count == pairs.num_rows
    assert 10 < pairs.num_rows < 40


def test_a_column_for_the_alignment_may_be_there_already(world):
    _, table, pairs = world
    every = links(world, *(([row], [row]) for row in range(40)))
    once = merge_pairs(pairs, every, table, MINING, ANY)
    without = pairs.append_column("alignment", pa.nulls(pairs.num_rows, pa.float32()))
    assert merge_pairs(without, every, table, MINING, ANY).equals(once)


def test_each_pair_is_there_once_and_says_who_found_it(world):
    _, table, pairs = world
    globally = {key for key, row in keyed(pairs).items()}
    every = links(world, *(([row], [row]) for row in range(40)))
    merged = merge_pairs(pairs, pa.concat_tables([every, every]), table, MINING, ANY)
    assert (
        merged.num_rows
        == len(keyed(merged))
        == len(globally | set(zip(ids(b"s", range(40)), ids(b"t", range(40)), strict=True)))
    )
    for key, row in keyed(merged).items():
        local = key[0][1:] == key[1][1:]
        known = keyed(pairs)[key]["found_by"] if key in globally else ""
        assert row["found_by"] == "+".join(filter(None, [known, "document" if local else ""]))
        assert (row["alignment"] is not None) == local
        if key in globally:
            assert [row[name] for name in ("pair_id", "cosine", "margin")] == [
                keyed(pairs)[key][name] for name in ("pair_id", "cosine", "margin")
            ]


@pytest.mark.parametrize("kind", ["ratio", "distance", "absolute"])
def test_the_margin_of_a_local_pair_is_that_of_the_neighbourhoods(world, kind):
    _, table, _ = world
    mining = MINING.model_copy(update={"margin": kind, "threshold": 99})
    source_ids, target_ids, found = sides_of(table, MINING.k)
    forward, _ = margins(found, kind)
    listed = links(world, *(([row], [int(column)]) for row, column in enumerate(found.forward.rows[:, 2])))
    merged = keyed(merge_pairs(mine(table, mining), listed, table, mining, ANY))
    for row, column in enumerate(found.forward.rows[:, 2]):
        assert merged[source_ids[row].as_py(), target_ids[int(column)].as_py()]["margin"] == forward[row, 2]


def test_the_order_is_by_margin_then_cosine_then_ids_whatever_the_order_of_links(world):
    _, table, pairs = world
    every = links(world, *(([row], [row]) for row in range(40)))
    merged = merge_pairs(pairs, every, table, MINING, ANY)
    rows = [(-row["margin"], -row["cosine"], row["source_id"], row["target_id"]) for row in merged.to_pylist()]
    assert rows == sorted(rows)
    assert merge_pairs(pairs, every.take(pa.array(range(39, -1, -1))), table, MINING, ANY).equals(merged)


def test_links_of_several_sentences_and_bad_ones_are_passed_over(world):
    _, table, pairs = world
    several = links(world, ([1, 2], [1]), ([3], [3, 4]))
    assert merge_pairs(pairs, several, table, MINING, ANY).num_rows == pairs.num_rows
    best = {row: float(0.2 + row / 100) for row in range(20)}
    graded = links(world, *(([row], [row]) for row in best), alignment=np.array(list(best.values()), np.float32))
    merged = keyed(merge_pairs(pairs, graded, table, MINING, LocalConfig(alignment=0.3, margin=-9)))
    told = {int(source[1:]) for (source, _), row in merged.items() if row["alignment"] is not None}
    assert told == set(range(10, 20))
    least = merge_pairs(pairs, graded, table, MINING, LocalConfig(alignment=-9, margin=1.0))
    assert all(row["margin"] >= 1 for row in least.to_pylist())


def test_the_best_of_several_links_of_one_pair_counts(world):
    _, table, pairs = world
    twice = links(world, ([5], [5]), ([5], [5]), alignment=np.array([0.4, 0.6], np.float32))
    merged = keyed(merge_pairs(pairs, twice, table, MINING, ANY))
    assert merged[ids(b"s", [5])[0], ids(b"t", [5])[0]]["alignment"] == np.float32(0.6)


def test_a_largest_margin_holds_for_local_pairs_too_and_strangers_have_none(world):
    _, table, _ = world
    every = links(world, *(([row], [row]) for row in range(40)))
    capped = MINING.model_copy(update={"maximum": 1.2})
    merged = merge_pairs(mine(table, capped), every, table, capped, ANY)
    assert all(row["margin"] <= np.float32(1.2) for row in merged.to_pylist())
    pairs = mine(empty("neighbours"), MINING)
    assert merge_pairs(pairs, every, empty("neighbours"), MINING, ANY).num_rows == 0
