"""What was taken down from a corpus, for ever: a log below the root that only grows, without the removed texts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import reduce
from operator import or_

import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import SourceError
from storage.files import create_exclusively, outside_world, read_bytes
from storage.fingerprint import Settings
from storage.manifest import Dataset, Partition
from storage.snapshots import Snapshot
from storage.store import Store
from tasks.text.removals import Removals, matches, text_digest

_TRIES = 100  # others that may write the log at the same time


class Removal(Settings):
    """One entry of the log."""

    corpus: Partition
    removals: Removals
    reason: str
    documents: int  # how many were there
    created: datetime
    run: str


def logged(store: Store, corpus: str) -> list[Removal]:
    """Return the log of a corpus, oldest first."""
    filesystem, root = store.place()
    folder = f"{root}/removals/{corpus}"
    with outside_world(f"cannot list {folder}"):
        filesystem.invalidate_cache()
        names = filesystem.ls(folder, detail=False) if filesystem.isdir(folder) else []
    entries = (read_bytes(filesystem, str(name)) for name in sorted(names) if str(name).endswith(".json"))
    return [Removal.model_validate_json(data) for data in entries if data is not None]


def removed_from(store: Store, corpus: str, more: Removals) -> Removals:
    """Return all that must not be in a corpus: what its log says, and more."""
    return reduce(or_, (entry.removals for entry in logged(store, corpus)), more)


def log_removal(store: Store, removal: Removal) -> None:
    """Add an entry to the log.

    Raises:
        SourceError: if others keep writing it.
    """
    filesystem, root = store.place()
    data = json.dumps(removal.model_dump(mode="json"), indent=1).encode()
    number = len(logged(store, removal.corpus)) + 1
    for place in range(number, number + _TRIES):
        if create_exclusively(filesystem, f"{root}/removals/{removal.corpus}/{place:06d}.json", data):
            return
    raise SourceError(f"cannot write the log of removals from {removal.corpus}: others write it all the time")


def resolved(store: Store, snapshot: Snapshot, asked: Removals) -> tuple[Removals, int]:
    """Add to what was asked for the addresses and text digests of the documents that it names, and count these.

    So the same page does not come back with a later crawl, nor its exact text from another address.
    """
    urls, texts, count = set[str](), set[str](), 0
    for part in snapshot.find("documents"):
        rows = store.rows(Dataset.model_validate(part.model_dump()))
        for batch in rows.batches(["doc_id", "url", "title", "text", "reason"]):
            found = batch.filter(pc.and_(matches(batch, asked), _present(batch)))
            count += found.num_rows
            texts.update(text_digest(text) for text in found["text"].drop_null().to_pylist())
            by_id = found.filter(matches(found, Removals(documents=asked.documents)))
            urls.update(url for url in by_id["url"].drop_null().to_pylist() if _is_address(url))
    return asked | Removals(urls=sorted(urls), texts=sorted(texts)), count


def entry(store: Store, corpus: str, removals: Removals, reason: str, documents: int) -> Removal:
    """Return an entry of now."""
    return Removal(
        corpus=corpus, removals=removals, reason=reason, documents=documents, created=datetime.now(UTC), run=store.run
    )


def _present(batch: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(pc.not_equal(batch["reason"], "withheld"), True)


def _is_address(url: str) -> bool:
    try:
        Removals(urls=[url])
    except ValueError:
        return False
    return True
