"""Bytes of a web page in, its title, declared language, addresses in other languages and main text out."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import urljoin, urlsplit

import numpy as np
import numpy.typing as npt
import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import HTMLTree

Extractor = Literal["resiliparse", "trafilatura"]

MAX_TITLE_CHARS = 500
MAX_CHARS = 1_000_000
MAX_ALTERNATES = 256
MAX_ALTERNATE_CHARS = 2048

# An encoding is not the right one if more than one in ten of the characters outside ASCII make no sense in it.
_MAX_BROKEN = 0.1

# Both may cost about two seconds of one core: 260 ns per element and ancestor of it in main-content extraction, 3.3 ns
# per two attributes of one element in resiliparse's parser and ten times that in trafilatura's (2.0.1 and 2.3.1).
_MAX_ANCESTORS = 8_000_000
_MAX_ATTRIBUTE_PAIRS: dict[Extractor, int] = {"resiliparse": 500_000_000, "trafilatura": 50_000_000}

# trafilatura walks the tree in Python: 50,000 empty paragraphs take it about two seconds.
_MAX_TRAFILATURA_TAGS = 50_000

# Elements that are no text of the page, whatever the extractor's own rules make of them. The words for consent layers
# are looked for in two container elements only: pages also write them into the class of <body>.
_SKIPPED = (
    *("nav", "footer", "aside", "dialog", "button", "select", "textarea"),
    *(f'[role="{role}"]' for role in ("navigation", "dialog", "alertdialog")),
    ".mw-editsection",  # "[edit]" behind every heading of a MediaWiki
    *(
        f'{tag}[{attribute}*="{word}" i]'
        for tag in ("div", "section")
        for attribute in ("class", "id")
        for word in ("cookie", "consent", "gdpr")
    ),
)

# Elements that hold no others, or whose end tag may be left out, by up to eight letters: they do not deepen the tree.
_FLAT = (
    *("area", "base", "br", "col", "colgroup", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta"),
    *("optgroup", "option", "p", "param", "rp", "rt", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track"),
    "wbr",
)
_SEPARATORS = b" \t\n\f\r/="  # an element has no more attributes than these: where a quote ends one, a = came before

_RAW_TEXT = re.compile(rb"<(script|style)\b", re.IGNORECASE)
_RAW_TEXT_END = {name: re.compile(rb"</" + name, re.IGNORECASE) for name in (b"script", b"style")}
_QUOTED_BRACKET = re.compile(rb"=\s*+(?:\"[^\">]*+>|'[^'>]*+>)")
_TAG_WITH_ATTRIBUTES = re.compile(rb"(</?[a-zA-Z][^\s<>/]*+)[^<>]*+>?")
_META_CHARSET = re.compile(rb"<meta\s[^>]{0,200}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{2,40})", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}")
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Page(NamedTuple):
    """What is read from one page; `text` is None exactly when `reason` is set."""

    title: str | None
    html_lang: str | None
    alternates: list[str] | None
    text: str | None
    reason: str | None


def extract_html(
    body: bytes,
    charset: str | None = None,
    extractor: Extractor = "resiliparse",
    max_chars: int = MAX_CHARS,
    url: str | None = None,
) -> Page:
    """Extract the main text of a page, one paragraph per line, without navigation, footers, forms and comments.

    Args:
        body: the page as it was served.
        charset: what the server said of its encoding; it is believed unless the bytes prove it wrong.
        extractor: resiliparse is about ten times faster; trafilatura drops a little more boilerplate.
        max_chars: a longer text is cut after the last paragraph that fits.
        url: the page's address, from which others that it gives may start.

    Returns:
        The page; its reason is undecodable, too_complex, extraction_failed or empty if there is no text.
    """
    decoded = decode(body, charset, markup=True)
    if decoded is None:
        return _without_text("undecodable")
    html = tame(decoded.encode("utf-8", "ignore"), extractor)
    if html is None or (extractor == "trafilatura" and html.count(b"<") > _MAX_TRAFILATURA_TAGS):
        return _without_text("too_complex")
    try:
        tree = HTMLTree.parse_from_bytes(html, "utf-8")
        title, html_lang, alternates = tidy_title(clean(tree.title or "")), _language(tree), _alternates(tree, url)
        text = tidy_text(clean(_main_text(tree, html, extractor)), max_chars)
    except Exception:  # noqa: BLE001 - whatever two foreign parsers make of hostile input, it is this page's failure
        return _without_text("extraction_failed")
    return Page(title, html_lang, alternates, text or None, None if text else "empty")


def _without_text(reason: str) -> Page:
    return Page(None, None, None, None, reason)


def decode(body: bytes, charset: str | None = None, *, markup: bool = False) -> str | None:
    """Decode bytes by byte order mark, UTF-8, declared and detected encoding, in this order; None if none fits.

    Valid UTF-8 with characters outside ASCII is UTF-8 whatever was declared: by chance it practically never is.

    Args:
        body: the bytes.
        charset: a declared encoding, under any of its names on the web.
        markup: whether a `<meta charset>` in the first kilobyte counts as declared.
    """
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return _sound(body[len(mark) :], encoding)
    if not body.isascii():
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            if error.end == len(body) and error.reason == "unexpected end of data":
                return body[: error.start].decode()  # cut within its last character
    elif not (b"\x1b" in body or b"\0" in body):  # what ISO 2022 and UTF-16 cannot do without
        return body.decode()
    for encoding in _candidates(body, charset, markup=markup):
        text = _sound(body, encoding)
        if text is not None:
            return text
    return None


def clean(text: str) -> str:
    """Remove NUL characters and lone surrogates, which Arrow, UTF-8 writers and C strings refuse."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def tidy_text(text: str, max_chars: int) -> str:
    """Collapse white space inside lines, drop empty lines, and cut after the last line that fits in max_chars."""
    text = "\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))
    if len(text) <= max_chars:
        return text
    end = text.rfind("\n", 0, max_chars + 1)
    return text[: end if end > 0 else max_chars].rstrip()


def tidy_title(title: str | None) -> str | None:
    """Collapse white space in a title and cut it to 500 characters; None if nothing is left."""
    return " ".join((title or "")[: 10 * MAX_TITLE_CHARS].split())[:MAX_TITLE_CHARS].rstrip() or None


def tame(html: bytes, extractor: Extractor = "resiliparse") -> bytes | None:
    """Return a page that parsers get through in a few seconds, or None if only its nesting could be blamed.

    Ordinary pages come back as they are. From the others scripts and styles are cut, and then all attributes if single
    elements may have too many of them. The bounds hold for any input, whatever hides in its quotes and comments.
    """
    limit = _MAX_ATTRIBUTE_PAIRS[extractor]
    if _attribute_pairs(html, limit) <= limit and _ancestors(html) <= _MAX_ANCESTORS:
        return html
    html = _without_raw_text(html)
    if _attribute_pairs(html, limit) > limit:
        html = _TAG_WITH_ATTRIBUTES.sub(rb"\1>", html)
    return html if _ancestors(html) <= _MAX_ANCESTORS else None


def _main_text(tree: HTMLTree, html: bytes, extractor: Extractor) -> str:
    if extractor == "trafilatura":
        return (
            trafilatura.extract(
                html.decode(), favor_precision=True, include_comments=False, include_tables=False, deduplicate=False
            )
            or ""
        )
    return str(
        extract_plain_text(
            tree,
            main_content=True,
            list_bullets=False,
            alt_texts=False,
            comments=False,
            post_meta=False,
            skip_elements=_SKIPPED,
        )
    )


def _language(tree: HTMLTree) -> str | None:
    root = tree.document.query_selector("html") if tree.document else None
    declared = (root.getattr("lang") or root.getattr("xml:lang") or "").strip() if root else ""
    return declared if _LANGUAGE.fullmatch(declared) else None


def _alternates(tree: HTMLTree, url: str | None) -> list[str] | None:
    """The web addresses of `<link rel="alternate" hreflang=...>`, whole, each once and in their order; None if none."""
    head = tree.head
    if head is None:
        return None
    links = head.query_selector_all('link[rel~="alternate" i][hreflang][href]')
    base = head.query_selector("base[href]") if links else None
    start = _joined(url or "", base.getattr("href") or "") if base else url or ""
    found = (_joined(start, link.getattr("href") or "") for link in links[:MAX_ALTERNATES])
    return list(dict.fromkeys(one for one in found if one.startswith(("http://", "https://")))) or None


def _joined(start: str, address: str) -> str:
    """An address as a page gives it, from where the page is; "" for what is no address, or too long for one."""
    if len(start) + len(address) > MAX_ALTERNATE_CHARS:
        return ""
    try:
        return urlsplit(urljoin(start, clean(address).strip())).geturl()
    except ValueError:  # such as brackets around what is no IPv6 address
        return ""


def _candidates(body: bytes, charset: str | None, *, markup: bool) -> list[str]:
    """Encodings to try: what header and markup agree on, else what detection confirms, else each in turn."""
    header = map_encoding_to_html5(charset[:40].strip(" \"'"), fallback_utf8=False) if charset else None
    found = _META_CHARSET.search(body, 0, 4096) if markup else None
    meta = map_encoding_to_html5(found[1].decode(), fallback_utf8=False) if found else None
    if meta and meta.startswith("utf-16"):
        meta = "utf-8"  # the tag was readable as ASCII, so it cannot be true (HTML standard, 13.2.3.2)
    declared = [encoding for encoding in (header, meta) if encoding]
    if b"\0" not in body[:1024]:
        declared = [encoding for encoding in declared if not encoding.startswith("utf-16")]
    detected = detect_encoding(body) or "utf-8"
    # cp1252 alone may be no more than a server's default, and whatever is detected is a better guess.
    if (len(set(declared)) == 2 and detected in declared) or declared == ["cp1252"]:
        declared = [detected, *declared]
    return [*dict.fromkeys([*declared, detected, "utf-8", "cp1252"])]


def _sound(body: bytes, encoding: str) -> str | None:
    text = body.decode(encoding, "replace")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return text if text.count("\ufffd") <= _MAX_BROKEN * beyond_ascii else None


def _attribute_pairs(html: bytes, limit: int) -> int:
    """Bound the sum over all elements of (number of attributes)², closely only where it may be above the limit.

    Unquoted, an element's attributes lie between two `>`; each quoted `>` can join two such pieces.
    """
    total = len(html) - len(html.translate(None, _SEPARATORS))
    if total**2 <= limit:
        return total**2
    ends = np.flatnonzero(np.frombuffer(html, dtype=np.uint8) == ord(">"))
    so_far = np.cumsum(np.frombuffer(html.translate(_SEPARATES), dtype=np.uint8), dtype=np.int64)
    separators = np.diff(so_far[ends], prepend=0, append=total)
    return int((separators**2).sum()) * (1 + len(_QUOTED_BRACKET.findall(html)))


def _ancestors(html: bytes) -> int:
    """Estimate the sum over all elements of their depth from start and end tags, counted for each name by itself.

    An end tag that closes nothing changes nothing, so no page can seem flatter than it is by closing what is not open.
    """
    total = html.count(b"<") - html.count(b"</")
    if total**2 // 2 <= _MAX_ANCESTORS:
        return total**2 // 2
    data = np.frombuffer(html + bytes(10), dtype=np.uint8)
    tags = np.flatnonzero(data == ord("<"))
    closing = data[tags + 1] == ord("/")
    letters = np.stack([data[tags + 1 + closing + place] for place in range(8)])
    in_name = np.logical_and.accumulate(~np.isin(letters, _NAME_ENDS), axis=0)
    names = ((letters | 0x20).astype(np.uint64) * in_name << _SHIFTS).sum(axis=0, dtype=np.uint64)
    is_tag = (letters[0] | 0x20 >= ord("a")) & (letters[0] | 0x20 <= ord("z"))
    steps = np.where(closing, -1, 1) * (is_tag & ~np.isin(names, _FLAT_NAMES))
    return int(np.cumsum(_steps_that_count(names, steps))[is_tag & ~closing].sum())


def _steps_that_count(names: npt.NDArray[np.uint64], steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Set the steps down to 0 that would leave fewer than no elements of a name open."""
    order = np.argsort(names, kind="stable")
    sorted_names = names[order]
    group = np.cumsum(np.concatenate([[0], sorted_names[1:] != sorted_names[:-1]]))
    first = np.searchsorted(group, np.arange(group[-1] + 1))
    running = np.cumsum(steps[order])
    running -= np.concatenate([[0], running])[first][group]
    # Every group is put below all earlier ones, so that one pass finds the lowest point within each.
    apart = group * (len(steps) + 1)
    lowest = np.minimum.accumulate(np.minimum(running, 0) - apart) + apart
    still_open = running - lowest
    counted = np.diff(still_open, prepend=0)
    counted[first] = still_open[first]
    result = np.empty(len(steps), dtype=np.int64)
    result[order] = counted
    return result


def _without_raw_text(html: bytes) -> bytes:
    kept, at = [], 0
    while (start := _RAW_TEXT.search(html, at)) is not None:
        kept.append(html[at : start.start()])
        end = _RAW_TEXT_END[start[1].lower()].search(html, start.end())
        at = len(html) if end is None else end.start()
    return b"".join([*kept, html[at:]])


_SEPARATES = bytes(byte in _SEPARATORS for byte in range(256))
_SHIFTS = np.arange(0, 64, 8, dtype=np.uint64)[:, None]
_FLAT_NAMES = np.array([int.from_bytes(name.encode(), "little") for name in _FLAT], dtype=np.uint64)
_NAME_ENDS = np.frombuffer(b"\0 \t\n\f\r/>", dtype=np.uint8)
