from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from storage.ids import content_id
from storage.jobs import Job, Slot
from storage.schemas import ID, conform
from tasks.filters import LanguageAgreement, LengthRatio, Overlap
from tasks.mine_pairs import MinePairsConfig, mine_pairs
from tasks.similarity.neighbour_tables import neighbour_table
from tasks.similarity.neighbours import neighbours
from tasks.similarity.retrieval import MineConfig, mine

GERMAN, ENGLISH = "deu_Latn", "eng_Latn"
COPY = "The museum opens at nine and closes at five."
# text, language confidence, direction; the first source is English on a German page, and there word for word too
SOURCES = [
    (COPY, 0.9, [1.0, 0.0, 0.0, 0.0]),
    ("Das Museum öffnet um neun und schließt um fünf.", 0.9, [0.9, 0.4, 0.0, 0.0]),
    ("Der Zug nach Hamburg fährt heute nicht.", 0.9, [0.0, 0.1, 1.0, 0.0]),
    ("Read our privacy policy here.", 0.01, [0.0, 0.0, 0.1, 1.0]),
    ("Lesen Sie hier, wie wir Daten schützen.", 0.9, [0.0, 0.0, 0.4, 0.9]),
]
TARGETS = [
    (COPY, 0.9, [1.0, 0.1, 0.0, 0.0]),
    ("There is no train to Hamburg today.", 0.9, [0.1, 0.0, 1.0, 0.0]),
    ("Find out here how we protect data.", 0.9, [0.0, 0.0, 0.1, 1.0]),
    ("Somebody sings.", 0.9, [0.5, -0.5, 0.5, -0.5]),
]


def derived(store, name, partition, table):
    def compute(*_):
        yield name, conform(name, table)

    return store.derive(Job(f"given.{name}", 1, None, (partition,), (Slot(name, partition),), compute))[0]


def ids(language, rows):
    return pa.array([content_id(language, text) for text, *_ in rows], ID)


def sentences(store, language, rows, crawl="2024-10"):
    count = len(rows)
    table = pa.table(
        {
            "sentence_id": ids(language, rows),
            "text": [text for text, *_ in rows],
            "confidence": pa.array([confidence for _, confidence, _ in rows], pa.float32()),
            "pii": [[]] * count,
            "doc_id": ids("page", rows),
            "position": pa.array(range(count), pa.int32()),
            "occurrences": pa.array([1] * count, pa.int32()),
        }
    )
    return derived(store, "unique_sentences", f"{language}/{crawl}", table)


def vectors(rows):
    array = np.array([direction for *_, direction in rows], np.float32).reshape(-1, 4)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def table(sources=SOURCES, targets=TARGETS):
    both = ids(GERMAN, sources), ids(ENGLISH, targets)
    return neighbour_table(neighbours(vectors(sources), vectors(targets), *both, 4), *both)


@pytest.fixture
def sides(store):
    """The sentences of both sides, of two crawls on the source side."""
    sources = [sentences(store, GERMAN, SOURCES[:2]), sentences(store, GERMAN, SOURCES[2:], "2024-11")]
    return sources, [sentences(store, ENGLISH, TARGETS)]


@pytest.fixture
def block(store):
    """Their neighbours."""
    return derived(store, "neighbours", f"{GERMAN}-{ENGLISH}/a/b", table())


def mined(store, block, sides, **settings):
    config = MinePairsConfig(**({"margin": "absolute", "threshold": 0.6} | settings))
    found = mine_pairs.fn(store, f"{GERMAN}-{ENGLISH}", [block], *sides, config)
    texts = {
        content_id(language, text): text
        for language, rows in ((GERMAN, SOURCES), (ENGLISH, TARGETS))
        for text, *_ in rows
    }
    pairs = store.read(found)
    columns = (pairs[f"{side}_id"].to_pylist() for side in ("source", "target"))
    return {tuple(texts[one] for one in pair) for pair in zip(*columns, strict=True)}, store.manifest(found).dropped


MUSEUM = (SOURCES[1][0], TARGETS[0][0])
TRAIN = (SOURCES[2][0], TARGETS[1][0])
PRIVACY = (SOURCES[4][0], TARGETS[2][0])


def test_without_guards_a_copy_takes_the_place_of_the_translation(store, block, sides):
    pairs, dropped = mined(store, block, sides, guards=[])
    assert (COPY, COPY) in pairs
    assert MUSEUM not in pairs
    assert dropped == {}


def test_a_guard_against_copies_lets_the_translation_be_found(store, block, sides):
    pairs, dropped = mined(store, block, sides, guards=[Overlap()])
    assert MUSEUM in pairs
    assert (COPY, COPY) not in pairs
    assert PRIVACY not in pairs  # its place is taken by English on the German side
    assert dropped == {"guard overlap": 1}


def test_a_guard_against_sentences_in_the_other_language_does_too(store, block, sides):
    pairs, dropped = mined(store, block, sides, guards=[LanguageAgreement()])
    assert PRIVACY in pairs
    assert TRAIN in pairs
    assert SOURCES[3][0] not in {source for source, _ in pairs}
    assert dropped["guard language_agreement"] >= 1


def test_the_default_guards_are_against_both_and_each_candidate_counts_once(store, block, sides):
    pairs, dropped = mined(store, block, sides)
    assert pairs == {MUSEUM, TRAIN, PRIVACY}
    assert set(dropped) == {"guard language_agreement", "guard overlap"}
    _, twice = mined(store, block, sides, guards=[Overlap(), Overlap(limit=0.7)])
    assert twice == {"guard overlap": 1}


@pytest.mark.parametrize("retrieval", ["forward", "backward", "intersection", "max", "union"])
def test_no_retrieval_gets_past_a_guard(store, block, sides, retrieval):
    pairs, _ = mined(store, block, sides, retrieval=retrieval, threshold=-10.0)
    assert (COPY, COPY) not in pairs
    assert MUSEUM in pairs


def test_only_candidates_above_the_threshold_are_looked_at(store, block, sides):
    pairs, dropped = mined(store, block, sides, guards=[LengthRatio(limit=1)])
    assert pairs == {(COPY, COPY)}  # alone equally long
    assert dropped == {"guard length_ratio": 4}  # of 20 neighbours


def test_without_guards_no_text_is_an_input(store, block, sides):
    config = MinePairsConfig(guards=[], threshold=1.0)
    one = mine_pairs.fn(store, f"{GERMAN}-{ENGLISH}", [block], *sides, config)
    assert mine_pairs.fn(store, f"{GERMAN}-{ENGLISH}", [block], [], [], config) == one
    assert store.read(one).equals(mine(table(), MineConfig(threshold=1.0)))
    guarded = mine_pairs.fn(store, f"{GERMAN}-{ENGLISH}", [block], *sides, MinePairsConfig(threshold=1.0))
    assert guarded.fingerprint != one.fingerprint


def test_languages_without_a_common_neighbour_have_no_pairs(store):
    nothing = derived(store, "neighbours", f"{GERMAN}-{ENGLISH}/a/b", table([], []))
    for blocks in ([nothing], []):
        found = mine_pairs.fn(store, f"{GERMAN}-{ENGLISH}", blocks, [], [], MinePairsConfig())
        assert found.rows == 0
