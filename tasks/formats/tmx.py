"""Tables of the `corpus` schema in, the bytes of a TMX 1.4 file out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from tasks.formats.moses import format_scores
from tasks.formats.segments import one_line
from tasks.text.labels import bcp47

# XML 1.0, production 2: all other characters are illegal even as references. Lone surrogates cannot occur in Arrow.
_ILLEGAL = r"[^\t\n\r\x20-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]"
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"))

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4">
<header creationtool="babelmill" creationtoolversion="1" segtype="sentence" o-tmf="babelmill" adminlang="en" \
srclang="{source}" datatype="plaintext"/>
<body>
"""
_TAIL = "</body>\n</tmx>\n"


def write_tmx(tables: Iterable[pa.Table], source_language: str, target_language: str) -> Iterator[bytes]:
    """Yield a TMX file piece by piece: one translation unit per pair, with its margin and where both sides came from.

    The same pairs give the same bytes: the file bears no date.

    Args:
        tables: pairs in the `corpus` schema.
        source_language: FLORES label of the source side, such as deu_Latn.
        target_language: FLORES label of the target side.

    Raises:
        ValueError: if a label is not a language and a script.
    """
    source, target = (escape(bcp47(label)) for label in (source_language, target_language))
    yield _HEAD.format(source=source).encode()
    for table in tables:
        if table.num_rows:
            yield _units(table, source, target)
    yield _TAIL.encode()


def escape_xml(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Remove what XML 1.0 has no way to write, and escape markup; the segments come out on one line each."""
    escaped = pc.replace_substring_regex(one_line(column), _ILLEGAL, "")
    for plain, written in _ESCAPES:
        escaped = pc.replace_substring(escaped, plain, written)
    return escaped


def _units(table: pa.Table, source: str, target: str) -> bytes:
    parts = [
        '<tu>\n<prop type="margin">',
        format_scores(table["margin"]),
        f'</prop>\n<tuv xml:lang="{source}">\n<prop type="url">',
        escape_xml(table["source_url"]),
        "</prop>\n<seg>",
        escape_xml(table["source"]),
        f'</seg>\n</tuv>\n<tuv xml:lang="{target}">\n<prop type="url">',
        escape_xml(table["target_url"]),
        "</prop>\n<seg>",
        escape_xml(table["target"]),
        "</seg>\n</tuv>\n</tu>\n",
    ]
    columns = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    units = pc.binary_join_element_wise(*columns, pa.scalar("", pa.large_string()))
    return "".join(units.to_pylist()).encode()
