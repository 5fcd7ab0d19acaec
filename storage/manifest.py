"""What a finished thing is: references that travel between tasks, and the manifest that is written last."""

from __future__ import annotations

import json
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
    """A finished dataset or artifact, named: small, picklable, legible in a task's parameters.

    `fingerprint` says by which recipe it was made and where it lies; `content` says what is in it. Whatever is derived
    from it depends on the content alone: made anew with the same bytes, it makes nothing else anew.
    """

    kind: Literal["datasets", "artifacts"]
    name: Partition
    partition: Partition
    fingerprint: str
    content: str = ""  # empty until it is finished
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


Way = Literal["computed", "updated", "adopted"]  # from the inputs alone, from an earlier version's rows, or as that is


class Manifest(Settings):
    """The record of a finished dataset or artifact; that it exists means that the thing is complete."""

    reference: Reference
    stage: str
    version: int
    settings: dict[str, object] | None
    inputs: list[Reference | Source | str | list[Reference | Source | str]]
    shards: list[Shard]
    folder: str  # where the shards lie below the root: in an earlier thing's folder if that was adopted
    way: Way
    rows_in: int
    dropped: dict[str, int]
    quarantined: list[Quarantined]
    software: dict[str, str]
    started: datetime
    finished: datetime
    cpu_seconds: float  # of the process that made it, while it did
    peak_bytes: int  # most memory that this process had until then
    run: str

    @property
    def rows(self) -> int:
        """Rows over all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes over all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def finished_reference(self) -> Reference:
        """The reference with what is known only now: rows and content."""
        return self.reference.model_copy(update={"rows": self.rows, "content": content_of(self.shards, self.reference)})

    def flat_inputs(self) -> list[Reference | Source | str]:
        """Return all inputs, those in groups too."""
        return [one for group in self.inputs for one in (group if isinstance(group, list) else [group])]


def content_of(shards: list[Shard], reference: Reference) -> str:
    """Digest of what some shards hold; names of tables' files, which carry their writer's run, are left out."""
    is_table = reference.kind == "datasets"
    parts = [[shard.rows if is_table else shard.path, shard.digest] for shard in shards]
    return digest(json.dumps(parts).encode())
