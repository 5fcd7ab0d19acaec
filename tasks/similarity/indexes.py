"""The different vectors of one side in, a FAISS index of them out, which proposes neighbours."""

from __future__ import annotations

from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from storage.fingerprint import Settings
from tasks.similarity.different import Different

EXACT, AUTO = "exact", "auto"
AUTO_ROWS = 1_000_000  # of one side; 1M x 1M x 256 is searched exactly in half an hour on two cores
# FAISS clusters no fewer vectors per centroid without a warning, and uses no more (ClusteringParameters); a product
# quantizer has 256 centroids, or 16, and takes 65,536 vectors
LEAST_PER_CELL, MOST_PER_CELL, QUANTIZER_CELLS, QUANTIZER_ROWS = 39, 256, 256, 65_536
# (least number of vectors, cells): fewer than stopes' 16,384 to 65,536. What is looked for is another language's, and
# lies in more of many small cells: of 785,000 real sentences, 6 % of 4,096 cells have 95 % of the neighbours (k = 4)
CELLS = ((0, 4_096), (4_000_000, 8_192), (10_000_000, 16_384), (100_000_000, 65_536))
_ADDED = 65_536  # vectors that an index is given at once
_USUAL_DIMENSIONS = (1024, 1152, 960, 896)  # between them, every number of subvectors up to 128 that is in use


class IndexConfig(Settings):
    """How neighbours are searched: exactly, or for candidates in a FAISS index that are then judged by true cosines."""

    index: Annotated[
        str,
        Field(max_length=200, description="exact; auto: approximate between large sides; or a FAISS factory string"),
    ] = EXACT
    parameters: Annotated[
        str, Field(max_length=200, description='Of the search, as FAISS writes them: "nprobe=64"; empty: by size')
    ] = ""
    train_rows: Annotated[
        int, Field(ge=LEAST_PER_CELL, le=MOST_PER_CELL, description="Vectors per cell that an index is trained on")
    ] = 64
    candidates: Annotated[
        int, Field(ge=1, le=256, description="Candidates per neighbour, whose true cosines are computed")
    ] = 8
    sample: Annotated[
        int, Field(ge=100, le=1_000_000, description="Sentences a side that are searched exactly too, for the recall")
    ] = 1_000
    min_recall: Annotated[
        float, Field(ge=0, le=1, description="Share of the exact neighbours below which a run is refused")
    ] = 0.95

    @model_validator(mode="after")
    def _known_to_faiss(self) -> Self:
        if self.index != EXACT:
            trial = _trial(_factory(0, _USUAL_DIMENSIONS[0]) if self.index == AUTO else self.index)
            set_parameters(trial, self.parameters)
        return self

    def wants_index(self, rows: int) -> bool:
        """Whether a side of so many sentences is to have an index."""
        return rows > AUTO_ROWS if self.index == AUTO else self.index != EXACT


def build_index(vectors: Different, config: IndexConfig) -> Any:
    """Return a FAISS index of the different vectors of one side, by their numbers.

    Vectors are read in blocks: it takes the memory of the index and of its training sample, which is evenly spaced
    among them; clustering begins with FAISS's own fixed seeds. Where there are too few vectors for that, each is kept
    as it is, and the search is exact.

    Raises:
        ValueError: naming the field, if FAISS cannot make such an index of them.
    """
    import faiss

    dimension = vectors.stored.shape[1]
    factory = _factory(vectors.size, dimension) if config.index == AUTO else config.index
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        cells = max(getattr(cells_of(index), "nlist", 0), QUANTIZER_CELLS)
        if vectors.size < LEAST_PER_CELL * cells:
            index = faiss.IndexFlatIP(dimension)
        if not index.is_trained:
            _train(index, vectors.take(evenly_spaced(vectors.size, max(config.train_rows * cells, QUANTIZER_ROWS))))
        for start in range(0, vectors.size, _ADDED):
            index.add(vectors.block(start, start + _ADDED))
    except RuntimeError as error:
        raise ValueError(f"index: FAISS cannot index {dimension} dimensions by {factory!r}: {_said(error)}") from error
    return index


def set_parameters(index: Any, parameters: str) -> None:
    """Set search parameters, as in FAISS's "nprobe=64,quantizer_efSearch=32".

    Raises:
        ValueError: naming the field, if such an index does not have them.
    """
    import faiss

    space: Any = faiss.ParameterSpace()  # whose type hints take the string for a number
    try:
        space.set_index_parameters(index, parameters)
    except RuntimeError as error:
        raise ValueError(f"parameters: FAISS does not take {parameters!r} for this index: {_said(error)}") from error


def on_gpus(index: Any) -> Any:
    """Return an index as it is, or a copy on all GPUs where there are some and FAISS can use them for its kind."""
    import faiss

    if not _gpus():
        return index
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = True  # the tables of 64 subvectors do not fit into a multiprocessor otherwise
    try:
        return faiss.index_cpu_to_all_gpus(index, options)
    except RuntimeError:  # not every kind has a form for GPUs
        return index


def cells_of(index: Any) -> Any:
    """Return the part of an index that keeps vectors in cells, None if none does."""
    import faiss

    return faiss.try_extract_index_ivf(index)


def keeps_vectors(index: Any) -> bool:
    """Whether it is the plain list of vectors that `build_index` makes of few: a search that nothing can be set for."""
    import faiss

    return isinstance(index, faiss.IndexFlat)


def serialize(index: Any) -> bytes:
    """Return an index as bytes."""
    import faiss

    return bytes(faiss.serialize_index(index).data)


def deserialize(data: bytes) -> Any:
    """Return the index that `serialize` made bytes of.

    Raises:
        ValueError: if they are something else.
    """
    import faiss

    try:
        return faiss.deserialize_index(np.frombuffer(data, np.uint8))
    except RuntimeError as error:
        raise ValueError(f"this is no FAISS index: {_said(error)}") from error


def evenly_spaced(count: int, wanted: int) -> np.ndarray:
    """Numbers below `count`, as many as wanted or all, ascending, with equal gaps as far as they divide."""
    taken = min(count, wanted)
    return np.arange(taken) * count // max(1, taken)


def _factory(rows: int, dimension: int) -> str:
    """Choose an index by size: cells of vectors of 4 bits for each two numbers, which CPUs compare fastest.

    4 bits for four numbers propose too few of the true neighbours among eight times as many: docs/mining.md.
    """
    cells = next(cells for least, cells in reversed(CELLS) if rows >= least)
    parts = dimension // 2 if dimension % 2 == 0 else dimension
    return f"IVF{cells},PQ{parts}x4fs"


def _trial(factory: str) -> Any:
    """Make an empty index, to see whether FAISS understands the string.

    Raises:
        ValueError: if it does not, whatever the dimension.
    """
    import faiss

    said = ""
    for dimension in _USUAL_DIMENSIONS:
        try:
            return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        except (RuntimeError, MemoryError) as error:
            said = said or _said(error)
    raise ValueError(f"index: {factory!r} is neither exact, auto nor a FAISS factory string for inner products: {said}")


def _train(index: Any, sample: np.ndarray) -> None:
    import faiss

    cells = cells_of(index)
    if cells is not None and _gpus():
        helper = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(cells.d))
        cells.clustering_index = helper
        index.train(sample)
        cells.clustering_index = None
    else:
        index.train(sample)


def _gpus() -> int:
    import faiss

    return int(getattr(faiss, "get_num_gpus", lambda: 0)())


def _said(error: Exception) -> str:
    """What FAISS says, without where in its sources."""
    return str(error).rpartition(":")[2].strip() or type(error).__name__
