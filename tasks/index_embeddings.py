"""embeddings -> index (artifact)"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from storage.errors import ConfigError
from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import vectors_of
from tasks.similarity.different import different
from tasks.similarity.indexes import IndexConfig, build_index, serialize

VERSION = 1
FILE = "index.faiss"
_OF_THE_SEARCH = frozenset({"parameters", "candidates", "sample", "min_recall"})


@stage(task_run_name="index-{embeddings.partition}")
def index_embeddings(store: Store, embeddings: Dataset, config: IndexConfig) -> Artifact | None:
    """Index a crawl's sentences of one language, once for all pairs that it is in; None where none is asked for.

    Raises:
        ConfigError: if FAISS cannot make such an index of these vectors.
    """
    if not config.wants_index(embeddings.rows):
        return None
    slot = Slot("index", embeddings.partition)
    return store.make(Job("index_embeddings", VERSION, config, (embeddings,), (slot,), _index, _OF_THE_SEARCH))


def _index(_: Tally, config: IndexConfig, embeddings: Rows) -> Iterator[tuple[str, list[bytes]]]:
    vectors = vectors_of(embeddings.read(["vector"]))
    try:
        index = build_index(different(vectors, np.arange(len(vectors))), config)
    except ValueError as error:
        raise ConfigError(f"search.{error}; choose another index, or exact") from error
    yield FILE, [serialize(index)]
