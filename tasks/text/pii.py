"""Texts in, the places of e-mail addresses, public IP addresses and phone numbers out; nothing is rewritten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

import numpy as np
import polars as pl
import pyarrow as pa

from storage.schemas import SPANS

Span = tuple[int, int, str]

# Every repetition is bounded, so that no text takes more than linear time.
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,63})@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9@-])"
)
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)", re.ASCII)
_PHONE = re.compile(
    r"(?<![\w.,+/(-])(?:(?:\+ ?)?\d{1,3}[ .-]?)?(?:\(\d{1,5}\)[ ./-]{0,2})?\d(?:[ ./\u00a0\u2011-]{0,3}\d){5,15}"
    r"(?![\w%\u20ac$\u00a3])",
    re.ASCII,
)

# Few texts have any of these: an @, four numbers with points between, seven digits with little between.
_WORTH_A_LOOK = r"@|[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|(?:[0-9][ ()./\x{A0}\x{2011}-]{0,3}){6}[0-9]"

_FEWEST_DIGITS, _MOST_DIGITS = 8, 15  # with the country code; the latter is ITU-T E.164's
# National numbers are told from other numbers by their form: an area code in brackets; three digits, three and four
# with one separator, as in North America; or a trunk prefix 0 and then one group or more.
_NATIONAL = re.compile(
    r"(?:8 ?)?\(0?\d{1,5}\)[ -]?\d{2,4}(?:[ ./-]?\d{2,4}){1,3}"
    r"|[2-9]\d\d([-. ])[2-9]\d\d\1\d{4}"
    r"|0[1-9]\d{0,4}(?:[ /-]|\. ?|/ )\d{2,8}(?:[ .-]\d{2,6}){0,4}"
)
_ROUND_THOUSANDS = re.compile(r"\+ ?\d{1,3}(?:[ .]\d{3})*[ .]000")
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}(?!\d)")
_YEARS = re.compile(r"(?:1\d|20)\d\d ?[-/] ?(?:1\d|20)\d\d")
_ISBN = re.compile(r"ISB?S?N(?:-1[03])?:? ?\Z", re.IGNORECASE)


def pii_spans(texts: Sequence[str] | pl.Series) -> pa.Array:
    """Return the `pii` column of the texts: spans (start, end, kind) in characters, in order and without overlap.

    Kinds are email, ip (IPv4 addresses that are reachable from anywhere) and phone. Phone numbers are taken only in
    forms that dates, prices and book numbers do not have: with a + and a country code, or grouped in a national way.
    """
    column = pl.Series(values=texts, dtype=pl.String).fill_null("")
    rows = column.str.contains(_WORTH_A_LOOK).arg_true().to_list()
    found = [list(_spans(text)) for text in column[rows]]
    counts = np.zeros(len(column) + 1, dtype=np.int32)
    counts[np.array(rows, dtype=np.int64) + 1] = [len(spans) for spans in found]
    starts, ends, kinds = zip(*(span for spans in found for span in spans), strict=True) if any(found) else ((), (), ())
    fields = [SPANS.value_type.field(index) for index in range(3)]
    values = [pa.array(column, field.type) for column, field in zip((starts, ends, kinds), fields, strict=True)]
    spans = pa.StructArray.from_arrays(values, fields=fields)
    return pa.ListArray.from_arrays(np.cumsum(counts, dtype=np.int32), spans, type=SPANS)


def _spans(text: str) -> Iterator[Span]:
    end = 0
    for span in sorted((*_emails(text), *_addresses(text), *_phones(text))):
        if span[0] >= end:
            yield span
            end = span[1]


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        for found in _EMAIL.finditer(text):
            yield found.start(), found.end(), "email"


def _addresses(text: str) -> Iterator[Span]:
    for found in _IP.finditer(text):
        octets = found[0].split(".")
        if all(octet == str(int(octet)) and int(octet) < 256 for octet in octets) and IPv4Address(found[0]).is_global:
            yield found.start(), found.end(), "ip"


def _phones(text: str) -> Iterator[Span]:
    for found in _PHONE.finditer(text):
        if _is_phone(found[0], text[max(found.start() - 9, 0) : found.start()]):
            yield found.start(), found.end(), "phone"


def _is_phone(number: str, before: str) -> bool:
    digits = sum(map(str.isdigit, number))
    if number.startswith("+"):
        return _FEWEST_DIGITS <= digits <= _MOST_DIGITS and not _ROUND_THOUSANDS.fullmatch(number)
    if _DATE.match(number) or _YEARS.match(number) or _ISBN.search(before):
        return False
    return 9 <= digits <= 12 and _NATIONAL.fullmatch(number) is not None
