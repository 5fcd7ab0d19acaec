"""Columns of segments in, the same columns with every segment on one line out."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

# All that Python's str.splitlines, Java, Unicode (UAX 14, mandatory breaks) or a TSV reader ends a line or a field at,
# and NUL, at which C programs end the text.
_BREAKS = r"[\x00\t\n\x0b\x0c\r\x1c-\x1e\x{85}\x{2028}\x{2029}]+"


def one_line(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Replace every run of line breaks, tabs and NUL by one space and strip the ends; null becomes empty."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    joined = pc.replace_substring_regex(pc.fill_null(array.cast(pa.large_string()), ""), _BREAKS, " ")
    return pc.utf8_trim_whitespace(joined)


def join_lines(*columns: pa.Array) -> bytes:
    r"""Join columns of equal length by tabs, and rows by line ends, as UTF-8; each row ends with one `\n`."""
    if not len(columns[0]):
        return b""
    texts = [column.cast(pa.large_string()) for column in columns]
    rows = pc.binary_join_element_wise(*texts, pa.scalar("\t", pa.large_string()))
    return "\n".join([*rows.to_pylist(), ""]).encode()
