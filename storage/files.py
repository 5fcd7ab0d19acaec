"""Bytes on any fsspec storage: whole or not at all, and every failure of the outside world as a SourceError."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import IO, Any

import fsspec
import fsspec.core

from storage.errors import CorpusError, SourceError

Filesystem = Any  # fsspec ships no types


@contextlib.contextmanager
def outside_world(doing: str) -> Iterator[None]:
    """Turn any storage failure inside the block into a SourceError that says what was being done.

    Object-store clients raise their own classes (botocore's derive from Exception only), so everything that is not ours
    or a programming error counts as the outside world.
    """
    try:
        yield
    except (CorpusError, TypeError, AttributeError, NameError, ValueError, KeyError, IndexError):
        raise
    except Exception as error:
        raise SourceError(f"{doing}: {type(error).__name__}: {error}") from error


def locate(url: str) -> tuple[Filesystem, str]:
    """Return the file system of a URL or local path, and the path within it."""
    filesystem, path = fsspec.core.url_to_fs(url)
    return filesystem, str(path).rstrip("/")


def is_local(filesystem: Filesystem) -> bool:
    """True for the machine's own disk, where rename and link are atomic."""
    return isinstance(filesystem.protocol, tuple | list) and "file" in filesystem.protocol


@contextlib.contextmanager
def atomic_writer(filesystem: Filesystem, path: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only if the block ends well.

    On disk that is a temporary name and a rename; on an object store an upload that is aborted on error.
    """
    with outside_world(f"cannot write {path}"):
        if is_local(filesystem):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                with open(temporary, "wb") as handle:
                    yield handle
                os.replace(temporary, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
            return
        handle = filesystem.open(path, "wb")
        try:
            yield handle
        except BaseException:
            with contextlib.suppress(Exception):
                handle.discard()
            handle.closed = True  # or its finaliser would upload the half
            raise
        handle.close()


def write_bytes(filesystem: Filesystem, path: str, data: bytes) -> None:
    """Write a whole small file atomically."""
    with atomic_writer(filesystem, path) as handle:
        handle.write(data)


def create_exclusively(filesystem: Filesystem, path: str, data: bytes) -> bool:
    """Write a file only if there is none of that name; False if somebody else was first.

    On disk a finished temporary file is linked to its name, so a crash leaves no half-written one; on object stores it is
    the conditional put of the store (If-None-Match: * on S3).
    """
    with outside_world(f"cannot create {path}"):
        if is_local(filesystem):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
            with open(temporary, "wb") as handle:
                handle.write(data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(temporary)
            return True
        try:
            filesystem.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        finally:
            filesystem.invalidate_cache()
        return True


def read_bytes(filesystem: Filesystem, path: str) -> bytes | None:
    """Return a file's bytes, or None if there is no such file."""
    with outside_world(f"cannot read {path}"):
        try:
            data = filesystem.cat_file(path)
        except FileNotFoundError:
            return None
        return bytes(data)
