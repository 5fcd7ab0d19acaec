"""What a finished thing is: references that travel between tasks, and the manifest that is written last."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator

from storage.fingerprint import Settings, digest

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*")


def safe_path(value: str) -> str:
    """Return a relative path unchanged if it cannot leave the folder that it is put under.

    Raises:
        ValueError: if it could, being absolute or having a part such as '..', or if it holds unusual letters.
    """
    if not _SAFE.fullmatch(value):
        raise ValueError(f"{value!r} may hold letters, digits, '.', '_' and '-' only, with '/' between its parts")
    return value


def safe_name(name: str) -> str:
    """Return a file's name as one part of a partition: legible, and unique through a hash of the whole name."""
    legible = re.sub(r"[^A-Za-z0-9_.\-]+", "-", name).lstrip(".-")[-80:].lstrip(".-")
    return f"{legible or 'file'}-{digest(name.encode('utf-8', 'surrogatepass'))[:8]}"


Partition = Annotated[str, AfterValidator(safe_path)]


class Reference(Settings):
    """A finished dataset or artifact, named: small, picklable, legible in a task's parameters."""

    kind: Literal["datasets", "artifacts"]
    name: Partition
    partition: Partition
    fingerprint: str
    rows: int = 0

    @property
    def folder(self) -> str:
        """Where it lies below the store's root."""
        return f"{self.kind}/{self.name}/{self.partition}/{self.fingerprint}"

    def __str__(self) -> str:
        """Read as name and partition."""
        return f"{self.name} {self.partition}"


class Dataset(Reference):
    """A reference to a table: Parquet shards under one schema."""

    kind: Literal["datasets"] = "datasets"


class Artifact(Reference):
    """A reference to named files: an encoder, a vocabulary, a release."""

    kind: Literal["artifacts"] = "artifacts"


class Source(Settings):
    """An input file from outside, known by what is in it."""

    url: str
    name: str  # path below the folder that the user named
    size: int
    digest: str

    @property
    def fingerprint(self) -> str:
        """Content and name; where the file lies does not matter."""
        return f"{self.name}:{self.digest}"


class Shard(Settings):
    """One file of a finished thing."""

    path: str
    rows: int
    bytes: int
    digest: str


class Quarantined(Settings):
    """An input file that could not be used, and why."""

    file: str
    reason: str


class Manifest(Settings):
    """The record of a finished dataset or artifact; that it exists means that the thing is complete."""

    reference: Reference
    stage: str
    version: int
    settings: dict[str, object] | None
    inputs: list[Reference | Source | str]
    shards: list[Shard]
    rows_in: int
    dropped: dict[str, int]
    quarantined: list[Quarantined]
    software: dict[str, str]
    started: datetime
    finished: datetime
    run: str

    @property
    def rows(self) -> int:
        """Rows over all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes over all shards."""
        return sum(shard.bytes for shard in self.shards)
