"""A root in; what its versions cost, how they differ, and what none of them needs, shown or removed, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from flows.comparison import compare
from flows.terminal import say, show_table
from storage.errors import ConfigError
from storage.fingerprint import Settings
from storage.garbage import File, Garbage, collect, find_garbage, list_files, versions_of
from storage.manifest import Manifest, Reference
from storage.records import manifests_of
from storage.snapshots import Snapshot, corpora, latest, load
from storage.store import Store

Hold = Callable[[Store, str], AbstractContextManager[object]]


class Cleaning(Settings):
    """What may be removed from below a root."""

    keep: Annotated[int | None, Field(ge=1, description="Newest versions of each corpus that stay; null: all")] = None
    corpus: Annotated[str | None, Field(description="Give up old versions of this corpus only; null: of all")] = None
    grace_hours: Annotated[float, Field(ge=0, description="What changed more recently stays")] = 24.0


def clean(root: str, cleaning: Cleaning, hold: Hold, *, really: bool) -> Garbage:
    """Print what no kept version needs; remove it if that is what is wanted.

    Args:
        root: where to look.
        cleaning: what may go.
        hold: takes the store and the name of a corpus, and keeps that corpus from being built.
        really: remove it; otherwise it is only shown.

    Returns:
        What was removed, or would be.

    Raises:
        ConfigError: if there is no corpus of that name, or none at all: a wrong root is no garbage.
        SourceError: if a kept version is not complete, or a corpus is being built all the time.
    """
    store = Store(root)
    if cleaning.corpus is not None or not any(
        True for _ in list_files(store, "artifacts")
    ):  # encoders alone leave garbage, too
        _known(store, cleaning.corpus)
    plan = partial(
        find_garbage,
        store,
        keep=cleaning.keep,
        only=cleaning.corpus,
        grace_seconds=cleaning.grace_hours * 3600.0,
    )
    garbage = collect(store, plan, partial(hold, store)) if really else plan()
    _show(garbage, cleaning, removed=really)
    return garbage


def show_history(root: str, corpus: str | None = None) -> None:
    """Print one line per version of each corpus, or of one.

    Raises:
        ConfigError: if there is no corpus of that name, or none at all.
    """
    store = Store(root)
    for name in _known(store, corpus):
        show_table(name, list(history(store, name)))


def show_difference(root: str, old: str, new: str) -> None:
    """Print how one version of a corpus differs from another.

    Raises:
        ConfigError: if there is no such version.
    """
    store = Store(root)
    found = compare(store, find_version(store, old), find_version(store, new))
    for line in found.lines():
        say(line)
    for title, rows in found.tables().items():
        show_table(title, rows)


def find_version(store: Store, text: str) -> Snapshot:
    """Return the version that a text such as `3`, `nordic:3` or `nordic:latest` names.

    Raises:
        ConfigError: if there is none, or if more than one corpus could be meant.
    """
    name, _, number = text.rpartition(":")
    known = corpora(store)
    if not known:
        raise ConfigError(f"there is no corpus at {store.root}; --root says where to look")
    if not name and len(known) > 1:
        raise ConfigError(f"{text!r} could be of {', '.join(known)}; write it as {known[0]}:{text}")
    corpus = name or known[0]
    if corpus not in known:
        raise ConfigError(f"there is no corpus {corpus!r} at {store.root}; there is {', '.join(known)}")
    if number != "latest" and not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise ConfigError(f"{text!r} names no version: give its number, corpus:number or corpus:latest")
    found = latest(store, corpus) if number == "latest" else load(store, corpus, int(number))
    if found is None:
        raise ConfigError(f"{corpus} has no version {number}; `babelmill history` lists those that there are")
    return found


def history(store: Store, corpus: str) -> Iterator[dict[str, Any]]:
    """Yield what is to be said of each version of a corpus, oldest first.

    Raises:
        SourceError: if something that a version is made of is missing.
    """
    before: Snapshot | None = None
    lying = set[str]()
    known: dict[str, dict[str, int]] = {}
    for snapshot in versions_of(store, corpus):
        unknown = manifests_of(store, (one for one in snapshot.things if one.folder not in known))
        known |= {folder: _sizes(manifest) for folder, manifest in unknown.items()}
        sizes = {path: size for one in snapshot.things for path, size in known[one.folder].items()}
        yield {
            "version": str(snapshot.number),
            "date": f"{snapshot.created:%Y-%m-%d %H:%M}",
            "crawls added": ", ".join(name for name in snapshot.crawls if not before or name not in before.crawls),
            "sentences": _rows(snapshot.find("unique_sentences")),
            "pairs": _rows(snapshot.find("corpus")),
            "bytes": sum(sizes.values()),
            "new bytes": sum(size for path, size in sizes.items() if path not in lying),
            "run": snapshot.run,
            "why": snapshot.reason or _reason(before, snapshot),
        }
        before, lying = snapshot, set(sizes)


def _known(store: Store, corpus: str | None) -> list[str]:
    """Return the corpora that are meant."""
    known = corpora(store)
    if not known:
        raise ConfigError(f"there is no corpus at {store.root}; `babelmill build` makes one, --root says where to look")
    if corpus is not None and corpus not in known:
        raise ConfigError(f"there is no corpus {corpus!r} at {store.root}; there is {', '.join(known)}")
    return known if corpus is None else [corpus]


def _sizes(manifest: Manifest) -> dict[str, int]:
    """Return where the files of a finished thing lie, each with its size; two things may have the same files."""
    return {f"{manifest.folder}/{shard.path}": shard.bytes for shard in manifest.shards}


def _rows(things: list[Reference]) -> int:
    return sum(one.rows for one in things)


def _reason(before: Snapshot | None, snapshot: Snapshot) -> str:
    """Say why there is this version, for those that do not tell it themselves."""
    if before is None:
        return "first" if snapshot.number == 1 else ""
    if before.crawls != snapshot.crawls:
        return "crawls"
    return "settings" if before.settings != snapshot.settings else "inputs or babelmill"


def _show(garbage: Garbage, cleaning: Cleaning, *, removed: bool) -> None:
    done = "Removed" if removed else "Would be removed"
    show_table(done, list(garbage_by_name(garbage)))
    say(f"{done}: {len(garbage.everything):,} files, {garbage.bytes:,} bytes.")
    if garbage.spared:
        say(f"{garbage.spared:,} files that nothing needs changed in the last {cleaning.grace_hours:g} hours and stay.")
    if garbage.everything and not removed:
        say("Nothing was removed; --yes removes it.")


def garbage_by_name(garbage: Garbage) -> Iterator[dict[str, Any]]:
    """Yield what goes under each name: versions of a corpus, datasets, artifacts."""
    things, files, sizes = Counter[str](), Counter[str](), Counter[str]()
    for one in garbage.everything:
        files[_name(one)] += 1
        sizes[_name(one)] += one.bytes
    for one in (*garbage.snapshots, *garbage.manifests):
        things[_name(one)] += 1
    for name in sorted(files):
        yield {"": name, "finished": things[name], "files": files[name], "bytes": sizes[name]}


def _name(file: File) -> str:
    folder, name, *_ = file.path.split("/")
    return f"versions of {name}" if folder == "snapshots" else name
