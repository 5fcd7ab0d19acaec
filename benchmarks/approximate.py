"""Approximate search where an exact one takes hours: its time, its recall, and what it does to the mined pairs.

    python benchmarks/approximate.py [--rows 2000000] [--dimension 256] [--rank 48] [--noise 1.4] [--queries 10000]

Vectors are those of benchmarks/mining.py with more noise, so that many a translation is not the nearest sentence, drawn
in a space of few dimensions that is turned into one of many, with a little noise there: as with real sentences most of
what tells them apart lies in few directions (with as many directions as numbers no code of 4 bits finds enough). Both
sides get the index that `auto` chooses, and are searched as a block of a build is: k neighbours both ways, after the
recall was measured on a sample. Then an evenly spread part of the sources is searched exactly too, and so are the
targets on its lists and those that have one of these sources on theirs. Each source is paired with the target of the
best ratio margin among all of which either has the other on its list, as in mining, from either kind of lists; F1 is
that of the best threshold against the planted pairs.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import torch
from mining import planted

from tasks.similarity.approximate import ready, recall, sample_exactly, search_index
from tasks.similarity.different import Different, different
from tasks.similarity.indexes import IndexConfig, build_index, cells_of, evenly_spaced
from tasks.similarity.neighbours import search
from tasks.similarity.ranking import Ranking
from tasks.similarity.scoring import Scores, best_threshold

Rows = npt.NDArray[np.int64]

TURNING_NOISE = 0.2  # length of the noise beside a vector of length 1


class Found(NamedTuple):
    """The neighbours of some sources, and of all targets on their lists and some others, in the order of `targets`."""

    forward: Ranking
    targets: Rows
    backward: Ranking

    def pairs(self, sources: Rows) -> tuple[Rows, Rows, npt.NDArray[np.float32]]:
        """Place among the sources, target and ratio margin of each pair of which one has the other on its list."""
        places, columns = np.nonzero(self.forward.rows >= 0)
        rows, others = np.nonzero(np.isin(self.backward.rows, sources))
        source = np.concatenate([places, np.searchsorted(sources, self.backward.rows[rows, others])])
        target = np.concatenate([self.forward.rows[places, columns], self.targets[rows]])
        cosine = np.concatenate([self.forward.cosines[places, columns], self.backward.cosines[rows, others]])
        means = [self.forward.cosines.mean(axis=1), self.backward.cosines.mean(axis=1)]
        return source, target, cosine * 2 / (means[0][source] + means[1][np.searchsorted(self.targets, target)])


def told(what: str, begun: float) -> float:
    """Print what was done in how many seconds of wall-clock and CPU time, and return the time."""
    print(f"{what}: {time.perf_counter() - begun:.0f} s; CPU since the start {time.process_time():.0f} s", flush=True)
    return time.perf_counter()


def searched(queries: Different, targets: Different, k: int, config: IndexConfig, name: str) -> Ranking:
    """Index one side and search for the other in it, telling the time of each step and the recall."""
    begun = time.perf_counter()
    index = build_index(targets, config)
    begun = told(f"index of the {name}", begun)
    sample = sample_exactly(queries, targets, k, config.sample)
    searcher: Any = ready(index, sample, config)
    share = recall(searcher, sample, config.candidates).share
    cells = cells_of(searcher)
    looked = f", {cells.nprobe} of {cells.nlist} cells" if cells is not None else ", too few vectors for an index"
    begun = told(f"recall@{k} {share:.3f} among the {name}{looked}", begun)
    ranking = search_index(searcher, queries, targets, k, config.candidates)
    told(f"search among the {name}", begun)
    return ranking


def turned(vectors: npt.NDArray[np.float32], dimension: int) -> npt.NDArray[np.float16]:
    """Turn unit vectors (n, r) into unit vectors of more dimensions with the same cosines, but for a little noise."""
    chance = np.random.default_rng(2)
    axes = np.linalg.qr(chance.standard_normal((dimension, vectors.shape[1])))[0].T.astype(np.float32)
    many = np.empty((len(vectors), dimension), np.float16)
    for start in range(0, len(vectors), 65_536):
        part = vectors[start : start + 65_536] @ axes
        part += np.float32(TURNING_NOISE / np.sqrt(dimension)) * chance.standard_normal(part.shape, np.float32)
        many[start : start + 65_536] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return many


def exactly(sides: tuple[Different, Different], sources: Rows, targets: Rows, k: int) -> Found:
    """Search exactly for some sources, and for the targets on their lists and some others."""
    source, target = (side.stored for side in sides)
    forward = search(source[sources], target, (np.arange(len(sources)), np.arange(len(target))), k).forward
    targets = np.union1d(forward.rows, targets)
    backward = search(source, target[targets], (np.arange(len(source)), np.arange(len(targets))), k).backward
    return Found(forward, targets, backward)


def best_f1(found: Found, sources: Rows) -> Scores:
    """Pair each source with the target of the best ratio margin, and score the pairs at the best threshold."""
    source, target, margin = found.pairs(sources)
    order = np.lexsort((target, -margin, source))
    best = order[np.unique(source[order], return_index=True)[1]]
    chosen = sources[source[best]]
    right = (target[best] == chosen) & (chosen % 2 == 0)  # every other target is a source with noise
    return best_threshold(margin[best], right, int((sources % 2 == 0).sum()))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--rank", type=int, default=48)
    parser.add_argument("--noise", type=float, default=1.4)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    faiss.omp_set_num_threads(arguments.threads)
    begun = time.perf_counter()
    drawn = planted(arguments.rows, arguments.rank, arguments.noise)
    sides = tuple(turned(side, arguments.dimension) for side in drawn)
    del drawn
    source, target = (different(side, np.arange(len(side))) for side in sides)
    told(f"{arguments.rows:,} vectors of {arguments.dimension} numbers a side, float16", begun)
    begun = time.perf_counter()
    config, k = IndexConfig(index="auto"), arguments.k
    forward = searched(source, target, k, config, "targets")
    backward = searched(target, source, k, config, "sources")
    begun = told("both ways", begun)
    sources = np.unique(evenly_spaced(arguments.rows, arguments.queries) + np.arange(arguments.queries) % 2)
    ours = Ranking(forward.rows[sources], forward.cosines[sources])
    listed = np.union1d(ours.rows[ours.rows >= 0], np.isin(backward.rows, sources).any(axis=1).nonzero()[0])
    near = Found(ours, listed, Ranking(backward.rows[listed], backward.cosines[listed]))
    exact = exactly((source, target), sources, listed, k)
    begun = told(f"exactly, for {len(sources):,} sources and {len(exact.targets):,} targets", begun)
    for name, found in (("exact", exact), ("approximate", near)):
        precision, share, f1, _ = best_f1(found, sources)
        print(f"{name}: F1 {f1:.2%} (precision {precision:.2%}, recall {share:.2%})")
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


if __name__ == "__main__":
    main()
