"""Captures in; the bytes of WARC 1.1 and WET files out."""

from __future__ import annotations

import zlib
from base64 import b32encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha1
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import zstandard
from captures import Capture, chunked, stored_gzip
from planning import pick

_STARTED = {"2024-10": datetime(2024, 10, 5, 8, tzinfo=UTC), "2024-11": datetime(2024, 11, 9, 21, 30, tzinfo=UTC)}
_AGENT = "sample-crawler/1.0 (+https://crawler.example/)"
# Between two members of the file whose damage is "garbage".
_GARBAGE = b"\x00\x00\x00\x00disk error: sector 4711 not readable\r\n\xff\xfe\x1f\x8b\x00"


def crawl_file(file: dict[str, Any], captures: Iterable[Capture]) -> bytes:
    """Return one crawl file: its warcinfo record and the records of its captures, in the order given.

    Each record is one gzip member or zstd frame, or stands as it is, by the ending of the file's name.
    """
    name, damage = file["name"], file.get("damage")
    start = _STARTED[file["crawl"]] + timedelta(minutes=pick(name, 600))
    members = [_member(name, _warcinfo(file, start))]
    last = b""
    for number, capture in enumerate(captures, start=1):
        when = start + timedelta(seconds=41 * number)
        records = [_conversion(capture, when)] if ".wet" in name else _exchange(capture, when)
        if capture.kind == "truncated":
            # Cut in the middle of the page, in a member whose bytes do not depend on the version of zlib.
            last = stored_gzip(records[1])[: len(records[1]) * 11 // 20]
            records = records[:1]
        if capture.kind == "after_garbage":
            members.append(_GARBAGE)
        members += [_member(name, record) for record in records]
    if bool(last) != (damage == "truncated") or (_GARBAGE in members) != (damage == "garbage"):
        raise ValueError(f"{name}: its captures and its damage do not agree")
    return b"".join([*members, last])


def plain_content(data: bytes) -> bytes:
    """Return a crawl file's records uncompressed, so that files of different zlib versions can be compared."""
    if data.startswith(b"WARC/"):
        return data
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    parts = []
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            parts.append(member.decompress(data))
        except zlib.error:
            start = data.find(b"\x1f\x8b\x08", 1)
            parts.append(data[:start] if start > 0 else data)
            data = data[start:] if start > 0 else b""
        else:
            data = member.unused_data
    return b"".join(parts)


def _member(name: str, record: bytes) -> bytes:
    if name.endswith(".zst"):
        return zstandard.ZstdCompressor(level=19).compress(record)
    if name.endswith(".gz"):
        # Written by hand because gzip.compress puts the platform into the header.
        body = zlib.compressobj(9, zlib.DEFLATED, -15)
        trailer = zlib.crc32(record).to_bytes(4, "little") + len(record).to_bytes(4, "little")
        return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + body.compress(record) + body.flush() + trailer
    return record


def _warcinfo(file: dict[str, Any], when: datetime) -> bytes:
    fields = {
        "software": "samples/pack.py",
        "format": "WARC File Format 1.1",
        "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
        "isPartOf": f"sample-{file['crawl']}",
        "description": "A made-up web for trying things out; CC0 1.0",
        "http-header-user-agent": _AGENT,
        "robots": "classic",
    }
    block = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    about = {"WARC-Filename": file["name"], "Content-Type": "application/warc-fields"}
    return _record("warcinfo", file["name"], when, about, block)


def _exchange(capture: Capture, when: datetime) -> list[bytes]:
    """Return the request, the response (or revisit) and, for most pages, the metadata record of a capture."""
    revisit = capture.kind == "revisit"
    answer_type = "revisit" if revisit else "response"
    key = f"{capture.crawl} {capture.url}"
    answer_id = _record_id(answer_type, key)
    about = {"WARC-Target-URI": capture.url}
    response, payload = _response(capture, when)
    received = {
        **about,
        "WARC-IP-Address": f"198.51.100.{1 + pick(capture.host, 254)}",
        "WARC-Payload-Digest": _digest(payload),
        "Content-Type": "application/http; msgtype=response",
    }
    if revisit and capture.copy_of:
        received["WARC-Profile"] = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
        received["WARC-Refers-To-Target-URI"] = capture.copy_of[0]
    elif not revisit:
        received["WARC-Identified-Payload-Type"] = _media_type(capture.body)
    about["WARC-Concurrent-To"] = answer_id
    sent = {**about, "Content-Type": "application/http; msgtype=request"}
    records = [
        _record("request", key, when, sent, _request(capture)),
        _record(answer_type, key, when, received, response),
    ]
    if pick("metadata" + capture.url, 3):
        note = f"fetchTimeMs: {40 + pick(capture.url, 900)}\r\nhopsFromSeed: {pick(capture.path, 4)}\r\n".encode()
        records.append(_record("metadata", key, when, {**about, "Content-Type": "application/warc-fields"}, note))
    return records


def _conversion(capture: Capture, when: datetime) -> bytes:
    fields = {
        "WARC-Target-URI": capture.url,
        "WARC-Refers-To": _record_id("response", f"{capture.crawl} {capture.url}"),
        "WARC-Identified-Content-Language": capture.language.partition("_")[0],
        "Content-Type": "text/plain",
    }
    return _record("conversion", f"{capture.crawl} {capture.url}", when, fields, capture.text.encode())


def _record(kind: str, key: str, when: datetime, fields: dict[str, str], block: bytes) -> bytes:
    lines = {
        "WARC-Type": kind,
        "WARC-Record-ID": _record_id(kind, key),
        "WARC-Date": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **fields,
        "WARC-Block-Digest": _digest(block),
        "Content-Length": str(len(block)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"WARC/1.1\r\n{head}\r\n".encode() + block + b"\r\n\r\n"


def _request(capture: Capture) -> bytes:
    lines = [f"GET {capture.path} HTTP/1.1", f"Host: {capture.host}", f"User-Agent: {_AGENT}"]
    lines += ["Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.5", "Accept-Encoding: gzip", "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode()


def _response(capture: Capture, when: datetime) -> tuple[bytes, bytes]:
    """Return the HTTP message, and its payload as the WARC standard means it: coded content, without chunks."""
    status, body = ("304 Not Modified", b"") if capture.kind == "revisit" else (capture.status, capture.body)
    lines = [f"HTTP/1.1 {status}", "Server: nginx", f"Date: {format_datetime(when, usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in capture.headers]
    payload = body
    if "gzip" in capture.transfer and body:
        payload = body = stored_gzip(body)
        lines.append("Content-Encoding: gzip")
    if "chunked" in capture.transfer and body:
        lines.append("Transfer-Encoding: chunked")
        body = chunked(body)
    else:
        lines.append(f"Content-Length: {len(body)}")
    if pick(capture.host, 3) == 0:
        lines.append(f"Set-Cookie: session={sha1(capture.url.encode(), usedforsecurity=False).hexdigest()}; Path=/")
    return "\r\n".join([*lines, "", ""]).encode() + body, payload


def _media_type(body: bytes) -> str:
    for start, media_type in ((b"%PDF", "application/pdf"), (b"\x89PNG", "image/png"), (b"{", "application/json")):
        if body.startswith(start):
            return media_type
    return "text/html" if body.startswith(b"<") else "text/plain"


def _record_id(kind: str, key: str) -> str:
    return f"<urn:uuid:{uuid5(NAMESPACE_URL, f'https://crawler.example/{kind}/{key}')}>"


def _digest(data: bytes) -> str:
    return "sha1:" + b32encode(sha1(data, usedforsecurity=False).digest()).decode()
