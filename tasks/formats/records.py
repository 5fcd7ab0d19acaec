"""What every reader yields, one record per document, and tables of the `documents` schema made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.ids import content_ids
from storage.schemas import SCHEMAS
from tasks.text.html import Extractor, Page, clean, decode, extract_html, tidy_text, tidy_title

Reason = Literal[
    "bad_record",  # the record is damaged: its length, header, framing or checksum is wrong, or its line is no JSON
    "truncated",  # the file, or a chunked transfer, ends within the record
    "too_large",  # more bytes than max_bytes, or a file that unpacks beyond all proportion
    "revisit",  # the crawler saw a page that it had stored before
    "unsupported_record",  # a WARC record of a kind that holds no whole document, such as a continuation
    "http_status",  # the server answered with something other than the page
    "not_html",  # an image, a script, a DNS answer ...
    "undecodable",  # a content encoding or a character set in which the bytes make no sense
    "too_complex",  # HTML nested so deeply that extraction would not end in time
    "extraction_failed",  # the extractor gave up
    "no_text_column",  # the row has no such column, or something other than text in it
    "empty",  # there is no text
]

# A table is closed at whichever comes first, so that memory is bounded whatever the file.
_TABLE_ROWS = 1024
_TABLE_BYTES = 16 * 2**20

_MAX_URL_CHARS = 8192  # twice what browsers and servers commonly accept
_COMPACT_DATE = re.compile(r"\d{14}")


class ExtractConfig(Settings):
    """How crawl files become documents."""

    extractor: Annotated[Extractor, Field(description="resiliparse is fast, trafilatura more precise")] = "resiliparse"
    max_bytes: Annotated[int, Field(ge=1024, le=2**28, description="Larger records are not read, unpacked")] = 5 * 2**20
    max_chars: Annotated[int, Field(ge=1, description="Longer texts are cut after a paragraph")] = 1_000_000
    text_column: Annotated[str, Field(min_length=1, description="Text in JSONL and Parquet")] = "text"
    html_column: Annotated[str | None, Field(description="HTML to extract instead, where a row has it")] = None
    url_column: Annotated[str, Field(description="Address in JSONL and Parquet")] = "url"
    date_column: Annotated[str | None, Field(description="Time of the crawl in JSONL and Parquet")] = None
    title_column: Annotated[str | None, Field(description="Title in JSONL and Parquet")] = None
    text_documents: Annotated[Literal["file", "line"], Field(description="What is one document in .txt")] = "file"


class Record(NamedTuple):
    """One row of `documents` before it has its crawl, file and id; exactly one of text and reason is set."""

    offset: int
    length: int | None = None
    url: str | None = None
    fetched_at: datetime | None = None
    title: str | None = None
    html_lang: str | None = None
    alternates: list[str] | None = None
    text: str | None = None
    reason: Reason | None = None

    def with_page(self, page: Page) -> Record:
        """Return the record with what was extracted from its HTML."""
        return self._replace(**page._asdict())

    def with_html(self, body: bytes, charset: str | None, config: ExtractConfig) -> Record:
        """Return the record with the main text of this HTML, or the reason why there is none."""
        return self.with_page(extract_html(body, charset, config.extractor, config.max_chars, self.url))

    def with_bytes(self, body: bytes, charset: str | None, config: ExtractConfig) -> Record:
        """Return the record with this plain text, or the reason why it cannot be used."""
        text = decode(body, charset)
        return self._replace(reason="undecodable") if text is None else self.with_text(text, config)

    def with_text(self, text: str, config: ExtractConfig) -> Record:
        """Return the record with this plain text tidied, or with the reason "empty"."""
        tidy = tidy_text(clean(text), config.max_chars)
        return self._replace(text=tidy or None, reason=None if tidy else "empty")


def tables(records: Iterable[Record], crawl: str, file: str) -> Iterator[pa.Table]:
    """Collect records into tables of the `documents` schema, bounded in rows and in bytes."""
    rows: list[Record] = []
    size = 0
    for record in records:
        rows.append(record)
        size += len(record.text or "")
        if len(rows) == _TABLE_ROWS or size >= _TABLE_BYTES:
            yield _table(rows, crawl, file)
            rows, size = [], 0
    if rows:
        yield _table(rows, crawl, file)


def parse_date(value: object) -> datetime | None:
    """Read a time as crawls write it (ISO 8601, 14 digits, seconds since 1970) as UTC; None if it is none."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value, UTC)
        elif isinstance(value, str) and _COMPACT_DATE.fullmatch(value.strip()):
            moment = datetime.strptime(value.strip(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(str(value).strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError, OSError):
        return None


def tidy_url(value: object) -> str | None:
    """Strip white space and the angle brackets of early WARC writers from an address; None if nothing is left."""
    if not isinstance(value, str):
        return None
    return clean(value[:_MAX_URL_CHARS]).strip().removeprefix("<").removesuffix(">") or None


def row_record(number: int, row: dict[str, object], config: ExtractConfig) -> Record:
    """Read one row of JSONL or Parquet, whose offset is its number."""
    title = row.get(config.title_column) if config.title_column else None
    record = Record(
        number,
        url=tidy_url(row.get(config.url_column)),
        fetched_at=parse_date(row.get(config.date_column)) if config.date_column else None,
        title=tidy_title(clean(title)) if isinstance(title, str) else None,
    )
    html = row.get(config.html_column) if config.html_column else None
    if isinstance(html, str | bytes):
        return _html_row(record, html, config)
    text = row.get(config.text_column)
    if text is None and config.text_column in row:
        return record._replace(reason="empty")
    if not isinstance(text, str | bytes):
        return record._replace(reason="no_text_column")
    # A character is at least one byte, so what is too long in characters is too large without being encoded.
    if len(text) > config.max_bytes:
        return record._replace(reason="too_large")
    return record.with_text(text, config) if isinstance(text, str) else record.with_bytes(text, None, config)


def _html_row(record: Record, html: str | bytes, config: ExtractConfig) -> Record:
    if len(html) > config.max_bytes:
        return record._replace(reason="too_large")
    if isinstance(html, str):
        html = b"\xef\xbb\xbf" + html.encode("utf-8", "ignore")  # a byte order mark outranks what <meta> once said
    extracted = record.with_html(html, None, config)
    return extracted._replace(title=record.title) if record.title else extracted


def _table(rows: list[Record], crawl: str, file: str) -> pa.Table:
    ids = content_ids(
        [crawl] * len(rows), [file] * len(rows), [str(row.offset) for row in rows], [row.url or "" for row in rows]
    )
    columns = {name: [getattr(row, name) for row in rows] for name in Record._fields}
    columns |= {"crawl": [crawl] * len(rows), "file": [file] * len(rows)}
    schema = SCHEMAS["documents"]
    arrays = [ids if field.name == "doc_id" else pa.array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
