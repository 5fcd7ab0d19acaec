"""Bytes on any fsspec storage: whole or not at all, and every failure of the outside world as a SourceError."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import fsspec
import fsspec.core

from storage.credentials import without_secrets
from storage.errors import ConfigError, CorpusError, SourceError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Filesystem = Any  # fsspec ships no types

# What a wrong program raises, here or in the code of a `with` block around reading; trying again cures none of it.
_NOT_OUTSIDE = (
    CorpusError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)

_CLIENTS = (RuntimeError,)  # what adlfs makes of any failed upload, and gcsfs of an answer that it does not know

_EXTRAS = {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}  # of this package, by protocol

_memory_lock = threading.Lock()  # fsspec's memory file system looks and then writes, in two steps


@contextlib.contextmanager
def outside_world(doing: str, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn any storage failure inside the block into a SourceError that says what was being done, but no secret.

    Object-store clients raise their own classes (botocore's derive from Exception only), so everything that is not ours
    or a programming error counts as the outside world.

    Args:
        doing: what to say.
        also: what counts as the outside world too, in a block that only calls a client.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, _NOT_OUTSIDE) and (isinstance(error, CorpusError) or not isinstance(error, also)):
            raise
        said = f"{doing}: {type(error).__name__}: {error}"
        told = without_secrets(said)
        raise SourceError(told) from (error if told == said else None)


def locate(url: str) -> tuple[Filesystem, str]:
    """Return the file system of a URL or local path, and the path within it.

    Raises:
        ConfigError: if nothing installed knows this kind of URL, or if it holds a password, which manifests would keep.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme and urlsplit(url).password is not None:
        raise ConfigError("a URL must not hold a password or secret key; give credentials through the environment")
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        cure = f"pip install 'babelmill[{_EXTRAS[scheme]}]'" if scheme in _EXTRAS else str(error)
        raise ConfigError(f"cannot use {url}: {scheme}:// needs another package: {cure}") from error
    except ValueError as error:
        raise ConfigError(f"cannot use {url}: {without_secrets(str(error))}") from error
    return filesystem, str(path).rstrip("/")


def is_local(filesystem: Filesystem) -> bool:
    """True for the machine's own disk, where rename and link are atomic."""
    return speaks(filesystem, "file")


def is_memory(filesystem: Filesystem) -> bool:
    """True for fsspec's memory:// file system, which only threads of one process share."""
    return speaks(filesystem, "memory")


def speaks(filesystem: Filesystem, *protocols: str) -> bool:
    """True for a file system of one of some protocols."""
    own = filesystem.protocol
    return not set(protocols).isdisjoint([own] if isinstance(own, str) else own)


class Sink(io.RawIOBase):
    """A write-only file that counts and hashes what passes through; a failure below it is a SourceError."""

    def __init__(self, handle: IO[bytes], path: str) -> None:
        self._handle, self._path = handle, path
        self._hash = hashlib.blake2b(digest_size=16)
        self.bytes = 0

    def writable(self) -> bool:
        """Say that this file is for writing."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Pass some bytes on.

        Raises:
            SourceError: if they cannot be written.
        """
        size = memoryview(data).nbytes
        with outside_world(f"cannot write {self._path}", _CLIENTS):
            self._handle.write(data)
        self._hash.update(data)
        self.bytes += size
        return size

    @property
    def digest(self) -> str:
        """Hash of all that was written, as hexadecimal."""
        return self._hash.hexdigest()


@contextlib.contextmanager
def atomic_writer(filesystem: Filesystem, path: str) -> Iterator[Sink]:
    """Open a file for writing that appears under its name only if the block ends well.

    Raises:
        SourceError: if the file cannot be opened, written or put in its place; what the block raises passes as it is.
    """
    with outside_world(f"cannot write {path}", _CLIENTS):
        handle, place, drop = _begin(filesystem, path)
    try:
        yield Sink(handle, path)
        with outside_world(f"cannot write {path}", _CLIENTS):
            place()
    except BaseException:
        with contextlib.suppress(Exception):
            drop()
        raise


def _begin(filesystem: Filesystem, path: str) -> tuple[IO[bytes], Callable[[], object], Callable[[], object]]:
    """Open a file that nobody sees; return it with what makes it appear and what makes it vanish.

    On disk that is a temporary name and a rename; on an object store an upload that is completed or aborted.
    """
    if is_local(filesystem):
        temporary = _temporary(path)
        local = open(temporary, "wb")  # noqa: SIM115 - either of the two closes it
        return local, partial(_place, local, temporary, path), partial(_drop, local, temporary)
    if is_memory(filesystem):  # whose own files are seen from the first byte
        buffer = io.BytesIO()
        return buffer, lambda: filesystem.pipe_file(path, buffer.getvalue()), buffer.close
    remote = filesystem.open(path, "wb")
    return remote, remote.close, partial(_discard, remote)


def _temporary(path: str) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return f"{path}.{uuid.uuid4().hex[:8]}.tmp"


def _place(handle: IO[bytes], temporary: str, path: str) -> None:
    _settle(handle)
    handle.close()
    os.replace(temporary, path)


def _settle(handle: IO[bytes]) -> None:
    """Have the bytes on the disk before the name is there: else a power cut leaves a manifest whose shards are empty.

    Names need no such care: a journal keeps their order. It costs 0.2 ms for a manifest and 2 ms for a megabyte (ext4).
    """
    handle.flush()
    os.fsync(handle.fileno())


def _drop(handle: IO[bytes], temporary: str) -> None:
    try:
        handle.close()
    finally:
        os.unlink(temporary)


def _discard(handle: Any) -> None:
    try:
        handle.discard()
    finally:
        handle.closed = True  # or its finaliser would upload the half


def write_bytes(filesystem: Filesystem, path: str, data: bytes) -> None:
    """Write a whole small file atomically; on an object store that is one request."""
    if is_local(filesystem):
        with atomic_writer(filesystem, path) as handle:
            handle.write(data)
    else:
        with outside_world(f"cannot write {path}", _CLIENTS):
            filesystem.pipe_file(path, data)


def create_exclusively(filesystem: Filesystem, path: str, data: bytes) -> bool:
    """Write a file only if there is none of that name; False if somebody else was first.

    On disk a finished temporary file is linked to its name, so a crash leaves no half-written one; on object stores it
    is the conditional put of the store (If-None-Match: * on S3 and Azure, ifGenerationMatch=0 on Google's). A put whose
    answer is lost is sent again by the clients: then it may be our own file that was first.
    """
    with outside_world(f"cannot create {path}", _CLIENTS):
        if is_local(filesystem):
            return _link(path, data)
        try:
            with _memory_lock if is_memory(filesystem) else contextlib.nullcontext():
                filesystem.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        finally:
            filesystem.invalidate_cache()
        return True


def _link(path: str, data: bytes) -> bool:
    temporary = _temporary(path)
    handle = open(temporary, "wb")  # noqa: SIM115 - _drop closes it
    try:
        handle.write(data)
        _settle(handle)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        _drop(handle, temporary)
    return True


def read_bytes(filesystem: Filesystem, path: str) -> bytes | None:
    """Return a small file's bytes, or None if there is no such file."""
    # s3fs asks for the size first, to read large files in parallel, unless it must not
    options = {"max_concurrency": 1} if speaks(filesystem, "s3") else {}
    with outside_world(f"cannot read {path}", _CLIENTS):
        try:
            data = filesystem.cat_file(path, **options)
        except FileNotFoundError:
            return None
        return bytes(data)
