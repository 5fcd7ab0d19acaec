"""What must never be in a corpus and documents in, the same documents without the texts of those that it names out."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import Annotated, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from storage.fingerprint import Settings
from storage.schemas import ID
from tasks.text.pii import pii_spans

WITHHELD = "withheld"
_WITHHELD_COLUMNS = {"title": None, "html_lang": None, "alternates": None, "text": None, "reason": WITHHELD}

_DIGEST = re.compile(r"[0-9a-f]{32}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+{_LABEL}")  # RFC 1035's lengths
_LONGEST_LABEL = 63
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://")

# What does not look like this is no address, and is only compared as it is.
_ADDRESS = (
    r"^(?<scheme>[A-Za-z][A-Za-z0-9+.-]*:)?//(?<user>[^/?\\]*@)?(?<host>[^/?\\@:\[\]]*|\[[^/?\\@\[\]]*\])"
    r"(?::(?<port>[0-9]*))?(?<rest>[/?\\](?s:.*))?$"
)
_BEFORE_HOST = r"^([A-Za-z][A-Za-z0-9+.-]*:)?//"
_DEFAULT_PORTS = ["http:80", "https:443", "ftp:21"]

_PHONE = re.compile(r"[0-9 +()./\u00a0\u2011-]+")  # what `pii_spans` takes for a part of a number
_TRUNK = re.compile(r"^(\+[^(]*)\(0\)")  # +44 (0)20: the 0 is dialled only without the +44
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15  # the fewest that `pii_spans` finds, without the 0; E.164's most


class Removals(Settings):
    """What must never be in a corpus, recorded without the texts themselves; equal sets are equal models.

    Digests of phone and IP numbers can be guessed by trying all: keep the list as carefully as the corpus.
    """

    documents: Annotated[list[str], Field(description="doc_id of documents, 32 hexadecimal digits")] = []
    urls: Annotated[list[str], Field(description="Addresses of pages, in all crawls")] = []
    hosts: Annotated[list[str], Field(description="Hosts, each with its subdomains")] = []
    texts: Annotated[list[str], Field(description="Digests of whole texts of documents")] = []
    personal: Annotated[list[str], Field(description="Digests of e-mail addresses, phone and IP numbers")] = []

    @field_validator("documents", "texts", "personal")
    @classmethod
    def _check_digests(cls, values: list[str]) -> list[str]:
        return _unique([value.strip().lower() for value in values], _DIGEST.fullmatch, "32 hexadecimal digits")

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, values: list[str]) -> list[str]:
        return _unique(normal_urls(_strings(values)), _ABSOLUTE.match, "an address such as https://example.org/page")

    @field_validator("hosts")
    @classmethod
    def _check_hosts(cls, values: list[str]) -> list[str]:
        hosts = _normal_hosts(_strings(values).str.strip_chars())
        return _unique(hosts, _HOST.fullmatch, "a host such as example.org, without scheme, port, path or asterisk")

    def __or__(self, other: Removals) -> Self:
        """All that either names."""
        return self._combine(other, set.union)

    def __sub__(self, other: Removals) -> Self:
        """What this names and the other does not, entry by entry: a host does not stand for its subdomains here."""
        return self._combine(other, set.difference)

    def __le__(self, other: Removals) -> bool:
        """Whether the other names every entry of this."""
        return not self - other

    def __bool__(self) -> bool:
        """Whether it names anything."""
        return any(getattr(self, kind) for kind in type(self).model_fields)

    def _combine(self, other: Removals, how: Callable[[set[str], set[str]], set[str]]) -> Self:
        kinds = type(self).model_fields
        entries = {kind: sorted(how(set(getattr(self, kind)), set(getattr(other, kind)))) for kind in kinds}
        return self.model_copy(update=entries)


def text_digest(text: str) -> str:
    """The digest of a document's whole text, exactly as the `documents` table has it, for `Removals.texts`."""
    return _digest(text.encode("utf-8", "surrogatepass"), b"babelmill text")


def personal_digest(value: str) -> str:
    """The digest of an e-mail address, IPv4 address or phone number, for `Removals.personal`.

    Letters of an e-mail address count as small; of a phone number only the digits count, so that one with its country
    code is another than the same without. The digests of all phone numbers can be tried in no time: they hide a
    number from a reader, not from a search, and are to be kept as carefully as the corpus.

    Raises:
        ValueError: if the value is none of these.
    """
    return _digest(_plain(value.strip()).encode("utf-8", "surrogatepass"), b"babelmill person")


def normal_urls(urls: pl.Series) -> pl.Series:
    """The addresses in the form in which they are compared; what looks like no address only loses its fragment.

    Scheme and host are in small letters, a host beyond ASCII in its xn-- form and without a final dot; there is no
    fragment and no default port; an empty path is a slash. User, path and query stay as they are.
    """
    scheme, port = pl.col("scheme").str.to_lowercase(), pl.col("port")
    implied = (port == "") | (scheme + port).is_in(_DEFAULT_PORTS)
    address = pl.concat_str(
        scheme,
        pl.lit("//"),
        "user",
        "host",
        pl.when(implied).then(None).otherwise(":" + port),
        pl.when(pl.col("rest").fill_null("?").str.starts_with("?")).then(pl.lit("/")),
        "rest",
        ignore_nulls=True,
    )
    return _parts(urls).select(pl.when(pl.col("host").is_null()).then("url").otherwise(address)).to_series()


def matches_by_kind(documents: pa.Table, removals: Removals) -> dict[str, np.ndarray]:
    """For each kind of entry that the removals have, whether (bool) it names each row of a `documents` table.

    Personal data is looked for in titles and texts. A null names nothing.
    """
    found: dict[str, np.ndarray] = {}
    for kind, match in _MATCHES.items():
        entries = getattr(removals, kind)
        if entries:
            found[kind] = match(documents, entries)
    return found


def matches(documents: pa.Table, removals: Removals) -> pa.Array:
    """Whether the removals name each row of a `documents` table."""
    found = np.zeros(documents.num_rows, np.bool_)
    for mask in matches_by_kind(documents, removals).values():
        found |= mask
    return pa.array(found)


def withhold(documents: pa.Table, removals: Removals) -> pa.Table:
    """The `documents` table with the named rows left without what was read of them, for the reason "withheld".

    Where they came from stays. A table of which nothing is named is returned as it is.
    """
    named = matches(documents, removals)
    if not pc.any(named, min_count=0).as_py():
        return documents
    for name, value in _WITHHELD_COLUMNS.items():
        index = documents.schema.get_field_index(name)
        field = documents.schema.field(index)
        documents = documents.set_column(index, field, pc.if_else(named, pa.scalar(value, field.type), documents[name]))
    return documents


def _by_id(documents: pa.Table, entries: Sequence[str]) -> np.ndarray:
    return _among(documents["doc_id"], pa.array([bytes.fromhex(entry) for entry in entries], ID))


def _by_url(documents: pa.Table, entries: Sequence[str]) -> np.ndarray:
    return _among(normal_urls(_strings(documents["url"])).to_arrow(), pa.array(entries, pa.large_string()))


def _by_host(documents: pa.Table, entries: Sequence[str]) -> np.ndarray:
    urls = _strings(documents["url"])
    # an address may have been stored without its scheme
    absolute = pl.when(pl.col("url").str.contains(_BEFORE_HOST)).then("url").otherwise("//" + pl.col("url"))
    hosts = _parts(urls.to_frame("url").select(absolute).to_series())["host"]
    found = np.zeros(len(hosts), np.bool_)
    for labels in sorted({entry.count(".") + 1 for entry in entries}):
        tails = hosts.str.extract(rf"((?:[^.]*\.){{{labels - 1}}}[^.]*)$")
        same = [entry for entry in entries if entry.count(".") + 1 == labels]
        found |= tails.is_in(same).fill_null(value=False).to_numpy()
    return found


def _by_text(documents: pa.Table, entries: Sequence[str]) -> np.ndarray:
    known, texts = set(entries), documents["text"].to_pylist()
    return np.fromiter((text is not None and text_digest(text) in known for text in texts), np.bool_, len(texts))


def _by_person(documents: pa.Table, entries: Sequence[str]) -> np.ndarray:
    known, found = set(entries), np.zeros(documents.num_rows, np.bool_)
    for name in ("title", "text"):
        texts = _strings(documents[name])
        spans = pii_spans(texts)
        for row in np.flatnonzero(pc.list_value_length(spans).to_numpy()).tolist():
            text = texts[row]
            values = {text[span["start"] : span["end"]] for span in spans[row].as_py()}
            found[row] |= any(personal_digest(value) in known for value in values)
    return found


_MATCHES: dict[str, Callable[[pa.Table, Sequence[str]], np.ndarray]] = {
    "documents": _by_id,
    "urls": _by_url,
    "hosts": _by_host,
    "texts": _by_text,
    "personal": _by_person,
}


def _among(column: pa.Array | pa.ChunkedArray, values: pa.Array) -> np.ndarray:
    return np.asarray(pc.is_in(column, value_set=values).to_numpy(zero_copy_only=False))


def _strings(values: Sequence[str] | pa.ChunkedArray) -> pl.Series:
    return pl.Series(values=values, dtype=pl.String)


def _parts(urls: pl.Series) -> pl.DataFrame:
    """Each address without its fragment (url), its scheme, user, normal host, port and rest; null what it has not."""
    plain = urls.str.replace(r"(?s)#.*", "").str.strip_chars()
    parts = plain.str.extract_groups(_ADDRESS).struct.unnest()
    return parts.with_columns(plain.alias("url"), _normal_hosts(parts["host"]).alias("host"))


def _normal_hosts(hosts: pl.Series) -> pl.Series:
    small = hosts.str.to_lowercase()
    rows = small.str.contains(r"[^\x00-\x7F]").fill_null(value=False).arg_true()
    if len(rows):
        small = small.scatter(rows, _strings([_ascii_host(host) for host in small[rows]]))
    return small.str.strip_chars_end(".")


def _ascii_host(host: str) -> str:
    """A host in its xn-- form (RFC 3492), or as it is where that is none."""
    labels = re.split(r"[.\u3002]", unicodedata.normalize("NFKC", host).lower())
    if max(map(len, labels)) > _LONGEST_LABEL:  # punycode takes time quadratic in the length
        return host
    coded = (label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in labels)
    name = ".".join(coded)
    return name if re.fullmatch(r"[a-z0-9._-]*", name) else host


def _plain(value: str) -> str:
    if "@" in value:
        return value.lower()
    try:
        return str(IPv4Address(value))
    except AddressValueError:
        digits = re.sub("[^0-9]", "", _TRUNK.sub(r"\1", value))
    if not _PHONE.fullmatch(value) or not _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS:
        raise ValueError(f"{value!r} is no e-mail address, IPv4 address or phone number")
    return digits


def _digest(data: bytes, kind: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16, person=kind).hexdigest()


def _unique(values: Iterable[str], good: Callable[[str], object], what: str) -> list[str]:
    unique = sorted(set(values))
    for value in unique:
        if not good(value):
            raise ValueError(f"{value!r} is not {what}")
    return unique
