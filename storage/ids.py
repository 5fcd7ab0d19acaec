"""Content in, 128-bit ids out: the same content has the same id in every run and every build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

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
    """One id per row over two columns of ids: the pair_id of (source_id, target_id)."""
    hashes = (
        hashlib.blake2b(a + b, digest_size=16).digest()
        for a, b in zip(left.to_pylist(), right.to_pylist(), strict=True)
    )
    return pa.array(hashes, ID)
