"""What to compute, from what, under which settings: one unit of work and of retry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel

from storage.fingerprint import digest, fingerprint
from storage.manifest import Artifact, Dataset, Reference, Source
from storage.schemas import SCHEMAS

Tally = Counter[str]  # reason -> rows dropped for it
Input = Dataset | Artifact | Source | str
Need = Literal["core", "machine", "gpu"]  # what a job's computation occupies


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

    `update(tally, settings, precedent, *inputs)` may make the same from what the corpus has so far in the outputs'
    place, by copying what did not change. It returns an iterator as `compute` does, the precedent itself if that stands
    as it is, or None if it is of no help. Its result never differs from that of `compute`.
    """

    stage: str
    version: int
    settings: BaseModel | None
    inputs: tuple[Input | tuple[Input, ...], ...]
    outputs: tuple[Slot, ...]
    compute: Callable[..., Iterator[tuple[str, Any]]]
    transient: frozenset[str] = frozenset()
    update: Callable[..., Any] | None = None
    need: Need = "machine"

    @cached_property
    def _recipe_fingerprint(self) -> str:
        inputs = [_names(one) for one in self.inputs]
        return fingerprint(self.stage, self.version, self.settings, inputs, exclude=self.transient)

    def fingerprint(self, slot: Slot) -> str:
        """Name of what this job puts into a slot."""
        return digest(json.dumps([self._recipe_fingerprint, slot.name, slot.partition]).encode())

    def recipe(self, settings: dict[str, object] | None) -> dict[str, object] | None:
        """Return dumped settings without those that change nothing."""
        return settings and {name: value for name, value in settings.items() if name not in self.transient}

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

    def carries_inputs(self, slot: Slot) -> bool:
        """True for the first slot of each name: a job over thousands of files has thousands of slots and inputs."""
        return slot == next(one for one in self.outputs if one.name == slot.name)

    def flat_inputs(self) -> list[Input]:
        """Return all inputs, those in groups too."""
        return [one for group in self.inputs for one in (group if isinstance(group, tuple) else (group,))]


def _names(one: Input | tuple[Input, ...]) -> Any:
    if isinstance(one, tuple):
        return [_names(part) for part in one]
    if isinstance(one, Dataset | Artifact):
        if not one.content:
            raise ValueError(f"{one} is not finished: nothing can be derived from it")
        return [one.name, one.partition, one.content]
    return one if isinstance(one, str) else one.fingerprint
