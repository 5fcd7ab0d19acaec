"""Parallel text files -> bitext."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from storage.errors import ConfigError
from storage.handles import SourceFile
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset
from storage.sources import list_sources, source_of
from storage.store import Store
from tasks import stage
from tasks.formats.bitext import BitextSource, read_aligned, read_bitext

VERSION = 1


@stage(task_run_name="collect-bitext-{partition}")
def collect_bitext(store: Store, partition: str, bitext: BitextSource) -> Dataset:
    """Bring one source of parallel text into the store, as a table of the `bitext` schema.

    Raises:
        ConfigError: if the files are missing, damaged or empty, lack a column or are not aligned.
    """
    files = list_sources(store, bitext.path, "bitext.path")
    if bitext.target_path:
        files = [files[0], source_of(store, bitext.target_path, "bitext.target_path")]
    where = frozenset({"path", "target_path"})
    job = Job("collect_bitext", VERSION, bitext, (tuple(files),), (Slot("bitext", partition),), _collect, where)
    return store.derive(job)[0]


def _collect(_: Tally, bitext: BitextSource, files: list[SourceFile]) -> Iterator[tuple[str, pa.Table]]:
    rows = 0
    try:
        for table in _read(bitext, files):
            rows += table.num_rows
            yield "bitext", table
    except ValueError as error:
        raise ConfigError(f"bitext: {error}") from error
    if not rows:
        wanted = f" with {', '.join(bitext.where)} as wanted" if bitext.where else ""
        raise ConfigError(f"bitext: {bitext.path} has no pair of sentences{wanted}; an empty side is no sentence")


def _read(bitext: BitextSource, files: list[SourceFile]) -> Iterator[pa.Table]:
    if bitext.target_path:
        with files[0].open() as source, files[1].open() as target:
            yield from read_aligned(source, target, bitext)
        return
    for file in files:
        with file.open() as stream:
            yield from read_bitext(stream, file.source.name, bitext)
