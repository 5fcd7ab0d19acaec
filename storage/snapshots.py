"""Which datasets make up version N of a corpus: the only mutable pointer, moved by exclusive create."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from storage.files import create_exclusively, outside_world, read_bytes
from storage.fingerprint import Settings
from storage.manifest import Partition, Reference
from storage.store import Store


class Draft(Settings):
    """What is to become a version of a corpus."""

    corpus: Partition
    crawls: list[str]  # in the order in which the corpus first saw them
    things: list[Reference]  # every dataset and artifact of this version
    settings: dict[str, Any] = {}  # what it was asked for: the settings of its build
    reason: str = ""  # what brought it about, in a few words


class Snapshot(Draft):
    """One version of a corpus."""

    number: int
    created: datetime
    run: str

    def find(self, name: str, partition: str | None = None) -> list[Reference]:
        """Return what this version has under a dataset's or artifact's name."""
        return [one for one in self.things if one.name == name and partition in (None, one.partition)]


def latest(store: Store, corpus: str) -> Snapshot | None:
    """Return the newest version of a corpus, or None before the first."""
    numbers = _numbers(store, corpus)
    return load(store, corpus, numbers[-1]) if numbers else None


def load(store: Store, corpus: str, number: int) -> Snapshot | None:
    """Return one version, or None if there is no such."""
    filesystem, root = store.place()
    data = read_bytes(filesystem, f"{root}/snapshots/{corpus}/{number:06d}.json")
    return None if data is None else Snapshot.model_validate_json(data)


def corpora(store: Store) -> list[str]:
    """Return the names of all corpora below the root, sorted."""
    filesystem, root = store.place()
    with outside_world(f"cannot list {root}/snapshots"):
        filesystem.invalidate_cache()
        folder = f"{root}/snapshots"
        found = filesystem.ls(folder, detail=False) if filesystem.isdir(folder) else []
    return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)


def commit(store: Store, base: Snapshot | None, draft: Draft) -> Snapshot | None:
    """Make a new version after `base`, unless it would say the same.

    Returns:
        The new version; `base` itself if nothing changed; None if another run committed first, in which case the caller
        reads the newest version and builds again upon it.
    """
    # as they are read back: a Dataset never equals the plain Reference that a stored snapshot holds
    things = sorted((Reference(**one.model_dump()) for one in draft.things), key=lambda one: one.folder)
    if base is not None and (base.crawls, base.things, base.settings) == (draft.crawls, things, draft.settings):
        return base
    number, corpus = 1 if base is None else base.number + 1, draft.corpus
    told = draft.model_dump() | {"things": things}
    snapshot = Snapshot(**told, number=number, created=datetime.now(UTC), run=store.run)
    filesystem, root = store.place()
    data = json.dumps(snapshot.model_dump(mode="json"), indent=1).encode()
    won = create_exclusively(filesystem, f"{root}/snapshots/{corpus}/{number:06d}.json", data)
    return snapshot if won else None


def _numbers(store: Store, corpus: str) -> list[int]:
    filesystem, root = store.place()
    folder = f"{root}/snapshots/{corpus}"
    with outside_world(f"cannot list {folder}"):
        filesystem.invalidate_cache()
        names = filesystem.ls(folder, detail=False) if filesystem.isdir(folder) else []
    stems = (str(name).rpartition("/")[2].removesuffix(".json") for name in names if str(name).endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isdigit())
