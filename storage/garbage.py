"""What lies below a root in, what no version of a corpus needs out, and its removal."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from storage.errors import SourceError
from storage.files import Filesystem, is_local, outside_world, read_bytes
from storage.manifest import Manifest, safe_path
from storage.records import manifests_of
from storage.snapshots import Snapshot, corpora, load
from storage.store import Store

FOLDERS = ("snapshots", "datasets", "artifacts")  # nothing outside of them is ever removed
MANIFEST = "manifest.json"
_OURS = ("release",)  # artifacts that only versions need; encoders and their like stand for themselves
_VERSION = re.compile(r"snapshots/.+/\d{6,}\.json")
_AT_ONCE = 1000  # keys that one request to S3 may delete


class File(NamedTuple):
    """A file below the root."""

    path: str  # relative to the root
    bytes: int
    modified: float  # seconds since 1970; infinite if the storage does not say


@dataclass(frozen=True)
class Garbage:
    """What may go, in the order in which it goes: a reader never sees a manifest without its files."""

    snapshots: list[File]
    manifests: list[File]
    files: list[File]
    spared: int  # files that nothing needs but that are too young to go

    @property
    def everything(self) -> list[File]:
        """Return all files."""
        return [*self.snapshots, *self.manifests, *self.files]

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.bytes for one in self.everything)


def find_garbage(
    store: Store, *, keep: int | None = None, only: str | None = None, grace_seconds: float = 86_400.0
) -> Garbage:
    """Say what no version needs, once all but the newest versions are given up.

    Kept are: versions, everything in them wherever its files lie, encoders and other artifacts that no version held,
    and whatever is younger than the grace, as it may belong to a run in flight, with all that its manifest lists.

    Args:
        store: where to look.
        keep: versions of each corpus that stay, at least one; all if not given.
        only: the corpus whose old versions are given up; all corpora if not given.
        grace_seconds: age since its last change that a file must have to go; 0 spares nothing.

    Raises:
        SourceError: if something that a kept version needs is missing or cannot be read: then nothing can be judged.
    """
    files = {one.path: one for folder in FOLDERS for one in list_files(store, folder)}
    newest = time.time() - grace_seconds if grace_seconds > 0 else float("inf")

    def is_old(path: str) -> bool:
        return grace_seconds <= 0 or (path in files and files[path].modified < newest)

    kept, given_up = _versions(store, keep, only, is_old)
    needed = {_place(one) for one in kept} | _needed(store, kept)
    former = {one.folder for snapshot in given_up for one in snapshot.things}
    needed |= _with_files(store, [path for path in files if path not in needed and _stands(path, former)])
    rest = [one for one in files.values() if one.path not in needed]
    young = _with_files(store, [one.path for one in rest if _is_manifest(one.path) and not is_old(one.path)])
    return _sorted([one for one in rest if is_old(one.path) and one.path not in young], given_up, len(rest))


def collect(
    store: Store, plan: Callable[[], Garbage], hold: Callable[[str], AbstractContextManager[object]]
) -> Garbage:
    """Remove garbage while no corpus is being built.

    Args:
        store: where it lies.
        plan: finds the garbage; asked once all corpora are held, as what was true before need not be true then.
        hold: takes the name of a corpus and keeps it from being built.

    Returns:
        What was removed.

    Raises:
        SourceError: if something cannot be removed; what is left goes the next time.
    """
    with contextlib.ExitStack() as held:
        for corpus in _builds(store):  # in the order of their names, so that two collections never wait for each other
            held.enter_context(hold(corpus))
        garbage = plan()
        for group in (garbage.snapshots, garbage.manifests, garbage.files):
            _remove(store, [one.path for one in group])
    return garbage


def _builds(store: Store) -> list[str]:
    """Return the names of all corpora, those too that are being built for the first time and have no version yet."""
    leases = (one.path.rpartition("/")[2] for one in list_files(store, "leases/build"))
    begun = (name.removesuffix(".json") for name in leases if name.endswith(".json"))
    return sorted({*corpora(store), *begun})


def list_files(store: Store, folder: str) -> Iterator[File]:
    """Yield the files below one of the root's folders; links are neither followed nor listed."""
    filesystem, root = store.place()
    top = f"{root}/{folder}"
    with outside_world(f"cannot list {top}"):
        if is_local(filesystem):
            yield from _on_disk(root, top)
            return
        filesystem.invalidate_cache()
        for path, facts in filesystem.find(top, detail=True).items():
            yield File(str(path).removeprefix(f"{root}/"), int(facts["size"] or 0), _modified(facts))


def _on_disk(root: str, top: str) -> Iterator[File]:
    if os.path.islink(top):
        return
    for place, _, names in os.walk(top, followlinks=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a run in flight renames its temporary files
                facts = os.lstat(os.path.join(place, name))
                if stat.S_ISREG(facts.st_mode):
                    path = os.path.relpath(os.path.join(place, name), root).replace(os.sep, "/")
                    yield File(path, facts.st_size, facts.st_mtime)


def _modified(facts: dict[str, Any]) -> float:
    """Return when an object was last written, by the names that fsspec's storages have for it."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        found = facts.get(key)
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        if isinstance(found, datetime):
            return found.timestamp()
        if isinstance(found, int | float):
            return float(found)
    return float("inf")


def _versions(
    store: Store, keep: int | None, only: str | None, is_old: Callable[[str], bool]
) -> tuple[list[Snapshot], list[Snapshot]]:
    """Return the versions that stay and those that go."""
    kept, given_up = list[Snapshot](), list[Snapshot]()
    for corpus in corpora(store):
        versions = versions_of(store, corpus)
        spare = len(versions) if keep is None or only not in (None, corpus) else max(1, keep)
        for place, snapshot in enumerate(reversed(versions)):
            goes = place >= spare and is_old(_place(snapshot))
            (given_up if goes else kept).append(snapshot)
    return kept, given_up


def versions_of(store: Store, corpus: str) -> list[Snapshot]:
    """Return all versions of a corpus that there still are, oldest first."""
    names = (one.path for one in list_files(store, f"snapshots/{corpus}") if _VERSION.fullmatch(one.path))
    numbers = sorted(int(path.rpartition("/")[2].removesuffix(".json")) for path in names)
    return [found for number in numbers if (found := load(store, corpus, number)) is not None]


def _needed(store: Store, kept: Iterable[Snapshot]) -> set[str]:
    """Return the paths of everything in some versions: manifests, and files wherever they lie."""
    manifests = manifests_of(store, [one for snapshot in kept for one in snapshot.things])
    return {path for folder in manifests for path in (f"{folder}/{MANIFEST}", *_listed(manifests[folder]))}


def _listed(manifest: Manifest) -> Iterator[str]:
    """Yield where the files of a manifest lie, which may be in the folder of an earlier thing."""
    for shard in manifest.shards:
        yield f"{manifest.folder}/{shard.path}"


def _stands(path: str, former: Collection[str]) -> bool:
    """True for an artifact that stands for itself, such as an encoder, unless a version that goes had it."""
    kind, name, *_ = path.split("/")
    return (
        _is_manifest(path)
        and kind == "artifacts"
        and name not in _OURS
        and path.removesuffix(f"/{MANIFEST}") not in former
    )


def _is_manifest(path: str) -> bool:
    return path.endswith(f"/{MANIFEST}")


def _with_files(store: Store, manifests: list[str]) -> set[str]:
    """Return the paths of some manifests that are still there, and of the files that they list."""
    filesystem, root = store.place()
    found = set[str]()
    for path in manifests:
        data = read_bytes(filesystem, f"{root}/{path}")
        try:
            found |= {path, *_listed(Manifest.model_validate_json(data))} if data is not None else set()
        except ValidationError as error:
            raise SourceError(f"{path} cannot be read, so nothing can be removed safely: {error}") from error
    return found


def _sorted(files: list[File], given_up: list[Snapshot], unneeded: int) -> Garbage:
    """Put garbage into its order; names that are not ours could mean something to a storage, and stay."""
    versions = {_place(one) for one in given_up}
    groups: dict[str, list[File]] = {"snapshots": [], "manifests": [], "files": []}
    for one in sorted(files):
        if one.path in versions:
            groups["snapshots"].append(one)
        elif _is_ours(one.path):
            groups["manifests" if _is_manifest(one.path) else "files"].append(one)
    return Garbage(**groups, spared=unneeded - len(files))


def _place(snapshot: Snapshot) -> str:
    return f"snapshots/{snapshot.corpus}/{snapshot.number:06d}.json"


def _is_ours(path: str) -> bool:
    """True for what babelmill writes into its folders; of what lies beside versions, only unfinished ones are."""
    try:
        folder = safe_path(path).split("/")[0]
    except ValueError:
        return False
    return folder in FOLDERS and (folder != "snapshots" or path.endswith(".tmp"))


def _remove(store: Store, paths: list[str]) -> None:
    filesystem, root = store.place()
    with outside_world(f"cannot remove files below {root}"):
        if is_local(filesystem):
            _unlink(root, paths)
            return
        for start in range(0, len(paths), _AT_ONCE):
            _remove_objects(filesystem, [f"{root}/{path}" for path in paths[start : start + _AT_ONCE]])


def _remove_objects(filesystem: Filesystem, paths: list[str]) -> None:
    try:
        filesystem.rm(paths)
    except FileNotFoundError:  # somebody else removed one of them; where that is an error, the others are left
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                filesystem.rm_file(path)
    finally:
        filesystem.invalidate_cache()


def _unlink(root: str, paths: list[str]) -> None:
    """Remove files, and the folders that are empty then."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{root}/{path}")
    folders = {os.path.dirname(path) for path in paths}
    while folders:
        left = set()
        for folder in folders:
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(f"{root}/{folder}")
                left.add(os.path.dirname(folder))
        folders = {folder for folder in left if "/" in folder}
