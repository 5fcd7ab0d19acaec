"""A root in, what people want to know of it out: its corpora, who builds them, and where a pair is from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from flows.terminal import say, show_table
from storage.errors import ConfigError
from storage.files import read_bytes
from storage.garbage import FOLDERS, list_files
from storage.manifest import Dataset, Manifest, Quarantined, Reference
from storage.records import manifests_of
from storage.schemas import ID
from storage.snapshots import Snapshot, corpora, latest
from storage.store import Store

_STEPS = ("documents", "kept_documents", "sentences", "unique_sentences", "pairs", "corpus")


def show_status(root: str) -> None:
    """Print each corpus below a root: its version, crawls, rows and bytes by dataset; and what the root holds in all.

    Raises:
        ConfigError: if there is none.
    """
    store = Store(root)
    needed: dict[str, int] = {}
    for snapshot in snapshots_of(store):
        say(f"{snapshot.corpus}: version {snapshot.number} of {snapshot.created:%Y-%m-%d %H:%M} UTC")
        say(f"  crawls: {', '.join(snapshot.crawls)}")
        for release in snapshot.find("release"):
            say(f"  release: {store.url(release)}")
        if builder := builder_of(store, snapshot.corpus):
            say(f"  being built by {builder}")
        manifests = manifests_of(store, snapshot.things)
        needed |= {f"{one.folder}/{shard.path}": shard.bytes for one in manifests.values() for shard in one.shards}
        show_table("", _lines(snapshot, manifests))
        show_table("Quarantined files", [one.model_dump() for one in _quarantined(snapshot, manifests)])
    removals = sum(1 for _ in list_files(store, "removals"))
    if removals:
        say(f"Removals recorded: {removals:,}")
    lying = sum(one.bytes for folder in FOLDERS for one in list_files(store, folder))
    say(f"Stored below {store.root}: {lying:,} bytes, of which the newest versions need {sum(needed.values()):,}.")


def builder_of(store: Store, corpus: str) -> str | None:
    """Return who holds the right to build a corpus, as the lease's file has it, or None."""
    filesystem, root = store.place()
    data = read_bytes(filesystem, f"{root}/leases/build/{corpus}.json")
    if data is None:
        return None
    try:
        told = dict(json.loads(data))
    except (ValueError, TypeError):
        return "somebody unknown"
    return "run {run} on {host} since {since}, last heard of at {renewed}".format_map(
        {name: str(told.get(name, "?"))[:100] for name in ("run", "host", "since", "renewed")}
    )


def show_trace(root: str, pair_id: str) -> None:
    """Print where a pair is from.

    Raises:
        ConfigError: if the id is malformed or no corpus below the root has the pair.
    """
    try:
        key = bytes.fromhex(pair_id)
    except ValueError:
        key = b""
    if len(key) != ID.byte_width:
        raise ConfigError(f"{pair_id!r} is no pair_id: it has 32 hexadecimal digits, as `pair_id` in a corpus' Parquet")
    store = Store(root)
    found = [told for snapshot in snapshots_of(store) for told in traces(store, snapshot, key)]
    if not found:
        raise ConfigError(f"no corpus below {root} has a pair {pair_id}, kept or rejected")
    for told in found:
        say(json.dumps(told, indent=2, ensure_ascii=False))


def traces(store: Store, snapshot: Snapshot, key: bytes) -> Iterator[dict[str, Any]]:
    """Yield what a version of a corpus knows of a pair: its row, its scores, both documents and their manifests."""
    for name in ("corpus", "rejected_pairs"):
        for part in snapshot.find(name):
            for row in _rows_with(store, part, "pair_id", [key]):
                scores = {
                    one.partition.rpartition("/")[2]: found["score"]
                    for one in snapshot.find("pair_scores")
                    if one.partition.startswith(f"{part.partition}/")
                    for found in _rows_with(store, one, "pair_id", [key])
                }
                sides = {side: _side(store, snapshot, part, side, row) for side in ("source", "target")}
                why = {field: row[field] for field in ("filter", "score", "limit") if field in row}
                yield {
                    "pair_id": key.hex(),
                    "corpus": f"{snapshot.corpus} version {snapshot.number}",
                    "pair": part.partition,
                    "kept": name == "corpus",
                    **({"rejected_by": why} if why else {}),
                    **{field: row[field] for field in ("cosine", "margin", "found_by")},
                    "scores": scores,
                    **sides,
                }


def snapshots_of(store: Store) -> list[Snapshot]:
    """Return the newest version of each corpus below the root.

    Raises:
        ConfigError: if there is none.
    """
    found = [snapshot for name in corpora(store) if (snapshot := latest(store, name))]
    if not found:
        raise ConfigError(f"there is no corpus at {store.root}; `babelmill build` makes one, --root says where to look")
    return found


def _side(store: Store, snapshot: Snapshot, pair: Reference, side: str, row: dict[str, Any]) -> dict[str, Any]:
    """Follow one side of a pair from its sentence to its record."""
    language = pair.partition.split("-")[side == "target"]
    sentence_id = row[f"{side}_id"]
    for part in snapshot.find("unique_sentences"):
        if part.partition.startswith(f"{language}/"):
            for sentence in _rows_with(store, part, "sentence_id", [sentence_id]):
                return {
                    "text": row[side],
                    "language": language,
                    "language_confidence": sentence["confidence"],
                    "sentence_id": sentence_id.hex(),
                    "occurrences_in_crawl": sentence["occurrences"],
                    "position_in_document": sentence["position"],
                    "document": _document(store, snapshot, sentence["doc_id"]),
                }
    return {"text": row[side], "sentence_id": sentence_id.hex()}


def _document(store: Store, snapshot: Snapshot, doc_id: bytes) -> dict[str, Any]:
    for part in snapshot.find("documents"):
        for document in _rows_with(store, part, "doc_id", [doc_id]):
            fetched = document["fetched_at"]
            manifest = store.manifest(part)
            return {
                "doc_id": doc_id.hex(),
                "url": document["url"],
                "crawl": document["crawl"],
                "fetched_at": fetched.isoformat() if fetched else None,
                **{field: document[field] for field in ("file", "offset", "length", "title")},
                "extracted_by": {"stage": manifest.stage, "version": manifest.version, "run": manifest.run},
            }
    return {"doc_id": doc_id.hex()}


def _rows_with(store: Store, part: Reference, column: str, keys: list[bytes]) -> Iterator[dict[str, Any]]:
    """Yield a dataset's rows with one of these keys, batch by batch."""
    dataset = Dataset.model_validate(part.model_dump())
    wanted = pa.array(keys, ID)
    for batch in store.rows(dataset).batches():
        rows = batch.filter(pc.is_in(batch[column], wanted))
        yield from cast("list[dict[str, Any]]", rows.to_pylist())


def _lines(snapshot: Snapshot, manifests: dict[str, Manifest]) -> list[dict[str, Any]]:
    """Return a row for each name of dataset or artifact, in the order of the path."""
    rows = []
    for name in sorted({one.name for one in snapshot.things}, key=_order):
        mine = [manifests[one.folder] for one in snapshot.find(name)]
        count, size = sum(one.rows for one in mine), sum(one.bytes for one in mine)
        rows.append({"dataset": name, "parts": len(mine), "rows": count, "bytes": size})
    return rows


def _quarantined(snapshot: Snapshot, manifests: dict[str, Manifest]) -> list[Quarantined]:
    return [one for part in snapshot.find("documents") for one in manifests[part.folder].quarantined]


def _order(name: str) -> tuple[int, str]:
    return (_STEPS.index(name) if name in _STEPS else len(_STEPS), name)
