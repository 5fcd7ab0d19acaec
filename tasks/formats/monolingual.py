"""Tables with a column of text in, bytes of a file with one text per line out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from tasks.formats.segments import join_lines, one_line


def write_lines(tables: Iterable[pa.Table], column: str = "text") -> Iterator[bytes]:
    """Yield one line per row; line breaks inside a text become spaces, so the file has as many lines as rows."""
    for table in tables:
        yield join_lines(one_line(table[column]))
