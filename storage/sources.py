"""Where the user's input lies in, files known by their content out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from storage.errors import ConfigError
from storage.files import Filesystem, atomic_writer, is_local, locate, outside_world, read_bytes, write_bytes
from storage.fingerprint import digest
from storage.manifest import Source
from storage.store import Store

_CHUNK = 8 << 20


def list_sources(store: Store, url: str, setting: str) -> list[Source]:
    """Return the files at a URL: one file, a glob, or everything below a folder, sorted by name.

    Hidden files (a leading dot or underscore in any part of the name) are left out, as Spark and Hive leave them out.

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
        if any(letter in path for letter in "*?["):
            files, folder = sorted(filesystem.glob(path)), path.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0]
        elif filesystem.isdir(path):
            files, folder = sorted(filesystem.find(path)), path
        else:
            files, folder = [path] if filesystem.exists(path) else [], path.rpartition("/")[0]
    names = {file: file[len(folder) :].lstrip("/") for file in files}
    visible = [file for file in files if not any(part[:1] in "._" for part in names[file].split("/"))]
    if not visible:
        raise ConfigError(f"{setting}: there is no file at {url}; check the path, or the credentials if it is remote")
    return [_source(store, filesystem, file, names[file]) for file in visible]


def source_of(store: Store, url: str, setting: str) -> Source:
    """Return the one file at a URL.

    Raises:
        ConfigError: if there is none.
    """
    return list_sources(store, url, setting)[0]


def local_copy(source: Source) -> str:
    """Return a path on this machine that holds the source's bytes, for libraries that open files themselves.

    A remote file is fetched once into the user's cache folder ($XDG_CACHE_HOME or ~/.cache) and named by its content.
    """
    filesystem, path = locate(source.url)
    if is_local(filesystem):
        return path
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "babelmill" / source.digest
    if not cache.exists():
        with outside_world(f"cannot fetch {source.url}"), filesystem.open(path, "rb") as remote:
            local, _ = locate(str(cache))
            with atomic_writer(local, str(cache)) as copy:
                shutil.copyfileobj(remote, copy, _CHUNK)
    return str(cache)


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
