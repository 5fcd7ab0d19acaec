"""What to compute, from what, under which settings: one unit of work and of retry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from storage.fingerprint import fingerprint
from storage.manifest import Artifact, Dataset, Reference, Source
from storage.schemas import SCHEMAS

Tally = Counter[str]  # reason -> rows dropped for it
Input = Dataset | Artifact | Source | str


@dataclass(frozen=True)
class Slot:
    """One thing that a job makes: its name and partition, and the key under which the job yields its tables."""

    name: str
    partition: str
    key: str = ""

    def __post_init__(self) -> None:
        """Without a key of its own, a slot goes by its name."""
        if not self.key:
            object.__setattr__(self, "key", self.name)

    @property
    def is_table(self) -> bool:
        """True for a dataset, False for an artifact's files."""
        return self.name in SCHEMAS or self.name == "embeddings"


@dataclass(frozen=True)
class Job:
    """One unit of work and of retry: what to compute, from what, under which settings.

    `compute(tally, settings, *inputs)` is a module-level generator. Each input arrives as Rows (a Dataset), Files (an
    Artifact), SourceFile (a Source) or itself (a string); a tuple of inputs arrives as a list of these. For datasets it
    yields (slot key, table), where a key that no slot has is passed over: a stage may find more than was asked for. For
    artifacts it yields (file name, chunks of bytes). It counts what it drops in `tally`, by reason.

    `transient` names settings that change nothing of what is computed (where things lie, what is accepted later).
    """

    stage: str
    version: int
    settings: BaseModel | None
    inputs: tuple[Input | tuple[Input, ...], ...]
    outputs: tuple[Slot, ...]
    compute: Callable[..., Iterator[tuple[str, Any]]]
    transient: frozenset[str] = frozenset()

    def fingerprint(self, slot: Slot) -> str:
        """Name of what this job puts into a slot."""
        inputs = [_names(one) for one in self.inputs]
        return fingerprint(
            self.stage, self.version, self.settings, [*inputs, slot.name, slot.partition], exclude=self.transient
        )

    def folder(self, slot: Slot) -> str:
        """Where what goes into a slot lies below the store's root."""
        return self.reference(slot).folder

    def reference(self, slot: Slot, rows: int = 0) -> Reference:
        """Return the reference to what goes into a slot."""
        kind = Dataset if slot.is_table else Artifact
        return kind(name=slot.name, partition=slot.partition, fingerprint=self.fingerprint(slot), rows=rows)

    def rows_in(self) -> int:
        """Count the rows of the first dataset and of its like: of documents, say, but not of the scores beside them."""
        datasets = [one for one in self.flat_inputs() if isinstance(one, Dataset)]
        return sum(one.rows for one in datasets if one.name == datasets[0].name)

    def flat_inputs(self) -> list[Input]:
        """Return all inputs, those in groups too."""
        return [one for group in self.inputs for one in (group if isinstance(group, tuple) else (group,))]


def _names(one: Input | tuple[Input, ...]) -> Any:
    if isinstance(one, tuple):
        return [_names(part) for part in one]
    return one if isinstance(one, str) else one.fingerprint
