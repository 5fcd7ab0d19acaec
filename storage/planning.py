"""The flow's own calls in, what they would compute out: nothing is computed and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from storage.jobs import Job, Slot
from storage.manifest import Dataset, Reference
from storage.store import Store

Forecast = Callable[[Job, Slot], int]  # how many rows a job is thought to put into a slot


@dataclass(frozen=True)
class Step:
    """One call of `derive`: a job, and whether its outputs are there already."""

    job: Job
    done: bool


@dataclass(frozen=True)
class PlanningStore(Store):
    """A store in which jobs only seem to be done: missing outputs are references whose content nobody knows.

    Args:
        forecast: guesses the rows of what is missing, on which the guesses of later steps rest.
        steps: every call of `derive`, in order.
    """

    forecast: Forecast = field(default=lambda _job, _slot: 0, compare=False)
    steps: list[Step] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, store: Store, forecast: Forecast | None = None) -> PlanningStore:
        """Return a store that plans what another one would do, and shares what that has found finished."""
        given = (store.root, store.run, store.engine, store.earlier, store.known)
        return cls(*given, forecast) if forecast else cls(*given)

    def derive(self, job: Job) -> list[Dataset]:
        """Return the job's outputs, those that are missing as a guess, and note the step."""
        found = [self.finished(job, slot) for slot in job.outputs]
        self.steps.append(Step(job, None not in found))
        results = [one or self._guess(job, slot) for one, slot in zip(found, job.outputs, strict=True)]
        return cast("list[Dataset]", results)

    def _guess(self, job: Job, slot: Slot) -> Reference:
        reference = job.reference(slot, self.forecast(job, slot))
        return reference.model_copy(update={"content": f"planned {reference.fingerprint}"})


def is_planned(reference: Reference) -> bool:
    """True for what a plan only expects."""
    return reference.content.startswith("planned ")
