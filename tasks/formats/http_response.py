"""Bytes of an HTTP response as a crawler stored it in, its decoded body and declared character set out."""

from __future__ import annotations

import io
import re
import zlib
from typing import NamedTuple

import zstandard
from fastwarc.stream_io import BrotliReader

from tasks.formats.records import Reason

HTML_TYPES = ("text/html", "application/xhtml+xml")

# 203 is the page as changed by a proxy on the way; 206 is a part of one, and other 2xx have no page.
_PAGE_STATUS = (200, 203)

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})\b")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)
_LOOKS_LIKE_HTML = re.compile(
    rb"[\xef\xbb\xbf\s]{0,1000}+<(?:!doctype\s+html|!--|\?xml|(?:html|head|body|title|meta|div)[\s>])", re.IGNORECASE
)
_MAX_CODINGS = 3
_ZSTD_WINDOW = 2**23  # RFC 9659: what browsers accept in the zstd content coding


class Body(NamedTuple):
    """A decoded body, or the reason why there is none."""

    content: bytes
    charset: str | None
    reason: Reason | None


def read_response(block: bytes, limit: int) -> Body:
    """Take an HTTP response apart: only a whole HTML page of at most `limit` decoded bytes has a body.

    A body that is not in the transfer or content encoding that it declares, but is plainly HTML, is taken as it is:
    many crawlers store bodies decoded and headers as they came.
    """
    end = _HEAD_END.search(block)
    head = block[: end.start()] if end else block
    status = _STATUS.match(head)
    if status is None:
        return _without("bad_record")
    if int(status[1]) not in _PAGE_STATUS:
        return _without("http_status")
    headers = parse_headers(head)
    kind, charset = parse_content_type(headers.get("content-type", ""))
    if kind and kind not in HTML_TYPES:
        return _without("not_html")
    if len(block) > limit:
        return _without("too_large")
    body = block[end.end() :] if end else b""
    if not body.strip():
        return _without("empty")
    return _decoded(body, charset, headers, limit, declared=bool(kind))


def parse_headers(head: bytes) -> dict[str, str]:
    """Read header lines after the first line; names in lower case, of equal names the first."""
    headers: dict[str, str] = {}
    name = ""
    for line in head.decode("utf-8", "replace").split("\n")[1:]:
        if line[:1] in {" ", "\t"} and name:
            headers[name] = f"{headers[name]} {line.strip()}"
            continue
        key, colon, value = line.partition(":")
        name = key.strip().lower() if colon else ""
        if name in headers:
            name = ""
        if name:
            headers[name] = value.strip()
    return headers


def parse_content_type(value: str) -> tuple[str, str | None]:
    """Split a Content-Type into its media type in lower case and the charset it declares."""
    charset = _CHARSET.search(value[:1000])
    return value[:1000].partition(";")[0].strip().lower(), charset[1] if charset else None


def looks_like_html(body: bytes) -> bool:
    """Tell whether bytes begin as an HTML page does."""
    return _LOOKS_LIKE_HTML.match(body) is not None


def looks_binary(body: bytes) -> bool:
    """Tell whether bytes are neither text nor HTML: NUL characters, and not as regularly as UTF-16 has them."""
    start = body[:1024]
    if b"\0" not in start or start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return False
    return max(start[::2].count(0), start[1::2].count(0)) < 0.3 * len(start) / 2


def _decoded(body: bytes, charset: str | None, headers: dict[str, str], limit: int, *, declared: bool) -> Body:
    reason: Reason | None = None
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body, reason = _dechunk(body)
    if reason:
        return _without(reason)
    codings = [name.strip() for name in headers.get("content-encoding", "").lower().split(",")]
    try:
        body = _decode_content(body, codings, limit)
    except EOFError:
        return _without("truncated")
    except (ValueError, OSError, zlib.error, zstandard.ZstdError):
        if not looks_like_html(body):
            return _without("undecodable")
    if len(body) > limit:
        return _without("too_large")
    if looks_binary(body) or not (declared or looks_like_html(body)):
        return _without("not_html")
    return Body(body, charset, None)


def _dechunk(body: bytes) -> tuple[bytes, Reason | None]:
    """Join the chunks; a body that does not begin with a chunk was stored without them."""
    pieces: list[bytes] = []
    at = 0
    while (size := _CHUNK_SIZE.match(body, at)) is not None:
        start, length = size.end(), int(size[1], 16)
        if length == 0:
            return b"".join(pieces), None
        piece = body[start : start + length]
        end = start + length
        if len(piece) < length or body[end : end + 1] not in {b"\r", b"\n"}:
            return (body, None) if not pieces else (b"", "truncated")
        pieces.append(piece)
        at = end + (2 if body[end : end + 2] == b"\r\n" else 1)
    if not pieces:
        return body, None
    # The last, empty chunk is often missing; anything else in its place is damage.
    return (b"".join(pieces), None) if not body[at:].strip() else (b"", "truncated")


def _decode_content(body: bytes, codings: list[str], limit: int) -> bytes:
    """Undo the content codings, last first; raises what their decoders raise, EOFError if the end is missing."""
    named = [coding for coding in codings if coding not in {"", "identity", "none", "utf-8"}]
    if len(named) > _MAX_CODINGS:
        raise ValueError(f"{len(named)} content codings")
    for coding in reversed(named):
        body = _decode_one(body, coding, limit)
    return body


def _decode_one(body: bytes, coding: str, limit: int) -> bytes:
    if coding in {"gzip", "x-gzip"}:
        return _inflate(body, 31, limit)
    if coding == "deflate":
        try:
            return _inflate(body, 15, limit)
        except zlib.error:
            return _inflate(body, -15, limit)  # many servers leave out the zlib header
    if coding == "br":
        return bytes(BrotliReader(io.BytesIO(body)).read(limit + 1))
    if coding == "zstd":
        reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(body)
        return reader.read(limit + 1)
    raise ValueError(coding)


def _inflate(body: bytes, wbits: int, limit: int) -> bytes:
    inflate = zlib.decompressobj(wbits)
    data = inflate.decompress(body, limit + 1)
    if not inflate.eof and len(data) <= limit:
        raise EOFError("the stream ends too early")
    return data


def _without(reason: Reason) -> Body:
    return Body(b"", None, reason)
