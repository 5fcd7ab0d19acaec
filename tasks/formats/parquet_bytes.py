"""Tables in, the bytes of one Parquet file out, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


class _Outbox:
    """A write-only file whose content is taken away as it comes."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> int:
        self.chunks.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        data, self.chunks = b"".join(self.chunks), []
        return data


def write_parquet(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[bytes]:
    """Yield a Parquet file, one row group per table; memory is one table."""
    outbox = _Outbox()
    with pq.ParquetWriter(pa.PythonFile(outbox, mode="w"), schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            yield outbox.take()
    yield outbox.take()
