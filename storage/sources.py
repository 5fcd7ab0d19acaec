"""Where the user's input lies in, files known by their content out."""

from __future__ import annotations

import hashlib
import json
import re

from storage.cache import local_path
from storage.errors import ConfigError
from storage.files import Filesystem, locate, outside_world, read_bytes, write_bytes
from storage.fingerprint import digest
from storage.manifest import Source
from storage.store import Store

_CHUNK = 8 << 20


def list_sources(store: Store, url: str, setting: str) -> list[Source]:
    """Return the files at a URL: one file, a glob, or everything below a folder, sorted by name.

    Hidden files (a leading dot or underscore in any part of the name) are left out, as Spark and Hive leave them out,
    unless it is the one file that was asked for.

    Args:
        store: remembers the digests of files that it has seen, so that an unchanged file is not read again.
        url: a local path or fsspec URL.
        setting: the field that the URL came from, for the error message.

    Raises:
        ConfigError: if nothing is there.
    """
    filesystem, path = locate(url)
    with outside_world(f"cannot list {url}"):
        filesystem.invalidate_cache()
        names = _names(filesystem, path)
    if not names:
        raise ConfigError(f"{setting}: there is no file at {url}; check the path, or the credentials if it is remote")
    return [_source(store, filesystem, file, name) for file, name in sorted(names.items())]


def source_of(store: Store, url: str, setting: str) -> Source:
    """Return the one file at a URL.

    Raises:
        ConfigError: if there is none.
    """
    return list_sources(store, url, setting)[0]


def local_copy(source: Source) -> str:
    """Return a path on this machine that holds the source's bytes, for libraries that open files themselves.

    A remote file is fetched once, into the cache of storage/cache.py.

    Raises:
        SourceError: if it cannot be fetched, or has changed since it was listed.
    """
    filesystem, path = locate(source.url)
    return local_path(filesystem, path, source.digest, source.size)


def _names(filesystem: Filesystem, path: str) -> dict[str, str]:
    """Return the files at a path, each with its name below the folder that the path stands for."""
    if filesystem.isdir(path):
        files, folder = filesystem.find(path), path
    elif filesystem.exists(path):  # asked before globbing: a file's own name may hold brackets
        return {path: path.rpartition("/")[2]}
    else:
        found = filesystem.glob(path, detail=True) if any(letter in path for letter in "*?[") else {}
        files = [file for file, facts in found.items() if facts["type"] != "directory"]
        folder = re.split(r"[*?\[]", path)[0].rpartition("/")[0]
    names = {file: file[len(folder) :].lstrip("/") for file in files}
    return {file: name for file, name in names.items() if not any(part[:1] in "._" for part in name.split("/"))}


def _source(store: Store, filesystem: Filesystem, path: str, name: str) -> Source:
    """Digest a file's content, or recall it: the memory is keyed by everything that changes when a file does."""
    url = filesystem.unstrip_protocol(path)
    with outside_world(f"cannot read {url}"):
        facts = filesystem.info(path)
    stamp = [facts.get(key) for key in ("mtime", "LastModified", "ETag", "etag", "updated", "created", "ino")]
    # "created" of a local file is its ctime; of an object its upload
    key = digest(json.dumps([url, facts["size"], [str(one) for one in stamp]]).encode())
    own, root = store.place()
    memory = f"{root}/sources/{key}.json"
    known = read_bytes(own, memory)
    if known is None:
        known = json.dumps({"url": url, "digest": _digest_file(filesystem, path)}).encode()
        write_bytes(own, memory, known)
    return Source(url=url, name=name, size=facts["size"], digest=json.loads(known)["digest"])


def _digest_file(filesystem: Filesystem, path: str) -> str:
    running = hashlib.blake2b(digest_size=16)
    with outside_world(f"cannot read {path}"), filesystem.open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            running.update(chunk)
    return running.hexdigest()
