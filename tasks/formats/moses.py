"""Tables of the `corpus` schema in, bytes of two line-aligned text files or of one TSV file out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from tasks.formats.segments import join_lines, one_line

TSV_COLUMNS = ("margin", "source", "target", "source_url", "target_url")


def write_moses(tables: Iterable[pa.Table]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the lines of the source file and of the target file, as many of either for every table and any reader."""
    for table in tables:
        yield join_lines(one_line(table["source"])), join_lines(one_line(table["target"]))


def write_tsv(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """Yield lines of margin, source, target, source address and target address, without a header line."""
    for table in tables:
        texts = [one_line(table[name]) for name in TSV_COLUMNS[1:]]
        yield join_lines(format_scores(table["margin"]), *texts)


def format_scores(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Write numbers with four digits after the point; null becomes empty."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    written = ["" if value is None else f"{value:.4f}" for value in array.to_pylist()]
    return pa.array(written, pa.large_string())
