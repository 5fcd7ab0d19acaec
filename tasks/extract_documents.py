"""one crawl file -> documents"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from storage.handles import Precedent, Rows, SourceFile
from storage.jobs import Job, Slot, Tally
from storage.manifest import Dataset, Source, safe_name
from storage.store import Store
from tasks import stage
from tasks.formats.documents import ExtractConfig, read_documents
from tasks.text.removals import Removals, matches, withhold

VERSION = 2
_NOTHING = Removals()


@stage(task_run_name="extract-{crawl}-{file.name}")
def extract_documents(
    store: Store, crawl: str, file: Source, config: ExtractConfig, removals: Removals = _NOTHING
) -> Dataset:
    """Read every record of a crawl file; those without usable text, or that must not be here, are rows with a reason.

    A file of which nothing can be read is quarantined: its dataset has no rows and its manifest says why.
    """
    slot = Slot("documents", f"{crawl}/{safe_name(file.name)}")
    withheld = removals.model_dump_json() if removals else ""
    job = Job(
        "extract_documents", VERSION, config, (crawl, file, withheld), (slot,), _extract, update=_withhold, need="core"
    )
    return store.derive(job)[0]


def _extract(
    tally: Tally, config: ExtractConfig, crawl: str, file: SourceFile, withheld: str
) -> Iterator[tuple[str, pa.Table]]:
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it complains of every bad page; a reason is enough
    removals = _parsed(withheld)
    with file.open() as stream:
        for table in read_documents(stream, crawl, file.source.name, config):
            yield "documents", _counted(tally, withhold(table, removals))


def _withhold(
    tally: Tally, _: ExtractConfig, precedent: Precedent, crawl: str, file: SourceFile, withheld: str
) -> Precedent | Iterator[tuple[str, pa.Table]] | None:
    """Apply what is to be removed since to the documents as they are, without reading the crawl file again."""
    earlier_crawl, earlier_file, earlier_withheld = precedent.inputs
    before, now = _parsed(earlier_withheld), _parsed(withheld)
    if (earlier_crawl, earlier_file.source.fingerprint) != (crawl, file.source.fingerprint) or not before <= now:
        return None
    documents, more = precedent.rows("documents"), now - before
    if not any(pc.any(matches(batch, more)).as_py() for batch in documents.batches(["doc_id", "url", "title", "text"])):
        return precedent
    return _withheld(tally, documents, more)


def _withheld(tally: Tally, documents: Rows, removals: Removals) -> Iterator[tuple[str, pa.Table]]:
    for batch in documents.batches():
        yield "documents", _counted(tally, withhold(batch, removals))


def _counted(tally: Tally, documents: pa.Table) -> pa.Table:
    for entry in pc.value_counts(documents["reason"].drop_null()).to_pylist():
        tally[entry["values"]] += entry["counts"]
    return documents


def _parsed(removals: str) -> Removals:
    return Removals.model_validate_json(removals) if removals else Removals()
