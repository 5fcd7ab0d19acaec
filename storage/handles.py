"""References in, ways to read what they stand for out: what a job's computation gets as its inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa

from storage.cache import opened
from storage.files import locate, outside_world
from storage.manifest import Artifact, Dataset, Manifest, Source
from storage.tables import read_batches, read_table

if TYPE_CHECKING:
    from storage.jobs import Input
    from storage.store import Store


@dataclass(frozen=True)
class Rows:
    """A dataset as an input: read it whole, or in batches of bounded size."""

    store: Store
    dataset: Dataset

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Return all rows."""
        filesystem, _ = self.store.place()
        return read_table(filesystem, self.store.stored(self.dataset), self.dataset.name, columns)

    def batches(self, columns: list[str] | None = None, rows: int = 16_384) -> Iterator[pa.Table]:
        """Yield tables of at most so many rows, in order."""
        filesystem, _ = self.store.place()
        yield from read_batches(filesystem, self.store.stored(self.dataset), self.dataset.name, columns, rows)


@dataclass(frozen=True)
class Files:
    """An artifact as an input."""

    store: Store
    artifact: Artifact

    def names(self) -> list[str]:
        """Return the names of all files."""
        return [shard.path for shard in self.store.manifest(self.artifact).shards]

    def read(self) -> dict[str, bytes]:
        """Return all files by name."""
        return {name: b"".join(self.chunks(name)) for name in self.names()}

    def chunks(self, name: str, size: int = 8 << 20) -> Iterator[bytes]:
        """Yield a file's bytes in pieces of at most so many."""
        filesystem, _ = self.store.place()
        file = dict(zip(self.names(), self.store.stored(self.artifact), strict=True))[name]
        with outside_world(f"cannot read {self.artifact}"), opened(filesystem, *file) as handle:
            while chunk := handle.read(size):
                yield chunk


@dataclass(frozen=True)
class SourceFile:
    """An input file from outside."""

    source: Source

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open it for reading bytes."""
        filesystem, path = locate(self.source.url)
        with outside_world(f"cannot read {self.source.url}"), filesystem.open(path, "rb") as handle:
            yield handle


@dataclass(frozen=True)
class Precedent:
    """What the corpus has so far in the place of a job's outputs: made by the same recipe, from inputs that may differ.

    `inputs` are handles in the order and grouping of the job's own; `manifests` has one record per slot key.
    """

    store: Store
    inputs: list[Any]
    manifests: dict[str, Manifest]

    def rows(self, key: str) -> Rows:
        """Return a handle on the dataset in a slot."""
        return Rows(self.store, Dataset(**self._finished(key)))

    def files(self, key: str) -> Files:
        """Return a handle on the artifact in a slot."""
        return Files(self.store, Artifact(**self._finished(key)))

    def _finished(self, key: str) -> dict[str, Any]:
        return self.manifests[key].finished_reference.model_dump()


def handle(store: Store, one: Input | tuple[Input, ...]) -> Any:
    """Return what a computation reads an input by; a tuple becomes a list."""
    if isinstance(one, tuple):
        return [handle(store, part) for part in one]
    if isinstance(one, Dataset):
        return Rows(store, one)
    if isinstance(one, Artifact):
        return Files(store, one)
    return SourceFile(one) if isinstance(one, Source) else one
