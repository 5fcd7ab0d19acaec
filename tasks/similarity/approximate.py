"""Two sides and an index of one in; the near neighbours of the other in it, with true cosines, and their recall out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from encoder.threads import on_one_thread_each
from tasks.similarity.compiled import compiled
from tasks.similarity.different import Different
from tasks.similarity.indexes import IndexConfig, cells_of, evenly_spaced, keeps_vectors, on_gpus, set_parameters
from tasks.similarity.neighbours import search
from tasks.similarity.ranking import Ranking, cosine_of, insert, nobody

LEAST_PROBES = 16  # cells that are looked into at first
_ASKED = 4_096  # vectors that an index is asked for at once
_GATHERED = 1 << 22  # numbers of candidates' vectors that a thread holds at once: 16 MB


class Recall(NamedTuple):
    """How many of the exact neighbours of some sentences were found; one as near as the last of them is as good."""

    found: int
    wanted: int

    @property
    def share(self) -> float:
        """From 0 to 1; 1 if there was nothing to find."""
        return self.found / self.wanted if self.wanted else 1.0


class Sample(NamedTuple):
    """Some queries (n, d) float32, and the cosines of their exact neighbours on the other side (n, k), or -inf."""

    vectors: np.ndarray
    cosines: np.ndarray
    targets: Different


def search_index(index: Any, queries: Different, targets: Different, k: int, candidates: int) -> Ranking:
    """The k best, by true cosine, of what an index of the targets' vectors proposes for each row of the queries.

    Cosines and the order of ties are those of the exact search, so that rankings of either kind can be merged. Equal
    vectors are searched once and found together. A row of zeros has no neighbours and is nobody's.

    Args:
        index: of the targets, as `ready` returns it.
        queries: the side whose neighbours are looked for.
        targets: the side in which they are.
        k: neighbours per row.
        candidates: how many the index proposes per neighbour.

    Raises:
        ValueError: if the index is of another side.
    """
    _check(index, targets)
    ranking = nobody(queries.size, k)
    for start in range(0, queries.size, _ASKED):
        part = slice(start, start + _ASKED)
        asked = queries.block(start, start + _ASKED)
        ranking.rows[part], ranking.cosines[part] = _proposed(index, asked, targets, k, candidates)
    rows, cosines = (np.concatenate(both) for both in zip(ranking, nobody(1, k), strict=True))
    return Ranking(rows[queries.group], cosines[queries.group])  # a zero row's group, -1, is the last: nobody's


def sample_exactly(queries: Different, targets: Different, k: int, count: int) -> Sample:
    """Search for some evenly spaced queries, or all if they are fewer, exactly."""
    vectors = queries.take(evenly_spaced(queries.size, count))
    found = search(vectors, targets.stored, (np.arange(len(vectors)), targets.row_places), k).forward
    return Sample(vectors, found.cosines, targets)


def recall(index: Any, sample: Sample, candidates: int) -> Recall:
    """Search for the sample through an index, and compare the cosines with the exact ones.

    Raises:
        ValueError: if the index is of another side.
    """
    _check(index, sample.targets)
    found = _proposed(index, sample.vectors, sample.targets, sample.cosines.shape[1], candidates)
    wanted = (sample.cosines > -np.inf).sum(axis=1)
    least = np.take_along_axis(sample.cosines, np.maximum(wanted - 1, 0)[:, None], axis=1)
    reached = (found.rows >= 0) & (found.cosines >= least)
    return Recall(int(reached.sum()), int(wanted.sum()))


def ready(index: Any, sample: Sample, config: IndexConfig) -> Any:
    """Return an index with its search parameters set, and on GPUs if there are some that know its kind.

    Where no parameters are given, as many cells are looked into as it takes for the sample's recall to be high enough:
    the first power of two, or all.

    Raises:
        ValueError: if the index is of another side, or does not have these parameters.
    """
    if keeps_vectors(index):
        return index
    cells = cells_of(index)
    if config.parameters:
        set_parameters(index, config.parameters)
    elif cells is not None:
        cells.nprobe = min(LEAST_PROBES, cells.nlist)
        while cells.nprobe < cells.nlist and recall(index, sample, config.candidates).share < config.min_recall:
            cells.nprobe = min(2 * cells.nprobe, cells.nlist)
    return on_gpus(index)


def _check(index: Any, targets: Different) -> None:
    if index.ntotal != targets.size or index.d != targets.stored.shape[1]:
        raise ValueError(
            f"an index of {index.ntotal} vectors of {index.d} dimensions is not one of {targets.size} of "
            f"{targets.stored.shape[1]}"
        )


def _proposed(index: Any, queries: np.ndarray, targets: Different, k: int, per_neighbour: int) -> Ranking:
    """Ask an index for candidates of some query vectors, and rank them by true cosine."""
    ranking = nobody(len(queries), k)
    count = min(k * per_neighbour, targets.size)
    if not count or not len(queries):
        return ranking
    _, candidates = index.search(queries, count)
    step = max(1, _GATHERED // (count * targets.stored.shape[1]))

    def rank(start: int) -> None:
        part = slice(start, start + step)
        listed = candidates[part]
        vectors = targets.take(np.maximum(listed, 0).ravel())  # -1, nobody, is passed over below
        groups = targets.members, targets.starts, targets.row_places
        _rank(Ranking(ranking.rows[part], ranking.cosines[part]), queries[part], (listed, vectors), groups)

    on_one_thread_each(rank, range(0, len(queries), step))
    return ranking


@compiled
def _rank(
    ranking: Ranking,
    queries: np.ndarray,
    candidates: tuple[np.ndarray, np.ndarray],
    groups: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Enter all rows that have the candidates' vectors, in place.

    FAISS fills up with -1 where the cells that it looked into hold too few: as a row that would be the last sentence.
    """
    listed, vectors = candidates
    members, starts, places = groups
    k = ranking.rows.shape[1]
    for query in range(len(queries)):
        for column in range(listed.shape[1]):
            number = listed[query, column]
            if number < 0:
                continue
            cosine = cosine_of(queries[query], vectors[query * listed.shape[1] + column])
            if cosine < ranking.cosines[query, k - 1]:
                continue
            for member in members[starts[number] : min(starts[number + 1], starts[number] + k)]:
                insert(ranking.rows, ranking.cosines, query, (member, cosine), places)
