"""Parallel text as users have it (Parquet, TSV, two line-aligned files) in, tables of the `bitext` schema out."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from typing import IO, Annotated, BinaryIO, Self, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from storage.fingerprint import Settings
from storage.schemas import conform

_BATCH = 65_536  # rows


class BitextSource(Settings):
    """Parallel text: one Parquet or TSV file (or a folder or glob of them), or two line-aligned text files."""

    path: Annotated[str, Field(description="File, folder or glob: .parquet or .tsv; or the source side's text file")]
    target_path: Annotated[str | None, Field(description="The target side's text file, line by line")] = None
    source_language: Annotated[str | None, Field(description="Label of the source side, if it is one for all rows")] = (
        None
    )
    target_language: Annotated[str | None, Field(description="Label of the target side, if it is one for all rows")] = (
        None
    )
    source_column: Annotated[str, Field(description="Column with the source text")] = "source"
    target_column: Annotated[str, Field(description="Column with the target text")] = "target"
    source_language_column: Annotated[str, Field(description="Column used if source_language is not set")] = (
        "source_language"
    )
    target_language_column: Annotated[str, Field(description="Column used if target_language is not set")] = (
        "target_language"
    )
    where: Annotated[
        dict[str, list[str]], Field(description="Keep only rows whose column has one of these values")
    ] = {}

    @model_validator(mode="after")
    def _aligned_files_need_languages(self) -> Self:
        if self.target_path and not (self.source_language and self.target_language):
            raise ValueError("two text files need source_language and target_language")
        return self


def read_bitext(stream: BinaryIO, name: str, source: BitextSource) -> Iterator[pa.Table]:
    """Yield the pairs of one Parquet or TSV file, in order, as tables of the `bitext` schema.

    Pairs with an empty side, or without a language, are left out. A TSV file has a header line.

    Raises:
        ValueError: if the file is neither, is damaged, or lacks a column.
    """
    lower = name.lower()
    if not lower.endswith((".parquet", ".tsv", ".tsv.gz")):
        raise ValueError(f"{name}: bitext is .parquet, .tsv or .tsv.gz, or two text files (path and target_path)")
    try:
        for batch in _parquet(stream) if lower.endswith(".parquet") else _tsv(stream, lower):
            _need(source, batch.columns, name)
            yield _shaped(batch, source)
    except (pl.exceptions.PolarsError, pa.ArrowInvalid, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{name} cannot be read: {str(error).partition(chr(10))[0]}") from error


def _parquet(stream: BinaryIO) -> Iterator[pl.DataFrame]:
    file = pq.ParquetFile(stream)
    yield cast("pl.DataFrame", pl.from_arrow(file.schema_arrow.empty_table()))
    for batch in file.iter_batches(_BATCH):
        yield cast("pl.DataFrame", pl.from_arrow(batch))


def _tsv(stream: BinaryIO, name: str) -> Iterator[pl.DataFrame]:
    data = gzip.decompress(stream.read()) if name.endswith(".gz") else stream.read()
    yield pl.read_csv(data, separator="\t", quote_char=None, infer_schema=False)


def read_aligned(source_stream: IO[bytes], target_stream: IO[bytes], source: BitextSource) -> Iterator[pa.Table]:
    """Yield the pairs of two line-aligned UTF-8 files, as Moses has them.

    Raises:
        ValueError: if one file has more lines than the other, or is not UTF-8.
    """
    lines = itertools.zip_longest(_lines(source_stream, source.path), _lines(target_stream, str(source.target_path)))
    while batch := list(itertools.islice(lines, _BATCH)):
        if any(None in pair for pair in batch):
            raise ValueError(f"{source.path} and {source.target_path} do not have the same number of lines")
        columns = {source.source_column: [one for one, _ in batch], source.target_column: [one for _, one in batch]}
        yield _shaped(pl.DataFrame(columns), source)


def _lines(stream: IO[bytes], name: str) -> Iterator[str]:
    try:
        with io.TextIOWrapper(cast("BinaryIO", stream), "utf-8", newline="\n") as lines:
            for line in lines:
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error.reason}") from error


def _need(source: BitextSource, columns: list[str], name: str) -> None:
    needed = {source.source_column, source.target_column, *source.where}
    needed |= set() if source.source_language else {source.source_language_column}
    needed |= set() if source.target_language else {source.target_language_column}
    if missing := sorted(needed - set(columns)):
        raise ValueError(
            f"{name} has no column {', '.join(missing)}; it has {', '.join(columns)}. The first line of a TSV file "
            "names its columns; source_language and target_language may be set for all rows instead"
        )


def _shaped(frame: pl.DataFrame, source: BitextSource) -> pa.Table:
    for column, values in source.where.items():
        frame = frame.filter(pl.col(column).is_in(values))
    sides = {
        "source_language": pl.lit(source.source_language)
        if source.source_language
        else pl.col(source.source_language_column),
        "target_language": pl.lit(source.target_language)
        if source.target_language
        else pl.col(source.target_language_column),
        "source": pl.col(source.source_column).cast(pl.String).str.strip_chars(),
        "target": pl.col(source.target_column).cast(pl.String).str.strip_chars(),
    }
    shaped = frame.select(**sides).filter(pl.all_horizontal(pl.col(*sides) != ""))
    return conform("bitext", shaped.to_arrow())
