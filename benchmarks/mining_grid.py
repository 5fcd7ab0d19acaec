"""What the grid of neighbour blocks costs on a Dask cluster of 1, 2, 4 workers, and what larger ones would.

    python benchmarks/mining_grid.py [--workers 1 2 4] [--crawls 3] [--rows 20000] [--dimension 288] [--k 4]

The same grid (crawls by crawls blocks of one language pair, each a job as in a build) is computed into an empty store
by real Dask workers on this machine, one thread each, and by this process alone; the merged neighbours must be the
same bytes. The second table is arithmetic: the measured rate of a worker applied to larger corpora. A block costs
2 rows² dimension operations and reads both of its partitions; its lists are 20 bytes a neighbour, both ways.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from flows.cluster_settings import LocalCluster
from flows.clusters import engine_of
from storage.engines import Engine, Local
from storage.jobs import Job, Slot
from storage.manifest import Dataset
from storage.schemas import ID
from storage.store import Store
from tasks.embed_sentences import embedding_table
from tasks.find_neighbours import NeighbourConfig, find_neighbours
from tasks.similarity.neighbour_tables import merge_tables

SIZES = (10_000_000, 100_000_000, 1_000_000_000)
PARTITION = 1_000_000  # sentences of a partition in the second table
NEIGHBOUR_BYTES = 20  # a 16-byte id and a float32 cosine


def embeddings(store: Store, language: str, crawl: int, shape: tuple[int, int]) -> Dataset:
    """Draw unit vectors and put them where a build has its embeddings."""
    compute = partial(_drawn, language, crawl, shape)
    slot = Slot("embeddings", f"{language}/{crawl:04}")
    return store.derive(Job("benchmark", 1, None, (f"{shape}",), (slot,), compute))[0]


def _drawn(language: str, crawl: int, shape: tuple[int, int], *_: Any) -> Iterator[tuple[str, pa.Table]]:
    chance = np.random.default_rng([crawl, *language.encode()])
    vectors = chance.standard_normal(shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = pa.chunked_array([pa.array(np.frombuffer(chance.bytes(16 * shape[0]), "V16").tolist(), ID)])
    yield "embeddings", embedding_table(ids, vectors)


def computed(store: Store, sides: tuple[list[Dataset], list[Dataset]], k: int) -> tuple[float, str]:
    """Compute the whole grid and return the seconds, and a digest of the merged neighbours."""
    pairs, config = list(product(*sides)), NeighbourConfig(k=k)
    begun = time.perf_counter()
    with ThreadPoolExecutor(store.engine.at_once("machine")) as threads:
        blocks = list(threads.map(lambda pair: find_neighbours.fn(store, pair[0], pair[1], config), pairs))
    seconds = time.perf_counter() - begun
    merged = merge_tables([store.read(block) for block in blocks], k)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, merged.schema) as writer:
        writer.write_table(merged)
    return seconds, hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()


def measure(name: str, engine: Engine, arguments: argparse.Namespace) -> tuple[float, str]:
    """Measure one way and print its row; return the rate in GFLOP/s and the digest."""
    with tempfile.TemporaryDirectory() as root:
        store = Store(root, engine=engine)
        shape = arguments.rows, arguments.dimension
        german, english = (
            [embeddings(Store(root), language, crawl, shape) for crawl in range(arguments.crawls)]
            for language in ("deu", "eng")
        )
        sides = german, english
        computed(store, (german[:1], english[:1]), 1)  # workers import and compile
        seconds, digest = computed(store, sides, arguments.k)
    work = 2 * (arguments.crawls * arguments.rows) ** 2 * arguments.dimension / 1e9
    print(f"| {name} | {seconds:.1f} s | {work / seconds:.0f} GFLOP/s | {digest} |", flush=True)
    return work / seconds, digest


def project(rate: float, dimension: int, k: int) -> None:
    """Print what larger corpora would cost at a rate per core in GFLOP/s."""
    print(f"\nAt {rate:.0f} GFLOP/s a core, {dimension} dimensions, k = {k}, partitions of {PARTITION:,}:\n")
    print("| sentences a side | blocks | read | lists written | core-hours, exact | a new crawl of 1 % |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        partitions = size // PARTITION
        blocks = partitions**2
        read = blocks * 2 * PARTITION * dimension * 2
        written = blocks * 2 * PARTITION * k * NEIGHBOUR_BYTES
        hours = 2 * size**2 * dimension / (rate * 1e9) / 3600
        cells = [f"{size:,}", f"{blocks:,}", f"{read / 1e12:,.2f} TB", f"{written / 1e12:,.2f} TB", f"{hours:,.0f}"]
        print("|", " | ".join([*cells, f"{0.02 * hours:,.0f}"]), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--crawls", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=288)
    parser.add_argument("--k", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)  # of Dask, which tells every step
    print(f"{arguments.crawls} x {arguments.crawls} blocks of {arguments.rows:,} sentences; {os.cpu_count()} cores\n")
    print("| where | time | rate | digest |\n|---|---|---|---|")
    rate, digest = measure("this process, one thread", Local(), arguments)
    digests = {digest}
    for workers in arguments.workers:
        with engine_of(LocalCluster(workers=workers)) as engine:
            digests.add(measure(f"Dask, {workers} workers", engine, arguments)[1])
    if len(digests) > 1:
        raise SystemExit("The results differ.")
    project(rate, arguments.dimension, arguments.k)


if __name__ == "__main__":
    main()
