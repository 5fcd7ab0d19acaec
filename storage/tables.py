"""Arrow tables to Parquet shards and back: fixed row groups, so that equal rows are equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from storage.cache import opened
from storage.errors import SchemaError, SourceError
from storage.files import Filesystem, atomic_writer, outside_world
from storage.manifest import Shard
from storage.schemas import check, schema_of

ROW_GROUP = 16_384  # rows: 16 MB of 512-dimensional vectors, about 100 MB of web pages
SHARD_ROWS = 64 * ROW_GROUP
SHARD_BYTES = 512 << 20


class StoredFile(NamedTuple):
    """A file in storage, and what it is known by in the cache."""

    path: str
    digest: str = ""
    bytes: int = 0


class TableWriter:
    """Takes tables of any size and writes shards of whole row groups; memory is one row group and the last table.

    Use it as a context manager: if the block fails, the open shard never appears.

    Args:
        filesystem: where to write.
        folder: path of the dataset's folder.
        name: the dataset's name, which decides the schema.
        run: marks this writer's files, so that two writers never touch the same one.
    """

    def __init__(self, filesystem: Filesystem, folder: str, name: str, run: str) -> None:
        self._filesystem, self._folder, self._name, self._run = filesystem, folder, name, run
        self._pending: list[pa.Table] = []
        self._schema: pa.Schema | None = None
        self._open: ExitStack | None = None
        self._rows = 0
        self.shards: list[Shard] = []

    def __enter__(self) -> Self:
        """Start; nothing is written before there are rows."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left; a dataset without rows has one empty shard that carries its schema."""
        if error is not None:
            self._abandon(kind, error, trace)
            return
        with ExitStack() as leaving:
            leaving.push(self._abandon)
            self._cut(final=True)
            if self._open is None and not self.shards:
                self._write_group((self._schema or schema_of(self._name)).empty_table())
            self._close_shard()

    def _abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.__exit__(kind, error, trace)

    def write(self, table: pa.Table) -> None:
        """Add rows.

        Raises:
            SchemaError: if the table is not of the dataset's schema.
        """
        checked = check(self._name, table)
        if self._schema is not None and checked.schema != self._schema:
            raise SchemaError(f"{self._name}: all vectors of a dataset have the same dimension")
        self._schema = checked.schema
        self._pending.append(checked)
        if sum(pending.num_rows for pending in self._pending) >= ROW_GROUP:
            self._cut(final=False)

    def _cut(self, *, final: bool) -> None:
        if not self._pending:
            return
        rows = pa.concat_tables(self._pending)
        while rows.num_rows >= ROW_GROUP or (final and rows.num_rows):
            self._write_group(rows.slice(0, ROW_GROUP).combine_chunks())
            rows = rows.slice(ROW_GROUP)
        self._pending = [rows] if rows.num_rows else []

    def _write_group(self, group: pa.Table) -> None:
        if self._open is None:
            self._open = ExitStack()
            file = f"part-{len(self.shards):05d}-{self._run}.parquet"
            self._sink = self._open.enter_context(atomic_writer(self._filesystem, f"{self._folder}/{file}"))
            sink = pa.PythonFile(self._sink, mode="w")
            self._parquet = self._open.enter_context(
                pq.ParquetWriter(
                    sink,
                    group.schema,
                    # ids and vectors neither repeat nor compress; trying takes more than half of the time
                    compression=dict.fromkeys(_compressible(group.schema), "zstd"),
                    use_dictionary=[field.name for field in group.schema if pa.types.is_string(field.type)],
                    write_page_checksum=True,
                )
            )
            self._file, self._rows = file, 0
        self._parquet.write_table(group, row_group_size=ROW_GROUP)
        self._rows += group.num_rows
        if self._rows >= SHARD_ROWS or self._sink.bytes >= SHARD_BYTES:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._open is None:
            return
        self._open.close()
        self._open = None
        self.shards.append(Shard(path=self._file, rows=self._rows, bytes=self._sink.bytes, digest=self._sink.digest))


def _compressible(schema: pa.Schema) -> Iterator[str]:
    """Yield the Parquet paths of all columns but ids and vectors."""
    pending = [(field.name, field.type) for field in schema]
    while pending:
        path, kind = pending.pop()
        if pa.types.is_list(kind):
            pending.append((f"{path}.list.element", kind.value_type))
        elif pa.types.is_struct(kind):
            pending.extend((f"{path}.{field.name}", field.type) for field in kind)
        elif not pa.types.is_fixed_size_binary(kind):
            yield path


def read_batches(
    filesystem: Filesystem, files: Sequence[StoredFile], name: str, columns: list[str] | None, rows: int
) -> Iterator[pa.Table]:
    """Yield the rows of some shards in order, a bounded number at a time.

    Raises:
        SchemaError: if a shard is not of the dataset's schema, or that has no such column.
        SourceError: if it cannot be read.
    """
    for one in files:
        with _parquet(filesystem, one) as file:
            _select(name, check(name, file.schema_arrow.empty_table()), columns)
            for batch in file.iter_batches(batch_size=rows, columns=columns):
                yield _select(name, pa.Table.from_batches([batch]), columns)


def read_table(filesystem: Filesystem, files: Sequence[StoredFile], name: str, columns: list[str] | None) -> pa.Table:
    """Return all rows of some shards as one table."""
    tables = list(read_batches(filesystem, files, name, columns, ROW_GROUP))
    if tables:
        return pa.concat_tables(tables).combine_chunks()
    with _parquet(filesystem, files[0]) as file:
        return _select(name, check(name, file.schema_arrow.empty_table()), columns)


@contextmanager
def _parquet(filesystem: Filesystem, file: StoredFile) -> Iterator[pq.ParquetFile]:
    doing = f"cannot read {file.path}"
    with outside_world(doing), opened(filesystem, file.path, file.digest, file.bytes) as handle:
        try:
            yield pq.ParquetFile(handle, page_checksum_verification=True)
        except pa.ArrowInvalid as error:
            raise SourceError(f"{file.path} is damaged: {error}") from error


def _select(name: str, table: pa.Table, columns: list[str] | None) -> pa.Table:
    """Return some columns in the order in which they were asked for; Parquet has its own and skips unknown ones."""
    if not columns:
        return table
    if unknown := [column for column in columns if column not in table.schema.names]:
        raise SchemaError(f"{name}: there is no column {', '.join(unknown)}; there are {', '.join(table.schema.names)}")
    return table.select(columns)
