"""References in, their manifests out, many at a time."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from storage.manifest import Manifest, Reference
from storage.store import Store

_AT_ONCE = 16  # an object store answers in tens of milliseconds, however many ask


def manifests_of(store: Store, references: Iterable[Reference]) -> dict[str, Manifest]:
    """Return the manifest of each finished thing by its folder.

    Raises:
        SourceError: if one is not there.
    """
    things = {one.folder: one for one in references}
    if not things:
        return {}
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return dict(zip(things, threads.map(store.manifest, things.values()), strict=True))
