from __future__ import annotations

import importlib.util
import logging
import re
from pathlib import Path

import pytest

from storage.errors import ConfigError
from storage.planning import PlanningStore, is_planned
from storage.store import Store
from tasks.find_neighbours import NeighbourConfig, check_recall, find_neighbours, recalls
from tasks.similarity.indexes import IndexConfig
from tasks.similarity.neighbour_tables import merge_tables, sides_of

_spec = importlib.util.spec_from_file_location("indexing", Path(__file__).parent / "test_index_embeddings.py")
indexing = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(indexing)

NARROW = indexing.CELLS.model_copy(update={"parameters": "nprobe=1"})


@pytest.fixture
def sides(store):
    return indexing.embeddings(store, "deu_Latn/one", 1_200, seed=1), indexing.embeddings(store, "eng_Latn/one", seed=2)


def searched(store, sides, config=None, k=4):
    """The block, through indexes if the settings ask for them."""
    config = config or IndexConfig()
    indexes = tuple(indexing.index_of(store, side, config) for side in sides)
    settings = NeighbourConfig(k=k, search=config)
    return find_neighbours.fn(store, *sides, settings, None if None in indexes else indexes)


def test_the_settings_of_indexes_change_nothing_of_an_exact_block(store, sides):
    block = searched(store, sides)
    later = Store(store.root, run="later")
    other = NeighbourConfig(search=IndexConfig(index="auto", candidates=3, min_recall=0.2))
    assert find_neighbours.fn(later, *sides, other) == block
    assert store.manifest(block).run == store.run
    assert recalls(store.manifest(block).dropped) == {}


def test_an_approximate_block_is_nearly_the_exact_one_and_tells_its_recall(store, sides, caplog):
    exact = searched(store, sides)
    with caplog.at_level(logging.INFO, "tasks.find_neighbours"):
        block = searched(store, sides, indexing.CELLS)
    assert block.fingerprint != exact.fingerprint
    (told,) = (record.getMessage() for record in caplog.records if "recall" in record.getMessage())
    shares = recalls(store.manifest(block).dropped)
    assert told == (
        "find neighbours deu_Latn/one x eng_Latn/one: recall@4 on a sample "
        f"{shares['sources']:.1%} for sources, {shares['targets']:.1%} for targets"
    )
    assert all(0.95 <= share <= 1 for share in shares.values())
    found, true = (sides_of(store.read(one), 4).neighbours for one in (block, exact))
    for ours, theirs, share in zip(found, true, shares.values(), strict=True):
        reached = (ours.rows >= 0) & (ours.cosines >= theirs.cosines[:, -1:])
        assert reached.sum() / (theirs.rows >= 0).sum() == pytest.approx(share, abs=0.02)


def test_approximate_blocks_and_exact_ones_merge(store, sides):
    exact, block = searched(store, sides), searched(store, sides, indexing.CELLS)
    merged = merge_tables([store.read(block), store.read(exact)], 4)
    assert merged.equals(merge_tables([store.read(exact)], 4))


def test_too_low_a_recall_stops_the_run_before_anything_is_written(store, sides):
    with pytest.raises(ConfigError) as caught:
        searched(store, sides, NARROW, k=64)
    assert re.fullmatch(
        r"search\.min_recall: deu_Latn/one x eng_Latn/one: of the exact neighbours of a sample of sources, \d+\.\d% "
        r"were found, less than 95\.0%; raise nprobe, or what the index has in its place, in search\.parameters "
        r"\(now nprobe=1\), raise search\.candidates \(now 8\), choose an index that keeps more of the vectors, or "
        r"lower search\.min_recall",
        str(caught.value),
    )
    assert not list(Path(store.root).glob("datasets/neighbours/**/*"))


def test_a_block_that_was_good_enough_once_is_kept_and_refused_by_those_who_want_more(store, sides):
    lenient = NARROW.model_copy(update={"min_recall": 0.1})
    block = searched(store, sides, lenient, k=64)
    later = Store(store.root, run="later")
    with pytest.raises(ConfigError, match=r"search\.min_recall: neighbours deu_Latn-eng_Latn/one/one: "):
        searched(later, sides, NARROW, k=64)
    assert searched(later, sides, lenient, k=64) == block
    assert store.manifest(block).run == store.run
    with pytest.raises(ConfigError, match=r"search\.min_recall"):  # a plan says so too
        searched(PlanningStore.of(later), sides, NARROW, k=64)


def test_an_approximate_block_can_be_planned(store, sides):
    assert is_planned(searched(PlanningStore.of(store), sides, indexing.CELLS))


def test_parameters_that_only_the_index_can_refuse_are_named(store, sides):
    indexes = tuple(indexing.index_of(store, side, indexing.CELLS) for side in sides)
    other = IndexConfig(index="HNSW16", parameters="efSearch=30")
    with pytest.raises(ConfigError, match=r"search\.parameters: FAISS does not take 'efSearch=30'"):
        find_neighbours.fn(store, *sides, NeighbourConfig(search=other), indexes)


def test_nothing_wanted_is_nothing_missed():
    check_recall("a block", {}, IndexConfig())
    check_recall("a block", {"sources: neighbours of a sample": 0}, IndexConfig())
