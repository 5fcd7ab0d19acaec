"""A seekable Parquet stream in, one record per row out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import ShardError
from tasks.formats.records import ExtractConfig, Record, row_record

_BATCH_ROWS = 256  # at 5 MiB a row this is about a gigabyte; documents are a thousandth of that


def read_parquet(stream: BinaryIO, config: ExtractConfig) -> Iterator[Record]:
    """Read the rows up to the end or to where the file breaks; `offset` is the row's number from 0.

    Raises:
        ShardError: if it is no Parquet file, has no column of text, or not even one row can be read.
        OSError: what the stream itself raises.
    """
    watched = _Watched(stream)
    number = 0
    try:
        file = pq.ParquetFile(watched)
        columns = _columns(file.schema_arrow.names, config)
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            for row in _rows(batch):
                yield row_record(number, row, config)
                number += 1
    except (pa.ArrowException, OSError) as error:
        if watched.failure is not None:
            raise watched.failure from None
        if number == 0:
            raise ShardError(f"no row can be read: {error}") from None
        yield Record(number, reason="bad_record")


def _columns(names: list[str], config: ExtractConfig) -> list[str]:
    if config.text_column not in names and (config.html_column is None or config.html_column not in names):
        wanted = " and no ".join(name for name in (config.text_column, config.html_column) if name)
        raise ShardError(f"there is no column {wanted}; the file has {', '.join(names[:50])}")
    asked = (config.text_column, config.html_column, config.url_column, config.date_column, config.title_column)
    return [name for name in asked if name is not None and name in names]


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    """Turn rows to Python values; strings as bytes, because Arrow does not promise that they are valid UTF-8."""
    values: dict[str, list[object]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()  # noqa: PLW2901
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = column.cast(pa.large_binary())  # noqa: PLW2901
            values[name] = [None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist()]
        else:
            values[name] = column.to_pylist()
    for row in zip(*values.values(), strict=True):
        yield dict(zip(values, row, strict=True))


class _Watched(io.RawIOBase):
    """Passes everything on and remembers what failed, to tell a broken stream from a broken file."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except OSError as error:
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._stream.seek(offset, whence)
        except OSError as error:
            self.failure = error
            raise

    def tell(self) -> int:
        return self._stream.tell()
