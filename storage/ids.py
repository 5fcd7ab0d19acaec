"""Content in, 128-bit ids out: the same content has the same id in every run and every build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storage.schemas import ID


def content_id(*parts: str) -> bytes:
    """16 bytes of BLAKE2b over the parts; a cryptographic hash, because crawled text may be made to collide."""
    framed = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(framed.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def content_ids(*columns: Sequence[str] | Iterable[str]) -> pa.Array:
    """One id per row over columns of equal length, as a fixed-size binary Arrow array."""
    return pa.array([content_id(*row) for row in zip(*columns, strict=True)], ID)


def joined_ids(left: pa.Array, right: pa.Array) -> pa.Array:
    """One id per row over two columns of ids: the pair_id of (source_id, target_id), BLAKE2b of both ids end to end.

    Raises:
        ValueError: if the columns are not equally long, or a row has no id.
    """
    if len(left) != len(right) or left.null_count or right.null_count:
        raise ValueError(f"{len(left)} ids are not joined with {len(right)}, nor with rows that have none")
    both = np.concatenate([_bytes(left), _bytes(right)], axis=1).tobytes()
    hashes = b"".join(hashlib.blake2b(both[at : at + 32], digest_size=16).digest() for at in range(0, len(both), 32))
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(left), [None, pa.py_buffer(hashes)])


def _bytes(ids: pa.Array) -> npt.NDArray[np.uint8]:
    """The 16 bytes of each id (n, 16)."""
    if not len(ids):
        return np.empty((0, 16), np.uint8)
    return np.frombuffer(ids.buffers()[1], np.uint8, 16 * len(ids), 16 * ids.offset).reshape(-1, 16)
