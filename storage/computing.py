"""A job and its missing slots in, their files and then their manifests out: the one place where work is done."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from storage.errors import ShardError
from storage.files import atomic_writer, write_bytes
from storage.handles import Precedent, handle
from storage.jobs import Job, Slot, Tally
from storage.manifest import Manifest, Quarantined, Shard, Source, Way, safe_path
from storage.tables import TableWriter

if TYPE_CHECKING:
    from storage.store import Store

_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes on Linux


class _Made(NamedTuple):
    """What became of one slot."""

    shards: list[Shard]
    folder: str


def compute_and_write(store: Store, job: Job, missing: tuple[Slot, ...], precedent: Precedent | None) -> None:
    """Do a job and write the missing slots: files first, manifests last."""
    started, cpu, tally, quarantined = datetime.now(UTC), time.process_time(), Tally(), list[Quarantined]()
    inputs = [handle(store, one) for one in job.inputs]
    produced = job.update(tally, job.settings, precedent, *inputs) if job.update and precedent else None
    way: Way = "updated" if produced is not None else "computed"
    if isinstance(produced, Precedent):
        way, made = "adopted", _adopt(missing, produced)
        tally, quarantined = _told(job, produced)
    else:
        if produced is None:
            produced = job.compute(tally, job.settings, *inputs)
        writer = _write_tables if job.outputs[0].is_table else _write_files
        made = writer(store, job, missing, _quarantining(produced, job, quarantined))
    for slot in missing:
        shards, folder = made[slot.key]
        manifest = Manifest(
            reference=job.reference(slot),
            stage=job.stage,
            version=job.version,
            settings=None if job.settings is None else job.settings.model_dump(mode="json"),
            inputs=[list(one) if isinstance(one, tuple) else one for one in job.inputs]
            if job.carries_inputs(slot)
            else [],
            shards=shards,
            folder=folder,
            way=way,
            rows_in=job.rows_in(),
            dropped=dict(sorted(tally.items())),
            quarantined=quarantined,
            software=_software(),
            started=started,
            finished=datetime.now(UTC),
            cpu_seconds=round(time.process_time() - cpu, 3),
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_BYTES,
            run=store.run,
        )
        filesystem, root = store.place()
        write_bytes(filesystem, f"{root}/{job.folder(slot)}/manifest.json", _pretty(manifest))


def _adopt(missing: tuple[Slot, ...], precedent: Precedent) -> dict[str, _Made]:
    """Take over the shards of an earlier version, where they lie."""
    earlier = {slot.key: precedent.manifests[slot.key] for slot in missing}
    return {key: _Made(manifest.shards, manifest.folder) for key, manifest in earlier.items()}


def _told(job: Job, precedent: Precedent) -> tuple[Tally, list[Quarantined]]:
    first = precedent.manifests[job.outputs[0].key]
    return Tally(first.dropped), first.quarantined


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
) -> dict[str, _Made]:
    filesystem, root = store.place()
    with contextlib.ExitStack() as stack:
        writers = {
            slot.key: stack.enter_context(TableWriter(filesystem, f"{root}/{job.folder(slot)}", slot.name, store.run))
            for slot in missing
        }
        for key, table in produced:
            if key in writers:
                writers[key].write(table)
    return {slot.key: _Made(writers[slot.key].shards, job.folder(slot)) for slot in missing}


def _write_files(
    store: Store, job: Job, missing: tuple[Slot, ...], produced: Iterable[tuple[str, Iterable[bytes]]]
) -> dict[str, _Made]:
    filesystem, root = store.place()
    shards: list[Shard] = []
    for file, chunks in produced:
        with atomic_writer(filesystem, f"{root}/{job.folder(missing[0])}/{safe_path(file)}") as sink:
            for chunk in chunks:
                sink.write(chunk)
        shards.append(Shard(path=file, rows=0, bytes=sink.bytes, digest=sink.digest))
    return {missing[0].key: _Made(shards, job.folder(missing[0]))}


@cache
def _software() -> dict[str, str]:
    return {name: installed_version(name) for name in ("babelmill", "pyarrow", "polars", "torch")}


def _pretty(manifest: Manifest) -> bytes:
    return (json.dumps(manifest.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()
