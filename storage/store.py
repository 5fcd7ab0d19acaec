"""Recipes in, finished datasets and artifacts out; what is done already is not done again."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import pyarrow as pa
from pydantic import ValidationError

from storage.computing import compute_and_write
from storage.engines import Engine, Local
from storage.errors import ConfigError, SourceError
from storage.files import Filesystem, is_local, locate, read_bytes, write_bytes
from storage.handles import Files, Precedent, Rows, handle
from storage.jobs import Job, Slot
from storage.manifest import Artifact, Dataset, Manifest, Reference
from storage.tables import StoredFile

_logger = logging.getLogger(__name__)

Place = tuple[str, str]  # name and partition
_Key = TypeVar("_Key")


class Index(Generic[_Key]):
    """References by some key; no dict, for Prefect walks through every dict among a task's parameters."""

    def __init__(self, entries: Mapping[_Key, Reference] | None = None) -> None:
        self._entries = dict(entries or {})

    def get(self, key: _Key) -> Reference | None:
        """Return what stands under a key."""
        return self._entries.get(key)

    def add(self, key: _Key, reference: Reference) -> None:
        """Put something under a key."""
        self._entries[key] = reference

    def all(self) -> list[_Key]:
        """Return all keys."""
        return list(self._entries)


@dataclass(frozen=True)
class Store:
    """All datasets, artifacts and snapshots below one fsspec URL.

    Args:
        root: a local path or any fsspec URL; credentials come from the environment, never from the URL.
        run: who is writing; part of file names and manifests, never of fingerprints.
        engine: where computations run.
        earlier: what the corpus has so far, from which jobs may copy what did not change.
    """

    root: str
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    engine: Engine = field(default=Local(), compare=False)
    earlier: Index[Place] = field(default_factory=Index, compare=False, repr=False)
    known: Index[str] = field(default_factory=Index, compare=False, repr=False)  # found finished, by folder

    def place(self) -> tuple[Filesystem, str]:
        """Return the root's file system and path."""
        return locate(self.root)

    def bare(self) -> Store:
        """Return the same store for a computation elsewhere: small to send, and computing where it is."""
        return Store(self.root, self.run)

    def finished(self, job: Job, slot: Slot) -> Reference | None:
        """Return the slot's reference if an earlier run completed it."""
        reference = job.reference(slot)
        found = self.known.get(reference.folder)
        if found is None:
            manifest = self._manifest(reference)
            if manifest is None:
                return None
            found = typed(manifest.finished_reference)
            self.known.add(reference.folder, found)
        return found

    def derive(self, job: Job) -> list[Dataset]:
        """Return the job's outputs in the order of its slots, computing only those that are not there yet.

        Raises:
            SchemaError: if the job yields a table that breaks its contract.
            SourceError: if storage fails or the process that computes dies.
        """
        missing = tuple(slot for slot in job.outputs if self.finished(job, slot) is None)
        if missing:
            self._do(job, missing)
        results = [self.finished(job, slot) for slot in job.outputs]
        for slot, reference in zip(job.outputs, results, strict=True):
            if reference is None:
                raise SourceError(f"{job.stage}: {slot.name} {slot.partition} was written but cannot be found again")
        _logger.info(
            "%s %s: %s rows%s",
            job.stage,
            job.outputs[0].partition,
            f"{sum(one.rows for one in results if one):,}",
            "" if missing else " (done before)",
        )
        return cast("list[Dataset]", results)

    def make(self, job: Job) -> Artifact:
        """Return the artifact of a job with one slot, computing it only if it is not there yet."""
        return cast("Artifact", self.derive(job)[0])

    def _do(self, job: Job, missing: tuple[Slot, ...]) -> None:
        arguments = (self.bare(), job, missing, self.precedent(job))
        if self.root.startswith("memory:"):  # which other processes do not see
            compute_and_write(*arguments)
        else:
            self.engine.run(job.need, compute_and_write, *arguments)

    def precedent(self, job: Job) -> Precedent | None:
        """Return what the corpus has so far in the place of all the job's outputs, if the same recipe made it."""
        references = [self.earlier.get((slot.name, slot.partition)) for slot in job.outputs]
        if job.update is None or None in references:
            return None
        manifests = [self._manifest(one) for one in references if one]
        settings = None if job.settings is None else job.settings.model_dump(mode="json")
        for manifest in manifests:
            if manifest is None or (manifest.stage, manifest.version) != (job.stage, job.version):
                return None
            if job.recipe(manifest.settings) != job.recipe(settings):
                return None
        told = {slot.key: manifest for slot, manifest in zip(job.outputs, manifests, strict=True) if manifest}
        recorded = max((manifest.inputs for manifest in told.values()), key=len)  # not every slot's record has them
        inputs = [self._present(one) for one in recorded]
        if len(inputs) != len(job.inputs) or None in inputs:
            return None
        bare = self.bare()
        return Precedent(bare, [handle(bare, one) for one in inputs if one is not None], told)

    def _present(self, recorded: Any) -> Any:
        """Return a recorded input, or group of inputs, as it can be read today; None if it cannot."""
        if isinstance(recorded, list):
            group = [self._present(one) for one in recorded]
            return None if None in group else tuple(group)
        if not isinstance(recorded, Reference):
            return recorded
        known = self.earlier.get((recorded.name, recorded.partition))
        if known is None or known.content != recorded.content:
            known = recorded if self._manifest(recorded) else None
        return known and typed(known)

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
        full = f"{root}/{self.manifest(reference).folder}"
        return full if is_local(filesystem) else str(filesystem.unstrip_protocol(full))

    def stored(self, reference: Reference) -> list[StoredFile]:
        """Return a finished thing's files, as its manifest lists them."""
        _, root = self.place()
        manifest = self.manifest(reference)
        return [
            StoredFile(f"{root}/{manifest.folder}/{shard.path}", shard.digest, shard.bytes) for shard in manifest.shards
        ]

    def paths(self, reference: Reference) -> list[str]:
        """Return the full paths of a finished thing's files."""
        return [file.path for file in self.stored(reference)]

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
        try:
            return None if data is None else Manifest.model_validate_json(data)
        except ValidationError as error:
            where = f"{self.root}/{reference.folder}"
            raise ConfigError(
                f"root: {where}/manifest.json is damaged, or another version of babelmill wrote it; remove that "
                "folder, which is then made again, or choose another root"
            ) from error


def typed(reference: Reference) -> Dataset | Artifact:
    """Return a reference as it was read from a file as what it stands for."""
    told = reference.model_dump()
    return Dataset(**told) if reference.kind == "datasets" else Artifact(**told)
