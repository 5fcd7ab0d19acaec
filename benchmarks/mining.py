"""How fast exact neighbours are found both ways: beside FAISS and sentence-transformers, and what memory it takes.

    python benchmarks/mining.py [--rows 100000] [--dimensions 1024 256] [--k 16] [--peers faiss ivf]
    python benchmarks/mining.py --sizes 50000 100000 200000 400000 --dimensions 256 --peers   # time per pair of rows

Vectors are drawn around cluster centres, and half of the targets are sources with noise: planted partners. The ways
take turns in one process, each in both directions: ours from one product, the others as two searches, which is how
they are used. `faiss` is IndexFlatIP, what LASER's mine_bitexts.py does; `sentence-transformers` its
util.semantic_search; `ivf` an IndexIVFFlat with the smallest nprobe of a few that reaches recall@k 0.99 on the first
2,000 rows. The rate is that of the arithmetic which one product needs, beside that of torch's own product of the same
numbers (float32, or int8 where it is the faster), measured in the same run.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
import torch

from tasks.similarity.neighbours import search
from tasks.similarity.products import Product, buffer, fastest_product, multiply, rounded
from tasks.similarity.sweep import Multiplying

SEED, CLUSTERS, SPREAD, NOISE = 1, 1000, 1.0, 0.5
WANTED_RECALL, PROBES, SAMPLE = 0.99, (4, 8, 16, 32, 64, 128, 256), 2_000

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Sides(NamedTuple):
    """Two sides of unit vectors, float32 of shape (rows, dimension)."""

    source: Vectors
    target: Vectors


class Measured(NamedTuple):
    """Seconds, the neighbours of each source (rows, k), and the rate of torch's product around that time."""

    seconds: float
    rows: Rows
    gflops: float = 0.0


Ways = dict[str, Callable[[Sides], Measured]]


def planted(rows: int, dimension: int, noise: float = NOISE) -> Sides:
    """Draw clustered vectors; every other target is a source with noise."""
    chance = np.random.default_rng(SEED)
    centres = chance.standard_normal((CLUSTERS, dimension), np.float32)

    def drawn() -> Vectors:
        vectors = chance.standard_normal((rows, dimension), np.float32) * np.float32(SPREAD)
        vectors += centres[chance.integers(0, CLUSTERS, rows)]
        return vectors

    source, target = drawn(), drawn()
    target[::2] = source[::2] + np.float32(noise) * chance.standard_normal(target[::2].shape, np.float32)
    source /= np.linalg.norm(source, axis=1, keepdims=True)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    return Sides(source, target)


def gflops_of(dimension: int, product: Product) -> float:
    """Billions of multiplications and additions a second of torch's product into a buffer, the median of nine."""
    chance = np.random.default_rng(SEED)
    left, right = (rounded(chance.standard_normal((4096, dimension), np.float32), product) for _ in range(2))
    room = buffer(4096 * 4096, product)
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        multiply(left, right, room)
        seconds.append(time.perf_counter() - begun)
    return 2 * 4096 * 4096 * dimension / median(seconds[1:]) / 1e9


def ours(sides: Sides, k: int, product: Product) -> Measured:
    """Search both ways from one product."""
    places = np.arange(len(sides.source)), np.arange(len(sides.target))
    before = gflops_of(sides.source.shape[1], product)
    begun = time.perf_counter()
    found = search(*sides, places, k, multiplying=Multiplying(product, device="cpu"))
    seconds = time.perf_counter() - begun
    return Measured(seconds, found.forward.rows, (before + gflops_of(sides.source.shape[1], product)) / 2)


def theirs(find: Callable[[Vectors, Vectors], Rows], sides: Sides) -> Measured:
    """Search one way, then the other."""
    begun = time.perf_counter()
    forward = find(sides.source, sides.target)
    find(sides.target, sides.source)
    return Measured(time.perf_counter() - begun, forward)


def flat(k: int) -> Callable[[Vectors, Vectors], Rows]:
    """FAISS's exact search."""

    def find(queries: Vectors, targets: Vectors) -> Rows:
        index = faiss.IndexFlatIP(targets.shape[1])
        index.add(targets)
        return np.asarray(index.search(queries, k)[1])

    return find


def semantic_search(k: int) -> Callable[[Vectors, Vectors], Rows]:
    """The search of sentence-transformers, whose answer is a list of dictionaries."""
    from sentence_transformers import util

    def find(queries: Vectors, targets: Vectors) -> Rows:
        hits = util.semantic_search(
            torch.from_numpy(queries), torch.from_numpy(targets), top_k=k, score_function=util.dot_score
        )
        return np.array([[hit["corpus_id"] for hit in one] for one in hits])

    return find


def inverted(k: int, sides: Sides) -> Callable[[Vectors, Vectors], Rows]:
    """FAISS's IVF with flat cells, 4 sqrt(n) of them, and the least nprobe that finds enough."""
    cells = int(4 * np.sqrt(len(sides.target)))

    def trained(targets: Vectors) -> faiss.Index:
        index = faiss.index_factory(targets.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        index.train(targets[:: max(1, len(targets) // (50 * cells))])
        index.add(targets)
        return index

    sample = sides.source[:SAMPLE]
    exact, index = flat(k)(sample, sides.target), trained(sides.target)
    nprobe = PROBES[-1]
    for probes in PROBES:
        index.nprobe = probes
        if agreement(index.search(sample, k)[1], exact) >= WANTED_RECALL:
            nprobe = probes
            break
    print(f"IVF{cells},Flat reaches recall@{k} {agreement(index.search(sample, k)[1], exact):.3f} at nprobe {nprobe}")

    def find(queries: Vectors, targets: Vectors) -> Rows:
        index = trained(targets)
        index.nprobe = nprobe
        return np.asarray(index.search(queries, k)[1])

    return find


def find(peer: str, k: int, sides: Sides) -> Callable[[Vectors, Vectors], Rows]:
    """Return a peer's search by its name."""
    if peer == "faiss":
        return flat(k)
    return inverted(k, sides) if peer == "ivf" else semantic_search(k)


def agreement(found: Rows, exact: Rows) -> float:
    """Share of the neighbours that both name, wherever on their lists."""
    same = (found[:, :, None] == exact[: len(found), None, :]).any(axis=2)
    return float(same.mean())


def compare(sides: Sides, ways: Ways, products: list[Product], repeat: int) -> None:
    """Measure one size: the ways take turns, again and again; print medians, and ratios turn by turn."""
    rows, dimension = sides.source.shape
    work = 2 * rows * len(sides.target) * dimension / 1e9
    turns = [{name: way(sides) for name, way in ways.items()} for _ in range(repeat)]
    for product in products:
        seconds = [turn[product].seconds for turn in turns]
        shares = [work / turn[product].seconds / turn[product].gflops for turn in turns]
        middle = median(seconds)
        cells = [product, f"{rows:,}", f"{dimension}", f"{middle:.1f} s", f"{work / middle:.0f} GF/s"]
        cells += [f"{median(shares):.0%}", f"{middle / rows / len(sides.target) * 1e9:.2f} ns"]
        for peer in [name for name in ways if name not in products]:
            ratios = [turn[peer].seconds / turn[product].seconds for turn in turns]
            same = agreement(turns[0][peer].rows[:SAMPLE], turns[0][product].rows[:SAMPLE])
            listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            cells.append(f"{peer}: {median(ratios):.2f} times ours ({listed}); {same:.3%} agree")
        print("|", " | ".join(cells), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sizes", type=int, nargs="+", help="several sizes, in place of --rows")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--products", nargs="+", default=sorted({"float32", fastest_product("cpu")}, reverse=True))
    parser.add_argument("--peers", nargs="*", default=["faiss", "sentence-transformers", "ivf"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    faiss.omp_set_num_threads(arguments.threads)
    search(*planted(3000, 8), (np.arange(3000), np.arange(3000)), 4)  # compiles
    print(f"k = {arguments.k}, {arguments.threads} threads")
    columns = [
        "product",
        "rows a side",
        "dimension",
        "time",
        "rate",
        "of torch's product",
        "a pair of rows",
        *arguments.peers,
    ]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for dimension in arguments.dimensions:
        for rows in arguments.sizes or [arguments.rows]:
            sides = planted(rows, dimension)
            ways: Ways = {one: partial(ours, k=arguments.k, product=one) for one in arguments.products}
            ways |= {peer: partial(theirs, find(peer, arguments.k, sides)) for peer in arguments.peers}
            compare(sides, ways, arguments.products, arguments.repeat)
    print(f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
