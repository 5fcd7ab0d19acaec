"""An unpacked text or HTML file in, its one record or a record per line out."""

from __future__ import annotations

from collections.abc import Iterator

from storage.errors import ShardError
from tasks.formats.http_response import looks_binary
from tasks.formats.records import ExtractConfig, Record
from tasks.formats.unpacking import DamageError, Unpacked, lines, read_all


def read_text(unpacked: Unpacked, config: ExtractConfig) -> Iterator[Record]:
    """Read a text file as one document, or as one per line that is not empty; `offset` is the line's number from 0.

    Raises:
        ShardError: if nothing of it can be unpacked, or it is no text.
    """
    if config.text_documents == "line":
        return _lines(unpacked, config)
    return _whole(unpacked, config, html=False)


def read_html(unpacked: Unpacked, config: ExtractConfig) -> Iterator[Record]:
    """Read a saved web page as one document.

    Raises:
        ShardError: if it cannot be unpacked, or is no text.
    """
    return _whole(unpacked, config, html=True)


def _whole(unpacked: Unpacked, config: ExtractConfig, *, html: bool) -> Iterator[Record]:
    try:
        body = read_all(unpacked, config.max_bytes)
    except DamageError as error:
        raise ShardError(f"the file cannot be unpacked: {error}") from None
    if looks_binary(body):
        raise ShardError("the file is named as text, and is not text")
    if len(body) > config.max_bytes:
        yield Record(0, reason="too_large")
    else:
        yield Record(0).with_html(body, None, config) if html else Record(0).with_bytes(body, None, config)


def _lines(unpacked: Unpacked, config: ExtractConfig) -> Iterator[Record]:
    number, any_read = 0, False
    try:
        for number, line in enumerate(lines(unpacked, config.max_bytes)):
            if line is not None and not any_read and looks_binary(line):
                raise ShardError("the file is named as text, and is not text")
            any_read = True
            if line is None:
                yield Record(number, reason="too_large")
            elif line.strip():
                yield Record(number).with_bytes(line, None, config)
    except DamageError as error:
        if not any_read:
            raise ShardError(f"no line can be read: {error}") from None
        yield Record(number + 1, reason=error.reason)
