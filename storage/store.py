"""Recipes in, finished datasets and artifacts out; what is done already is not done again."""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Any, BinaryIO, cast

import pyarrow as pa

from storage.errors import ConfigError, ShardError, SourceError
from storage.files import Filesystem, atomic_writer, is_local, locate, outside_world, read_bytes, write_bytes
from storage.jobs import Input, Job, Slot, Tally
from storage.manifest import Artifact, Dataset, Manifest, Quarantined, Reference, Shard, Source, safe_path
from storage.processes import run_in_child
from storage.tables import TableWriter, read_batches, read_table

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """All datasets, artifacts and snapshots below one fsspec URL.

    Args:
        root: a local path or any fsspec URL; credentials come from the environment, never from the URL.
        run: who is writing; part of file names and manifests, never of fingerprints.
        workers: child processes for stages that Python or fastText bind to one core; 0 works in this process.
    """

    root: str
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    workers: int = 0

    def place(self) -> tuple[Filesystem, str]:
        """Return the root's file system and path."""
        return locate(self.root)

    def finished(self, job: Job, slot: Slot) -> Reference | None:
        """Return the slot's reference if an earlier run completed it."""
        reference = job.reference(slot)
        manifest = self._manifest(reference)
        return reference.model_copy(update={"rows": manifest.rows}) if manifest else None

    def derive(self, job: Job, *, in_child: bool = False) -> list[Dataset]:
        """Return the job's outputs in the order of its slots, computing only those that are not there yet.

        Args:
            job: the work.
            in_child: compute in the shared pool of processes, for work that holds the GIL.

        Raises:
            SchemaError: if the job yields a table that breaks its contract.
            SourceError: if storage fails or the child process dies.
        """
        missing = tuple(slot for slot in job.outputs if self.finished(job, slot) is None)
        if missing and in_child and self.workers and not self.root.startswith("memory:"):
            run_in_child(_compute_and_write, self, job, missing, workers=self.workers)
        elif missing:
            _compute_and_write(self, job, missing)
        results = [self.finished(job, slot) for slot in job.outputs]
        for slot, reference in zip(job.outputs, results, strict=True):
            if reference is None:
                raise SourceError(f"{job.stage}: {slot.name} {slot.partition} was written but cannot be found again")
            state = "new" if slot in missing else "done before"
            _logger.info("%s %s: %s rows (%s)", slot.name, slot.partition, f"{reference.rows:,}", state)
        return cast("list[Dataset]", results)

    def make(self, job: Job) -> Artifact:
        """Return the artifact of a job with one slot, computing it only if it is not there yet."""
        return cast("Artifact", self.derive(job)[0])

    def manifest(self, reference: Reference) -> Manifest:
        """Return the record of a finished thing.

        Raises:
            SourceError: if it is not there.
        """
        manifest = self._manifest(reference)
        if manifest is None:
            raise SourceError(f"{reference} ({reference.fingerprint}) is not in {self.root}")
        return manifest

    def read(self, dataset: Dataset, columns: list[str] | None = None) -> pa.Table:
        """Return a dataset as one table, or some of its columns."""
        return Rows(self, dataset).read(columns)

    def rows(self, dataset: Dataset) -> Rows:
        """Return a handle that reads a dataset whole or in batches."""
        return Rows(self, dataset)

    def files(self, artifact: Artifact) -> Files:
        """Return a handle on an artifact's files."""
        return Files(self, artifact)

    def url(self, reference: Reference) -> str:
        """Return where a finished thing's folder is."""
        filesystem, root = self.place()
        full = f"{root}/{reference.folder}"
        return full if is_local(filesystem) else str(filesystem.unstrip_protocol(full))

    def paths(self, reference: Reference) -> list[str]:
        """Return the full paths of a finished thing's files, as its manifest lists them."""
        _, root = self.place()
        return [f"{root}/{reference.folder}/{shard.path}" for shard in self.manifest(reference).shards]

    def check_writable(self) -> None:
        """Fail early where nothing could be stored.

        Raises:
            ConfigError: if a small file cannot be written below the root and removed again.
        """
        filesystem, root = self.place()
        probe = f"{root}/.probe-{uuid.uuid4().hex[:8]}"
        try:
            write_bytes(filesystem, probe, b"")
            filesystem.rm_file(probe)
        except (SourceError, OSError) as error:
            raise ConfigError(f"root: cannot write to {self.root}: {error}; choose another root") from error

    def _manifest(self, reference: Reference) -> Manifest | None:
        filesystem, root = self.place()
        data = read_bytes(filesystem, f"{root}/{reference.folder}/manifest.json")
        return None if data is None else Manifest.model_validate_json(data)


@dataclass(frozen=True)
class Rows:
    """A dataset as an input: read it whole, or in batches of bounded size."""

    store: Store
    dataset: Dataset

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Return all rows."""
        filesystem, _ = self.store.place()
        return read_table(filesystem, self.store.paths(self.dataset), self.dataset.name, columns)

    def batches(self, columns: list[str] | None = None, rows: int = 16_384) -> Iterator[pa.Table]:
        """Yield tables of at most so many rows, in order."""
        filesystem, _ = self.store.place()
        yield from read_batches(filesystem, self.store.paths(self.dataset), self.dataset.name, columns, rows)


@dataclass(frozen=True)
class Files:
    """An artifact as an input."""

    store: Store
    artifact: Artifact

    def read(self) -> dict[str, bytes]:
        """Return all files by name."""
        filesystem, root = self.store.place()
        names = [shard.path for shard in self.store.manifest(self.artifact).shards]
        with outside_world(f"cannot read {self.artifact}"):
            return {name: filesystem.cat_file(f"{root}/{self.artifact.folder}/{name}") for name in names}


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


def _handle(store: Store, one: Input | tuple[Input, ...]) -> Any:
    if isinstance(one, tuple):
        return [_handle(store, part) for part in one]
    if isinstance(one, Dataset):
        return Rows(store, one)
    if isinstance(one, Artifact):
        return Files(store, one)
    return SourceFile(one) if isinstance(one, Source) else one


def _compute_and_write(store: Store, job: Job, missing: tuple[Slot, ...]) -> None:
    """Run a job and write the missing slots: files first, manifests last."""
    started, tally, quarantined = datetime.now(UTC), Tally(), list[Quarantined]()
    produced = job.compute(tally, job.settings, *(_handle(store, one) for one in job.inputs))
    writer = _write_tables if job.outputs[0].is_table else _write_files
    shards = writer(store, job, missing, _quarantining(produced, job, quarantined))
    for slot in missing:
        reference = job.reference(slot, sum(shard.rows for shard in shards[slot.key]))
        manifest = Manifest(
            reference=reference,
            stage=job.stage,
            version=job.version,
            settings=None if job.settings is None else job.settings.model_dump(mode="json"),
            inputs=list(job.flat_inputs()),
            shards=shards[slot.key],
            rows_in=job.rows_in(),
            dropped=dict(sorted(tally.items())),
            quarantined=quarantined,
            software={name: installed_version(name) for name in ("babelmill", "pyarrow", "polars", "torch")},
            started=started,
            finished=datetime.now(UTC),
            run=store.run,
        )
        filesystem, root = store.place()
        write_bytes(filesystem, f"{root}/{reference.folder}/manifest.json", _pretty(manifest))


def _quarantining(
    produced: Iterator[tuple[str, Any]], job: Job, quarantined: list[Quarantined]
) -> Iterator[tuple[str, Any]]:
    """Pass on what a job yields; an unusable input file ends it early and is noted instead of raised."""
    try:
        yield from produced
    except ShardError as error:
        file = next((one.name for one in job.flat_inputs() if isinstance(one, Source)), job.outputs[0].partition)
        quarantined.append(Quarantined(file=file, reason=str(error)))


def _write_tables(
    store: Store, job: Job, missing: tuple[Slot, ...], produced: Iterable[tuple[str, pa.Table]]
) -> dict[str, list[Shard]]:
    filesystem, root = store.place()
    with contextlib.ExitStack() as stack:
        writers = {
            slot.key: stack.enter_context(TableWriter(filesystem, f"{root}/{job.folder(slot)}", slot.name, store.run))
            for slot in missing
        }
        for key, table in produced:
            if key in writers:
                writers[key].write(table)
    return {key: writer.shards for key, writer in writers.items()}


def _write_files(
    store: Store, job: Job, missing: tuple[Slot, ...], produced: Iterable[tuple[str, Iterable[bytes]]]
) -> dict[str, list[Shard]]:
    filesystem, root = store.place()
    shards: list[Shard] = []
    for file, chunks in produced:
        with atomic_writer(filesystem, f"{root}/{job.folder(missing[0])}/{safe_path(file)}") as sink:
            for chunk in chunks:
                sink.write(chunk)
        shards.append(Shard(path=file, rows=0, bytes=sink.bytes, digest=sink.digest))
    return {missing[0].key: shards}


def _pretty(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
