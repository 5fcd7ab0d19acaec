"""Records of finished jobs in, how long, how much and how many rows a job takes out: measured, never guessed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from math import prod
from typing import Any

from storage.files import read_bytes, write_bytes
from storage.fingerprint import Settings
from storage.jobs import Job, Slot
from storage.manifest import Manifest, Reference, Source
from storage.store import Store

_FILE = "rates.json"
_FADING = 0.5  # weight of earlier runs beside a new one: machines and settings change


class Rate(Settings):
    """What jobs of one stage took, in all."""

    work: float  # bytes of crawl files, pairs of vectors, or rows: see work_of
    seconds: float
    cpu_seconds: float
    bytes: float
    rows: dict[str, float]  # by name of the dataset
    peak_bytes: int  # most memory of a process that did it
    peak_work: float  # of the job in which that was

    def faded(self) -> Rate:
        """Return the same rate with less weight."""
        told = {name: getattr(self, name) * _FADING for name in ("work", "seconds", "cpu_seconds", "bytes")}
        return self.model_copy(update=told | {"rows": {name: rows * _FADING for name, rows in self.rows.items()}})

    def __add__(self, other: Rate) -> Rate:
        """What both took together."""
        told = {
            name: getattr(self, name) + getattr(other, name) for name in ("work", "seconds", "cpu_seconds", "bytes")
        }
        rows = {name: self.rows.get(name, 0) + other.rows.get(name, 0) for name in {*self.rows, *other.rows}}
        peak = max(self, other, key=lambda one: one.peak_bytes)
        return Rate(**told, rows=rows, peak_bytes=peak.peak_bytes, peak_work=peak.peak_work)


class Rates(Settings):
    """Rates by stage."""

    stages: dict[str, Rate] = {}
    measured: bool = True  # here; False: CPU seconds of one core of another machine, for a corpus of 457,000 sentences

    def of(self, stage: str) -> Rate | None:
        """Return a stage's rate; a scorer that never ran is taken for an average one."""
        kin = [rate for name, rate in self.stages.items() if name.partition(".")[0] == stage.partition(".")[0]]
        return self.stages.get(stage) or (sum(kin[1:], kin[0]) if kin else None)

    def forecast(self, job: Job, slot: Slot) -> int:
        """Return how many rows a job is likely to put into a slot."""
        rate = self.of(job.stage)
        if rate is None or not rate.work:
            return 0
        alike = sum(one.name == slot.name for one in job.outputs)
        return round(rate.rows.get(slot.name, 0) / rate.work * work_of(job.stage, job.flat_inputs()) / alike)


def work_of(stage: str, inputs: Sequence[Any]) -> float:
    """Return the measure of a job's work: bytes of files that are read, products of rows for the search, or rows."""
    datasets = [one for one in inputs if isinstance(one, Reference) and one.kind == "datasets"]
    if stage == "find_neighbours":
        return float(prod(one.rows for one in datasets))
    if datasets:
        return float(sum(one.rows for one in datasets if one.name == datasets[0].name))
    return float(sum(one.size for one in inputs if isinstance(one, Source)))


def measured(manifests: Iterable[Manifest]) -> Rates:
    """Return the rates of the jobs that these manifests record, but for those that copied most of their rows."""
    jobs: dict[tuple[str, str], list[Manifest]] = {}
    for one in manifests:
        if one.way == "computed":
            jobs.setdefault((one.stage, one.started.isoformat()), []).append(one)
    stages: dict[str, Rate] = {}
    for (stage, _), records in jobs.items():
        work = work_of(stage, max((one.flat_inputs() for one in records), key=len))
        if work:
            rate = _rate(work, records)
            stages[stage] = stages[stage] + rate if stage in stages else rate
    return Rates(stages=stages)


def _rate(work: float, records: list[Manifest]) -> Rate:
    """Return what one job took; each of its slots has a record, which all tell of the same time."""
    rows: dict[str, float] = {}
    for one in records:
        rows[one.reference.name] = rows.get(one.reference.name, 0) + one.rows
    first = records[0]
    return Rate(
        work=work,
        seconds=(first.finished - first.started).total_seconds(),
        cpu_seconds=first.cpu_seconds,
        bytes=sum(one.bytes for one in records),
        rows=rows,
        peak_bytes=first.peak_bytes,
        peak_work=work,
    )


def load_rates(store: Store) -> Rates:
    """Return the rates of the runs below a root, or typical ones before the first."""
    filesystem, root = store.place()
    data = read_bytes(filesystem, f"{root}/{_FILE}")
    if data is not None:
        return Rates.model_validate_json(data)
    typical = json.loads((files("flows") / "typical_rates.json").read_text("utf-8"))
    return Rates(stages=typical["stages"], measured=False)


def save_rates(store: Store, new: Rates) -> None:
    """Put what a run measured into the rates below its root."""
    if not new.stages:
        return
    old = load_rates(store)
    known = {name: rate.faded() for name, rate in old.stages.items()} if old.measured else {}
    both = {name: known[name] + rate for name, rate in new.stages.items() if name in known}
    stages = dict(sorted((known | new.stages | both).items()))
    filesystem, root = store.place()
    write_bytes(filesystem, f"{root}/{_FILE}", Rates(stages=stages).model_dump_json(indent=1).encode())
