from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage.errors import ConfigError
from storage.jobs import Job, Slot
from storage.manifest import Artifact, Dataset
from storage.planning import PlanningStore, is_planned
from storage.schemas import ID
from storage.store import Store
from tasks.embed_sentences import embedding_table
from tasks.find_neighbours import NeighbourConfig, find_neighbours
from tasks.index_embeddings import FILE, index_embeddings
from tasks.similarity.indexes import IndexConfig, deserialize

CELLS = IndexConfig(index="IVF256,PQ8x4fs", parameters="nprobe=64")


def _vectors(tally, config, seed, rows):
    rng = np.random.default_rng(int(seed))
    centres = np.random.default_rng(0).normal(size=(300, 16))
    vectors = centres[rng.integers(0, 300, int(rows))] + 0.3 * rng.normal(size=(int(rows), 16))
    vectors[:3] = 0
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = pa.chunked_array([pa.array([rng.bytes(16) for _ in range(int(rows))], ID)])
    yield "embeddings", embedding_table(ids, np.divide(vectors, norms, out=vectors, where=norms > 0))


def embeddings(store: Store, partition: str, rows: int = 10_000, seed: int = 1) -> Dataset:
    job = Job("write", 1, None, (str(seed), str(rows)), (Slot("embeddings", partition),), _vectors)
    return store.derive(job)[0]


def index_of(store: Store, embedded: Dataset, config: IndexConfig) -> Artifact | None:
    return index_embeddings.fn(store, embedded, config)


def test_no_index_where_none_is_asked_for(store):
    embedded = embeddings(store, "deu_Latn/one", 200)
    assert index_of(store, embedded, IndexConfig()) is None
    assert index_of(store, embedded, IndexConfig(index="auto")) is None  # small
    assert not (Path(store.root) / "artifacts").exists()


def test_an_index_holds_every_different_sentence_that_has_a_vector(store):
    artifact = index_of(store, embeddings(store, "deu_Latn/one"), CELLS)
    index = deserialize(store.files(artifact).read()[FILE])
    assert index.ntotal == 10_000 - 3
    assert str(artifact) == "index deu_Latn/one"


def test_one_index_serves_every_pair_and_every_way_of_searching(store):
    languages = {
        language: embeddings(store, f"{language}_Latn/one", seed=seed)
        for seed, language in enumerate(("deu", "eng", "fra"))
    }
    indexes = {}
    for run, (source, target) in enumerate((("deu", "eng"), ("eng", "fra"), ("deu", "fra"))):
        later = Store(store.root, run=f"run{run}")
        config = CELLS.model_copy(update={"parameters": f"nprobe={64 + run}", "candidates": 8 + run, "min_recall": 0.5})
        both = tuple(index_of(later, languages[language], config) for language in (source, target))
        find_neighbours.fn(later, languages[source], languages[target], NeighbourConfig(search=config), both)
        indexes |= dict(zip((source, target), both, strict=True))
    runs = {language: store.manifest(one).run for language, one in indexes.items()}
    assert runs == {"deu": "run0", "eng": "run0", "fra": "run1"}
    assert len(list(Path(store.root).glob("artifacts/index/**/manifest.json"))) == 3
    trained = CELLS.model_copy(update={"train_rows": 40})
    assert index_of(store, languages["deu"], trained).fingerprint != indexes["deu"].fingerprint


def test_an_index_can_be_planned(store):
    planned = index_of(PlanningStore.of(store), embeddings(store, "deu_Latn/one", 200), CELLS)
    assert is_planned(planned)


def test_an_index_that_cannot_be_made_stops_the_run_and_says_which_setting(store):
    embedded = embeddings(store, "deu_Latn/one", 200)
    with pytest.raises(ConfigError, match=re.escape("search.index: FAISS cannot index 16 dimensions by 'PQ48'")):
        index_of(store, embedded, IndexConfig(index="PQ48"))
