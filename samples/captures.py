"""Postings in; what the crawler got for each (HTTP status, headers, bytes) and what the gold says of it, out."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from page_files import Page
from planning import Posting, Site, Web, pick
from rendering import render, render_text

# Kinds whose text no reader can be expected to recover.
_UNREADABLE = {"mojibake", "truncated", "after_garbage", "revisit"}


@dataclass(frozen=True)
class Capture:
    """One answer of a server, with its row in the gold file."""

    crawl: str
    host: str
    path: str
    kind: str
    expected: str
    language: str = ""
    topic: str = ""
    remark: str = ""
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html; charset=UTF-8"),)
    body: bytes = b""
    text: str = ""
    page: Page | None = None
    copy_of: tuple[str, str] | None = None
    degree: str = ""

    @property
    def url(self) -> str:
        """Return the whole address."""
        return f"https://{self.host}{self.path}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the sentences that a reader of this capture can find in it."""
        return self.page.sentences if self.page else ()

    @property
    def transfer(self) -> str:
        """Return how the body travelled: "", "gzip", "chunked" or "gzip chunked"."""
        if not self.body or self.kind in {"truncated", "not_html", "redirect"}:
            return ""
        return ("", "", "chunked", "gzip", "", "gzip chunked", "", "gzip")[pick(self.url, 8)]


def captured(posting: Posting, web: Web) -> Capture:
    """Return what the crawler got for a posting."""
    origin = posting.copy_of
    same = posting if origin is None or posting.degree != "exact" else origin
    return Capture(
        crawl=posting.crawl,
        host=posting.site.host,
        path=posting.path,
        kind=posting.kind,
        expected=posting.expected,
        language=posting.label,
        topic=posting.page.topic,
        remark=posting.remark,
        headers=_headers(same.site),
        body=_encoded(posting, render(same, web)),
        text=render_text(posting, web),
        page=None if posting.kind in _UNREADABLE else posting.page,
        copy_of=(origin.url, origin.crawl) if origin and posting.degree else None,
        degree=posting.degree,
    )


def stored_gzip(data: bytes) -> bytes:
    """Return the data as a gzip member without compression, whose bytes depend on no version of zlib."""
    blocks = [data[start : start + 0xFFFF] for start in range(0, len(data), 0xFFFF)] or [b""]
    parts = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff"]
    for number, block in enumerate(blocks, start=1):
        sizes = len(block).to_bytes(2, "little") + (len(block) ^ 0xFFFF).to_bytes(2, "little")
        parts += [bytes([number == len(blocks)]), sizes, block]
    return b"".join(parts) + zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")


def chunked(data: bytes) -> bytes:
    """Return the data in HTTP chunks, of a size that splits characters."""
    pieces = [data[start : start + 4093] for start in range(0, len(data), 4093)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _headers(site: Site) -> tuple[tuple[str, str], ...]:
    charset = "" if site.declared == "meta" else f"; charset={site.charset}"
    name = "content-type" if site.layout == "portal" else "Content-Type"
    return ((name, f"text/html{charset}"),)


def _encoded(posting: Posting, page: str) -> bytes:
    """Return the page's bytes; characters that a site's encoding lacks become references."""
    site = posting.copy_of.site if posting.copy_of and posting.degree == "exact" else posting.site
    encoded = page.encode(site.charset, "xmlcharrefreplace")
    if posting.kind == "mojibake":
        return "".join(_misread(byte, latin="ISO-8859-1" in posting.remark) for byte in encoded).encode()
    return encoded


def _misread(byte: int, *, latin: bool) -> str:
    """Return one byte read as ISO-8859-1, or as windows-1252 the way browsers do."""
    if latin:
        return chr(byte)
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)
