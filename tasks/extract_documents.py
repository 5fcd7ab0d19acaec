"""one crawl file -> documents"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset, Source, safe_name
from storage.store import SourceFile, Store
from tasks import stage
from tasks.formats.documents import ExtractConfig, read_documents

VERSION = 1


@stage(task_run_name="extract-{crawl}-{file.name}")
def extract_documents(store: Store, crawl: str, file: Source, config: ExtractConfig) -> Dataset:
    """Read every record of a crawl file; those without usable text are rows with a reason.

    A file of which nothing can be read is quarantined: its dataset has no rows and its manifest says why.
    """
    slot = Slot("documents", f"{crawl}/{safe_name(file.name)}")
    job = Job("extract_documents", VERSION, config, (crawl, file), (slot,), _extract)
    return store.derive(job, in_child=True)[0]


def _extract(tally: Tally, config: ExtractConfig, crawl: str, file: SourceFile) -> Iterator[tuple[str, pa.Table]]:
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it complains of every bad page; a reason is enough
    with file.open() as stream:
        for table in read_documents(stream, crawl, file.source.name, config):
            for entry in pc.value_counts(table["reason"].drop_null()).to_pylist():
                tally[entry["values"]] += entry["counts"]
            yield "documents", table
