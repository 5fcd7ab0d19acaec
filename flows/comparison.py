"""Two versions of a corpus in, what differs between them out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.markup import plain, table
from storage.fingerprint import Settings
from storage.manifest import Dataset, Reference
from storage.records import manifests_of
from storage.snapshots import Snapshot
from storage.store import Store

IDS_AT_ONCE = 1 << 25  # 16 bytes each, of both versions: 1 GiB; more are compared in several passes
_SHOWN = 200  # rows of one table in an artifact
_BATCH = 1 << 18

Key = tuple[str, str]  # name and partition


class DatasetChange(Settings):
    """What became of all datasets of one name."""

    name: str
    rows_before: int
    rows_after: int
    bytes_before: int
    bytes_after: int
    unchanged: int  # parts with the same content
    changed: int
    new: int
    gone: int


class CountChange(Settings):
    """Sentences of a language, before and after."""

    name: str
    before: int
    after: int


class PairChange(CountChange):
    """Sentence pairs of a language pair: how many, and which are no longer the same."""

    gained: int
    lost: int


class SettingChange(Settings):
    """One setting, as JSON; empty where a version has none."""

    setting: str
    before: str
    after: str


class Comparison(Settings):
    """How one version differs from another."""

    old: str
    new: str
    crawls_added: list[str]
    crawls_gone: list[str]
    datasets: list[DatasetChange]
    sentences: list[CountChange]
    pairs: list[PairChange]
    settings: list[SettingChange]

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return what differs as tables by title; those without rows are left out."""
        found: dict[str, list[dict[str, Any]]] = {
            "Sentences by language": [_counts(one) for one in self.sentences if one.before != one.after],
            "Sentence pairs": [
                _counts(one) | {"gained": one.gained, "lost": one.lost}
                for one in self.pairs
                if one.gained or one.lost or one.before != one.after
            ],
            "Datasets": [_dataset_row(one) for one in self.datasets],
            "Settings": [one.model_dump() for one in self.settings],
        }
        return {title: rows for title, rows in found.items() if rows}

    def lines(self) -> list[str]:
        """Return the comparison in a few sentences."""
        unchanged = sum(one.unchanged for one in self.datasets)
        parts = unchanged + sum(one.changed + one.new for one in self.datasets)
        gained, lost = sum(one.gained for one in self.pairs), sum(one.lost for one in self.pairs)
        return [
            f"{self.new} after {self.old}",
            *([f"crawls added: {', '.join(self.crawls_added)}"] if self.crawls_added else []),
            *([f"crawls gone: {', '.join(self.crawls_gone)}"] if self.crawls_gone else []),
            f"{unchanged:,} of {parts:,} parts did not change",
            f"{gained:,} sentence pairs gained, {lost:,} lost",
        ]

    def as_markdown(self) -> str:
        """Return the comparison for an artifact."""
        title, *told = self.lines()
        lines = [f"# {plain(title)}", "", *(f"- {plain(line)}" for line in told), ""]
        for heading, rows in self.tables().items():
            lines += [f"## {heading}", "", *table(rows[:_SHOWN]), ""]
            if len(rows) > _SHOWN:
                lines += [f"and {len(rows) - _SHOWN:,} more", ""]
        return "\n".join(lines)


def compare(store: Store, old: Snapshot, new: Snapshot, *, ids_at_once: int = IDS_AT_ONCE) -> Comparison:
    """Say what differs between two versions, exactly; only pairs whose content differs are read.

    Args:
        store: where both lie.
        old: the version before.
        new: the version after.
        ids_at_once: how many pair ids of either version to hold in memory; more are compared in several passes.

    Raises:
        SourceError: if something that a version is made of is missing.
    """
    return Comparison(
        old=_title(old),
        new=_title(new),
        crawls_added=[name for name in new.crawls if name not in old.crawls],
        crawls_gone=[name for name in old.crawls if name not in new.crawls],
        datasets=_datasets(store, old, new),
        sentences=[
            CountChange(name=language, before=before, after=after)
            for language, (before, after) in _both(_sentences(old), _sentences(new), 0)
        ],
        pairs=[_pair(store, pair, parts, ids_at_once) for pair, parts in _both(_pairs(old), _pairs(new), [])],
        settings=setting_changes(old.settings, new.settings),
    )


def setting_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[SettingChange]:
    """Return the settings that differ, each by its path; a list's element goes by its name or kind if it has one."""
    sides = _both(dict(_flat("", old)), dict(_flat("", new)), "")
    return [
        SettingChange(setting=path, before=before, after=after) for path, (before, after) in sides if before != after
    ]


def _title(snapshot: Snapshot) -> str:
    return f"{snapshot.corpus} version {snapshot.number}"


def _counts(one: CountChange) -> dict[str, Any]:
    return {"": one.name, "before": one.before, "after": one.after, "more": one.after - one.before}


def _dataset_row(one: DatasetChange) -> dict[str, Any]:
    return {
        "dataset": one.name,
        "rows": one.rows_after,
        "more rows": one.rows_after - one.rows_before,
        "bytes": one.bytes_after,
        "more bytes": one.bytes_after - one.bytes_before,
        "same parts": one.unchanged,
        "changed": one.changed,
        "new": one.new,
        "gone": one.gone,
    }


def _both(old: Mapping[str, Any], new: Mapping[str, Any], none: Any) -> list[tuple[str, tuple[Any, Any]]]:
    """Return what both have under each name, sorted by name."""
    return [(name, (old.get(name, none), new.get(name, none))) for name in sorted(old.keys() | new.keys())]


def _datasets(store: Store, old: Snapshot, new: Snapshot) -> list[DatasetChange]:
    manifests = manifests_of(store, chain(old.things, new.things))

    def size(things: Iterable[Reference], of: Callable[[Any], int]) -> int:
        return sum(of(manifests[one.folder]) for one in things)

    changes = []
    for name in sorted({one.name for one in chain(old.things, new.things)}):
        before, after = _by_partition(old, name), _by_partition(new, name)
        both = before.keys() & after.keys()
        same = sum(same_content(before[key], after[key]) for key in both)
        changes.append(
            DatasetChange(
                name=name,
                rows_before=size(old.find(name), lambda one: one.rows),
                rows_after=size(new.find(name), lambda one: one.rows),
                bytes_before=size(old.find(name), lambda one: one.bytes),
                bytes_after=size(new.find(name), lambda one: one.bytes),
                unchanged=same,
                changed=len(both) - same,
                new=len(after.keys() - before.keys()),
                gone=len(before.keys() - after.keys()),
            )
        )
    return changes


def _by_partition(snapshot: Snapshot, name: str) -> dict[str, Reference]:
    return {one.partition: one for one in snapshot.find(name)}


def same_content(old: Reference, new: Reference) -> bool:
    """True if two finished things hold the same, by recipe or by content."""
    return old.fingerprint == new.fingerprint or (bool(old.content) and old.content == new.content)


def _sentences(snapshot: Snapshot) -> dict[str, int]:
    counts: dict[str, int] = {}
    for one in snapshot.find("unique_sentences"):
        language = one.partition.split("/")[0]
        counts[language] = counts.get(language, 0) + one.rows
    return counts


def _pairs(snapshot: Snapshot) -> dict[str, list[Reference]]:
    parts: dict[str, list[Reference]] = {}
    for one in snapshot.find("corpus"):
        parts.setdefault(one.partition, []).append(one)
    return parts


def _pair(store: Store, pair: str, parts: tuple[list[Reference], list[Reference]], ids_at_once: int) -> PairChange:
    old, new = parts
    before, after = sum(one.rows for one in old), sum(one.rows for one in new)
    same = len(old) == len(new) and all(same_content(*both) for both in zip(old, new, strict=True))
    passes = -(-max(before, after) // ids_at_once) or 1
    common = before if same else _common(store, old, new, passes)
    return PairChange(name=pair, before=before, after=after, gained=after - common, lost=before - common)


def _common(store: Store, old: list[Reference], new: list[Reference], passes: int) -> int:
    """Count the pair ids that both have; each has an id once, so that all others are gained or lost."""
    if not old or not new:
        return 0
    return sum(
        pc.sum(pc.is_in(_ids(store, new, place, passes), _ids(store, old, place, passes))).as_py() or 0
        for place in range(passes)
    )


def _ids(store: Store, parts: list[Reference], place: int, passes: int) -> pa.ChunkedArray:
    """Return the ids that belong to one pass: all passes together see each id once."""
    chunks = []
    for part in parts:
        for batch in store.rows(Dataset(**part.model_dump())).batches(["pair_id"], rows=_BATCH):
            ids = batch["pair_id"].combine_chunks()
            if passes > 1 and len(ids):
                words = np.frombuffer(ids.buffers()[1], "<u8")[2 * ids.offset : 2 * (ids.offset + len(ids)) : 2]
                ids = ids.filter(pa.array(words % passes == place))
            chunks.append(ids)
    return pa.chunked_array(chunks, pa.binary(16))


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, one in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), one)
    elif isinstance(value, list) and (names := _names(value)):
        for name, one in zip(names, value, strict=True):
            yield from _flat(f"{path}[{name}]", one)
    elif path:
        yield path, json.dumps(value, ensure_ascii=False, sort_keys=True)


def _names(values: list[Any]) -> list[str]:
    """Return what the elements of a list are called, or nothing unless each has a name of its own."""
    for field in ("name", "kind"):
        names = [str(one.get(field)) for one in values if isinstance(one, Mapping) and field in one]
        if len(names) == len(values) == len(set(names)):
            return names
    return []
