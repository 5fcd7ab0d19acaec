"""An unpacked stream of JSON lines in, one record per line out."""

from __future__ import annotations

import json
from collections.abc import Iterator

from storage.errors import ShardError
from tasks.formats.records import ExtractConfig, Record, row_record
from tasks.formats.unpacking import DamageError, Unpacked, lines

_UTF8_MARK = b"\xef\xbb\xbf"


def read_jsonl(unpacked: Unpacked, config: ExtractConfig) -> Iterator[Record]:
    """Read JSON lines up to the end or to where the packing breaks; `offset` is the line's number from 0.

    Raises:
        ShardError: if the first line that is not empty does not begin as an object does, or cannot be read.
    """
    number, any_read = 0, False
    try:
        for number, line in enumerate(lines(unpacked, config.max_bytes)):
            bare = line if line is None else line.removeprefix(_UTF8_MARK if number == 0 else b"").strip()
            if bare == b"":
                continue
            if not any_read and bare is not None and not bare.startswith(b"{"):
                raise ShardError("this is no JSON lines file: its first line is no object")
            any_read = True
            yield _record(number, bare, config)
    except DamageError as error:
        if not any_read:
            raise ShardError(f"no line can be read: {error}") from None
        yield Record(number + 1, reason=error.reason)


def _record(number: int, line: bytes | None, config: ExtractConfig) -> Record:
    if line is None:
        return Record(number, reason="too_large")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return Record(number, reason="bad_record")
    return row_record(number, row, config) if isinstance(row, dict) else Record(number, reason="bad_record")
