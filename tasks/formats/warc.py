"""An unpacked WARC or WET stream in, a record for every page and for everything that should have been one out.

fastwarc reads WARC faster than this, but it silently ends at an empty gzip member, skips records whose lines end in LF
alone, gives all records of a many-record member the same place, and cannot go on after a record with a wrong length
(2.0.1). Extraction takes many times as long as reading, so nothing is won by it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from storage.errors import ShardError
from tasks.formats.http_response import HTML_TYPES, looks_binary, parse_content_type, parse_headers, read_response
from tasks.formats.records import ExtractConfig, Reason, Record, parse_date, tidy_url
from tasks.formats.unpacking import DamageError, Unpacked

_SKIPPED_TYPES = ("warcinfo", "request", "metadata")  # they say something about a page, and are none
_MAX_HEAD = 64 * 2**10
_MAX_HELD = 1000  # rows kept back while nothing could be read yet
_READ = 64 * 2**10
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}[ \t]*\r?\n")
_LENGTH = re.compile(r"[0-9]{1,15}")


@dataclass
class _Raw:
    """One record as it is stored; its block is cut to max_bytes + 1, and reason is set if it is damaged."""

    offset: int | None = None
    length: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    block: bytes = b""
    reason: Reason | None = None
    detail: str = ""

    @property
    def kind(self) -> str:
        return self.headers.get("warc-type", "").lower()


def read_warc(unpacked: Unpacked, config: ExtractConfig) -> Iterator[Record]:
    """Read a WARC or WET file up to its end or to where it breaks.

    `offset` is where the record's member starts, plus the unpacked bytes before the record if the member holds several;
    `length` is the member's stored length, or the record's own if it shares the member. A damaged record in a member
    of its own is one row and the next member is read; where the packing or a plain file breaks, one row ends the file.

    Raises:
        ShardError: if not even one record can be read.
    """
    held: list[Record] = []
    any_read, detail = False, "it is empty"
    for raw in _raw_records(unpacked, config.max_bytes):
        any_read = any_read or bool(raw.headers)
        detail = raw.detail or detail
        if raw.reason is None and raw.kind in _SKIPPED_TYPES:
            continue
        held.append(_record(raw, config))
        if any_read:
            yield from held
            held = []
        elif len(held) == _MAX_HELD:
            break
    if not any_read:
        raise ShardError(f"no WARC record can be read: {detail}")
    yield from held


def _raw_records(unpacked: Unpacked, limit: int) -> Iterator[_Raw]:
    """Yield the records one after the other, each only after all of it was read and its checksum was right."""
    last, lost = -1, False
    while True:
        raw = _Raw()
        try:
            if (lost and not unpacked.next_member()) or not _find_record(unpacked):
                return
            raw.offset = last = max(unpacked.member + unpacked.inner, last + 1)
            lost = not _read_raw(unpacked, raw, limit)
        except DamageError as error:
            if raw.offset is None:
                raw.offset = max(unpacked.member + unpacked.inner, last + 1)
            raw.reason, raw.detail = error.reason, str(error)
            yield raw
            return
        yield raw
        if lost and unpacked.plain:
            return


def _find_record(unpacked: Unpacked) -> bool:
    """Go to the next byte that is no line end, in this member or a later one; False at the end of the file."""
    while True:
        _skip_blank(unpacked)
        if unpacked.peek(1):
            return True
        if not unpacked.next_member():
            return False


def _skip_blank(unpacked: Unpacked) -> int:
    skipped = 0
    while (ahead := unpacked.peek(4)) and (blank := len(ahead) - len(ahead.lstrip(b"\r\n"))):
        skipped += len(unpacked.read(blank))
    return skipped


def _read_raw(unpacked: Unpacked, raw: _Raw, limit: int) -> bool:
    """Read one record into raw; False if it has no usable head, so that nobody knows where it ends."""
    member, shares_member = unpacked.member, unpacked.inner > 0
    head = _read_head(unpacked)
    headers = parse_headers(head) if head else {}
    size = headers.get("content-length", "")
    if head is None or not _LENGTH.fullmatch(size):
        raw.reason, raw.detail = "bad_record", "a record does not begin with WARC/ and a Content-Length"
        return False
    raw.headers = headers
    raw.reason = _read_block(unpacked, raw, int(size), 0 if raw.kind in _SKIPPED_TYPES else limit + 1)
    own = len(head) + int(size) + _skip_blank(unpacked)
    if raw.reason is None:
        alone = not (shares_member or unpacked.plain or unpacked.peek(1))
        raw.length = unpacked.stored_end - member if alone else own
    return True


def _read_head(unpacked: Unpacked) -> bytes | None:
    size = 4096
    while size <= _MAX_HEAD:
        ahead = unpacked.peek(size)
        if not _VERSION.match(ahead):
            return None
        if (end := _HEAD_END.search(ahead)) is not None:
            return unpacked.read(end.end())
        if len(ahead) < size:
            unpacked.read(len(ahead))
            unpacked.peek(1)  # tells of the damage, if it is for damage that the head has no end
            return None
        size *= 2
    return None


def _read_block(unpacked: Unpacked, raw: _Raw, size: int, keep: int) -> Reason | None:
    """Read a block of this size into raw and keep its first bytes; the reason if there is less of it.

    A block may go on in the next member, which some packers make every so many bytes, but not in one that begins with a
    record of its own.
    """
    kept: list[bytes] = []
    reason: Reason | None = None
    while size:
        data = unpacked.read(min(size, _READ))
        if not data:
            if not unpacked.next_member():
                reason, raw.detail = "truncated", "the file ends within a record"
                break
            if unpacked.peek(5) == b"WARC/":
                reason, raw.detail = "bad_record", "a record is shorter than its Content-Length"
                break
        size -= len(data)
        if keep > 0:
            kept.append(data[:keep])
            keep -= len(data)
    raw.block = b"".join(kept)
    return reason


def _record(raw: _Raw, config: ExtractConfig) -> Record:
    headers = raw.headers
    url, date = tidy_url(headers.get("warc-target-uri")), parse_date(headers.get("warc-date"))
    record = Record(raw.offset or 0, raw.length, url, date, reason=raw.reason)
    if raw.reason is None and raw.kind not in {"response", "resource", "conversion"}:
        return record._replace(reason="revisit" if raw.kind == "revisit" else "unsupported_record")
    return record if raw.reason else _with_content(record, raw, config)


def _with_content(record: Record, raw: _Raw, config: ExtractConfig) -> Record:
    media, charset = parse_content_type(raw.headers.get("content-type", ""))
    if raw.kind == "response" and (media == "application/http" or raw.block.startswith(b"HTTP/")):
        body = read_response(raw.block, config.max_bytes)
        return record._replace(reason=body.reason) if body.reason else record.with_html(*body[:2], config)
    is_text = media in HTML_TYPES or (raw.kind == "conversion" and media in {"text/plain", ""})
    if not is_text or looks_binary(raw.block):
        return record._replace(reason="not_html")
    if len(raw.block) > config.max_bytes:
        return record._replace(reason="too_large")
    if media in HTML_TYPES:
        return record.with_html(raw.block, charset, config)
    return record.with_bytes(raw.block, charset or "utf-8", config)
