"""A crawl file in any of the known formats in, tables of the `documents` schema out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import pyarrow as pa

from storage.errors import ShardError
from tasks.formats.jsonl import read_jsonl
from tasks.formats.parquet import read_parquet
from tasks.formats.plain import read_html, read_text
from tasks.formats.records import ExtractConfig, Reason, Record, tables
from tasks.formats.unpacking import Packing, Unpacked
from tasks.formats.warc import read_warc

__all__ = ["ExtractConfig", "Reason", "read_documents"]

_READERS: dict[str, Callable[[Unpacked, ExtractConfig], Iterator[Record]]] = {
    "warc": read_warc,
    "wet": read_warc,
    "wat": read_warc,
    "jsonl": read_jsonl,
    "ndjson": read_jsonl,
    "txt": read_text,
    "html": read_html,
    "htm": read_html,
}
_PACKINGS: dict[str, Packing] = {"": "plain", "gz": "gzip", "zst": "zstd"}
_NAME = re.compile(rf"\.(?:({'|'.join(_READERS)})(?:\.(gz|zst))?|(parquet))$", re.IGNORECASE)


def read_documents(stream: BinaryIO, crawl: str, file: str, config: ExtractConfig) -> Iterator[pa.Table]:
    """Read every document of a crawl file; what gives no usable text is a row with a reason (`records.Reason`).

    The name tells the format (.warc, .wet, .wat, .jsonl, .ndjson, .txt, .html, .htm, each also with .gz or .zst, and
    .parquet) and the first bytes must confirm it. A file that breaks in the middle gives the rows before the break and
    one row at the break.

    Args:
        stream: the file as stored, at its start; Parquet needs it to be seekable.
        crawl: name of the crawl.
        file: the file's path below the crawl's folder.
        config: how to read it.

    Yields:
        Tables of at most 1024 rows and about 16 MiB of text; none before it is known that the file can be read.

    Raises:
        ShardError: if the name is of no known format, or not even one record can be read.
        OSError: what the stream itself raises.
    """
    yield from tables(_records(stream, file, config), crawl, file)


def _records(stream: BinaryIO, file: str, config: ExtractConfig) -> Iterator[Record]:
    name = _NAME.search(file)
    if name is None:
        raise ShardError(f"{file!r} is named as none of {', '.join(f'.{ending}' for ending in (*_READERS, 'parquet'))}")
    if name[3]:
        return read_parquet(stream, config)
    packing = _PACKINGS[(name[2] or "").lower()]
    return _READERS[name[1].lower()](Unpacked(stream, packing), config)
