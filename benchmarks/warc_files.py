"""Addresses with their HTML in, WARC files of bounded size out; and captures of such files, to be fetched again."""

from __future__ import annotations

import zlib
from base64 import b32encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha1
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from fastwarc.warc import ArchiveIterator, WarcRecordType

_AGENT = "synthetic-crawl/1.0"


class Capture(NamedTuple):
    """A page as it was fetched."""

    url: str
    body: bytes


def write_files(
    folder: Path, crawl: str, captures: Iterable[Capture], begun: datetime, limit: int
) -> list[dict[str, object]]:
    """Write captures in their order, one gzip member per record, a second apart; return name, records and bytes.

    A file has at most `limit` bytes, or one capture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[dict[str, object]] = []
    members: list[bytes] = []
    size = 0
    when = begun.replace(tzinfo=UTC)

    def close() -> None:
        name = f"{crawl}-{len(files):05d}.warc.gz"
        content = b"".join([_member(_warcinfo(name, crawl, when)), *members])
        (folder / name).write_bytes(content)
        files.append({"name": name, "records": len(members), "bytes": len(content)})

    for capture in captures:
        when += timedelta(seconds=1)
        member = _member(_response(capture, when))
        if members and size + len(member) > limit - 2**10:  # less the warcinfo
            close()
            members, size = [], 0
        members.append(member)
        size += len(member)
    if members:
        close()
    return files


def recaptured(folder: Path, count: int, rng: np.random.Generator) -> list[Capture]:
    """Return so many captures of a crawl as they were, chosen at random among its addresses."""
    found = {}
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                found[record.headers["WARC-Target-URI"]] = record.reader.read()
    urls = sorted(found)
    chosen = rng.permutation(len(urls))[:count].tolist()
    return [Capture(urls[place], found[urls[place]]) for place in chosen]


def _response(capture: Capture, when: datetime) -> bytes:
    lines = [
        "HTTP/1.1 200 OK",
        f"Date: {format_datetime(when, usegmt=True)}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(capture.body)}",
    ]
    fields = {
        "WARC-Target-URI": capture.url,
        "WARC-IP-Address": f"198.51.100.{1 + zlib.crc32((urlsplit(capture.url).hostname or '').encode()) % 254}",
        "WARC-Payload-Digest": _digest(capture.body),
        "WARC-Identified-Payload-Type": "text/html",
        "Content-Type": "application/http; msgtype=response",
    }
    return _record("response", capture.url, when, fields, "\r\n".join([*lines, "", ""]).encode() + capture.body)


def _warcinfo(name: str, crawl: str, when: datetime) -> bytes:
    block = f"software: {_AGENT}\r\nformat: WARC File Format 1.1\r\nisPartOf: {crawl}\r\n".encode()
    fields = {"WARC-Filename": name, "Content-Type": "application/warc-fields"}
    return _record("warcinfo", name, when, fields, block)


def _record(kind: str, key: str, when: datetime, fields: dict[str, str], block: bytes) -> bytes:
    stamp = when.strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid5(NAMESPACE_URL, f'{kind} {stamp} {key}')}>",
        "WARC-Date": stamp,
        **fields,
        "WARC-Block-Digest": _digest(block),
        "Content-Length": str(len(block)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"WARC/1.1\r\n{head}\r\n".encode() + block + b"\r\n\r\n"


def _member(record: bytes) -> bytes:
    """Return one gzip member without a date or a platform in its header."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    trailer = zlib.crc32(record).to_bytes(4, "little") + len(record).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + packer.compress(record) + packer.flush() + trailer


def _digest(data: bytes) -> str:
    return "sha1:" + b32encode(sha1(data, usedforsecurity=False).digest()).decode()
