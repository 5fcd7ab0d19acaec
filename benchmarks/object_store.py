"""How much slower the store is on an object store than on this disk, and what the cache gives back.

    python benchmarks/object_store.py [--megabytes 256] [--root s3://bucket/folder]

Without --root the object store is moto's S3 on this machine: no network, but a server in Python, which is slower than a
real one for large files and quicker for small ones. With --root it is yours, with the credentials of the environment;
what is written there is removed again. All rows are of one run on one machine, and files that were just written are
read from memory, on this disk too: what is measured is the way of the bytes, not the disk and not Parquet.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from storage.cache import opened
from storage.files import create_exclusively
from storage.jobs import Job, Slot
from storage.manifest import Artifact
from storage.store import Store

FILE_MB, LOOKS, SEED = 32, 200, 1
TIMES = 3  # each reading is done so often, and the quickest counts: whatever else runs makes it only slower


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    """Return how long the quickest of some times took."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def read(store: Store, artifact: Artifact) -> None:
    filesystem, _ = store.place()
    for path, shard in zip(store.paths(artifact), store.manifest(artifact).shards, strict=True):
        with opened(filesystem, path, shard.digest, shard.bytes) as handle:
            while handle.read(8 << 20):
                pass


def looks_a_second(store: Store, artifact: Artifact) -> float:
    return LOOKS / seconds(lambda: [store.manifest(artifact) for _ in range(LOOKS)], TIMES)


def creates_a_second(store: Store) -> float:
    filesystem, root = store.place()
    places = [f"{root}/created/{number}" for number in range(LOOKS)]
    return LOOKS / seconds(lambda: [create_exclusively(filesystem, place, b"{}" * 500) for place in places])


def measure(root: str, megabytes: int) -> dict[str, float]:
    """Return megabytes a second, or times a second, by what was done."""
    store, data = Store(root), np.random.default_rng(SEED).bytes(1_000_000)

    def made(*_: object) -> Iterator[tuple[str, Iterator[bytes]]]:
        for number in range(megabytes // FILE_MB):
            yield f"file-{number}", (bytes([number]) + data[1:] for _ in range(FILE_MB))

    job = Job("benchmark", 1, None, (), (Slot("encoder", "benchmark"),), made)
    found: dict[str, float] = {"write, MB/s": megabytes / seconds(lambda: store.make(job))}
    artifact = store.make(job)
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"BABELMILL_CACHE": cache, "BABELMILL_CACHE_GIB": "0"}
        found["read without cache, MB/s"] = megabytes / seconds(lambda: read(store, artifact), TIMES)
        os.environ["BABELMILL_CACHE_GIB"] = "10"
        found["first read with cache, MB/s"] = megabytes / seconds(lambda: read(store, artifact))
        found["further reads with cache, MB/s"] = megabytes / seconds(lambda: read(store, artifact), TIMES)
    found["manifests read, 1/s"] = looks_a_second(store, artifact)
    found["files created exclusively, 1/s"] = creates_a_second(store)
    return found


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Start an S3 on this machine and yield the URL of a bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
                    break
                time.sleep(0.1)
            os.environ |= {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "benchmark",
                "AWS_SECRET_ACCESS_KEY": "benchmark",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
            fsspec.filesystem("s3").mkdir("benchmark")
            yield "s3://benchmark"
        finally:
            server.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--root")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        disk = measure(str(Path(folder) / "root"), arguments.megabytes)
    with contextlib.nullcontext(arguments.root) if arguments.root else moto() as place:
        url = f"{place}/{uuid.uuid4().hex}"
        try:
            remote = measure(url, arguments.megabytes)
        finally:
            filesystem, path = fsspec.url_to_fs(url)
            filesystem.rm(path, recursive=True)
    print(f"| {arguments.megabytes} MB in files of {FILE_MB} MB | this disk | {url.partition('://')[0]} | ratio |")
    print("|---|---|---|---|")
    for what, there in remote.items():
        print(f"| {what} | {disk[what]:,.0f} | {there:,.0f} | {there / disk[what]:.2f} |")


if __name__ == "__main__":
    main()
