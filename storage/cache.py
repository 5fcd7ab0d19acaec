"""Remote files known by their content in, files on this disk out: each fetched once, the least used removed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from storage.errors import ConfigError, SourceError
from storage.files import Filesystem, is_local, is_memory, outside_world, speaks

_logger = logging.getLogger(__name__)

_DIGEST = re.compile(r"[0-9a-f]{32}")
_GIB = 1 << 30
_DEFAULT_GIB = 10.0
_LARGEST = 4  # a file of more than a quarter of the bound would drive out too much else
_PART = 16 << 20  # bytes a request: object stores give 50 to 100 MB/s to one connection, so there are several
_AT_ONCE = 4
_TRIES = 10  # to open a copy that others remove at once; then the file is read where it is
_LOCKS = 64  # files that are locked instead of one for each digest, since nobody could remove those safely
_ABANDONED_SECONDS = 3600  # since an unfinished file grew: its writer is dead


@contextlib.contextmanager
def opened(filesystem: Filesystem, path: str, digest: str, size: int) -> Iterator[BinaryIO]:
    """Open an immutable file for reading, on this disk if it may be kept there, else where it is.

    The cache is the folder $BABELMILL_CACHE, or babelmill in $XDG_CACHE_HOME or ~/.cache; it is kept below
    $BABELMILL_CACHE_GIB (10; 0 turns it off). A file that is removed while it is open can be read to its end. A folder
    that cannot be written is told once and done without.

    Args:
        filesystem: where the file is; this disk and memory:// are read directly.
        path: the file's path there.
        digest: BLAKE2b of its bytes, 16 bytes as hexadecimal, as manifests have it.
        size: its bytes.

    Raises:
        SourceError: if it cannot be read, or its bytes are not those of the digest.
    """
    handle = None if is_local(filesystem) or is_memory(filesystem) else _open_kept(filesystem, path, digest, size)
    with contextlib.ExitStack() as stack:
        if handle is None:
            stack.enter_context(outside_world(f"cannot read {path}"))
            handle = filesystem.open(path, "rb")
        yield stack.enter_context(handle)


def local_path(filesystem: Filesystem, path: str, digest: str, size: int) -> str:
    """Return the path of an immutable file on this disk, for libraries that open files themselves.

    A remote file is fetched into the cache whatever its size, and even if the cache is off: such a library needs it.

    Raises:
        SourceError: if it cannot be read or kept, or its bytes are not those of the digest.
    """
    if is_local(filesystem):
        return path
    with outside_world(f"cannot keep a copy of {path}"):
        return str(_kept(filesystem, path, digest, size))


def cache_folder() -> Path:
    """Return the folder in which copies of remote files are kept."""
    if own := os.environ.get("BABELMILL_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "babelmill"


def cache_bound() -> int:
    """Return how many bytes the cache may hold.

    Raises:
        ConfigError: if $BABELMILL_CACHE_GIB is no number from 0 on.
    """
    told = os.environ.get("BABELMILL_CACHE_GIB") or _DEFAULT_GIB
    try:
        bound = float(told)
    except ValueError:
        bound = -1.0
    if not 0 <= bound < float("inf"):
        raise ConfigError(f"BABELMILL_CACHE_GIB must be a number of GiB, 0 or more, and not {told!r}")
    return int(bound * _GIB)


def _open_kept(filesystem: Filesystem, path: str, digest: str, size: int) -> BinaryIO | None:
    """Open the copy on this disk; None if there can or shall be none."""
    if size * _LARGEST > cache_bound():
        return None
    try:
        for _ in range(_TRIES):
            with contextlib.suppress(FileNotFoundError):  # another process made room before we could open it
                return cast("BinaryIO", open(_kept(filesystem, path, digest, size), "rb"))
    except OSError as error:
        _tell_once(f"{cache_folder()}: {error.strerror}")
    return None


_told: set[str] = set()


def _tell_once(what: str) -> None:
    if what not in _told:
        _told.add(what)
        _logger.warning("remote files are read without a cache: %s", what)


def _kept(filesystem: Filesystem, path: str, digest: str, size: int) -> Path:
    """Return the copy on this disk, fetching it if it is not there.

    Raises:
        OSError: if this disk fails.
        SourceError: if the other side does, or its bytes are not those of the digest.
    """
    if not _DIGEST.fullmatch(digest):
        raise SourceError(f"{path}: {digest!r} is no digest")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / digest
    if not _use(kept, size):
        with _locked(folder, str(int(digest[:8], 16) % _LOCKS)):
            if not _use(kept, size):  # else another process has fetched it meanwhile
                _fetch(filesystem, path, size, kept)
    return kept


def _use(kept: Path, size: int) -> bool:
    """Mark a copy as just used; False if there is none that is whole."""
    try:
        os.utime(kept)
        return kept.stat().st_size == size
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Be the only one to do something, among the threads and processes that share the folder."""
    with open(folder / f"{name}.lock", "wb") as handle:
        with contextlib.suppress(OSError):  # a network disk without locks: work is done twice, but none is lost
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fetch(filesystem: Filesystem, path: str, size: int, kept: Path) -> None:
    unfinished = kept.with_name(f"{kept.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        running = hashlib.blake2b(digest_size=16)
        with open(unfinished, "wb") as copy:
            for part in _parts(filesystem, path, size):
                running.update(part)
                copy.write(part)
        if running.hexdigest() != kept.name:
            raise SourceError(f"{path} has changed or is damaged: its bytes are not those of its digest {kept.name}")
        with _locked(kept.parent, "room"):
            _make_room(kept.parent, size)
            os.replace(unfinished, kept)
    finally:
        unfinished.unlink(missing_ok=True)


def _parts(filesystem: Filesystem, path: str, size: int) -> Iterator[bytes]:
    """Yield a remote file's bytes in order."""
    if speaks(filesystem, "s3", "gs", "abfs"):
        for start in range(0, size, _AT_ONCE * _PART):
            starts = list(range(start, min(size, start + _AT_ONCE * _PART), _PART))
            ends = [min(size, one + _PART) for one in starts]
            with outside_world(f"cannot fetch {path}", (RuntimeError,)):
                parts = filesystem.cat_ranges([path] * len(starts), starts, ends, on_error="raise")
            yield from parts
        return
    with outside_world(f"cannot fetch {path}"):
        handle = filesystem.open(path, "rb")
    with handle:
        while True:
            with outside_world(f"cannot fetch {path}"):
                part = handle.read(_PART)
            if not part:
                return
            yield part


class _Copy(NamedTuple):
    used: float
    size: int
    path: str


def _make_room(folder: Path, size: int) -> None:
    """Remove the least recently used copies until a new one fits, and what dead processes left."""
    bound, copies = cache_bound(), list[_Copy]()
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                facts = entry.stat(follow_symlinks=False)
                if _DIGEST.fullmatch(entry.name):
                    copies.append(_Copy(facts.st_mtime, facts.st_size, entry.path))
                elif entry.name.endswith(".part") and facts.st_mtime < time.time() - _ABANDONED_SECONDS:
                    os.unlink(entry.path)
    total = sum(copy.size for copy in copies) + size
    for copy in sorted(copies) if bound else ():
        if total <= bound:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy.path)
        total -= copy.size
