"""Pages, sites.toml and oddities.toml in; postings (which page stands where, in which crawl, changed how) out."""

from __future__ import annotations

import re
import tomllib
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from page_files import LABELS, LANGUAGES, Library, Page

HERE = Path(__file__).parent
CRAWLS = ("2024-10", "2024-11")


@dataclass(frozen=True)
class Site:
    """One host with its layout, its addresses and its character encoding."""

    host: str
    name: str
    layout: str
    languages: tuple[str, ...]
    path: str
    topics: tuple[str, ...] = ()
    hreflang: bool = False
    charset: str = "UTF-8"
    declared: str = "both"


@dataclass(frozen=True)
class Posting:
    """One page as one site shows it in one crawl; `claimed` is the language that the site says it is in."""

    crawl: str
    site: Site
    page: Page
    claimed: str
    kind: str = "article"
    expected: str = "kept"
    remark: str = ""
    changes: tuple[str, ...] = ()
    copy_of: Posting | None = None
    degree: str = ""

    @property
    def number(self) -> int:
        """Return a five-digit number as content management systems give them."""
        return 10_000 + pick(f"{self.site.host} {self.page.name}", 90_000)

    @property
    def date(self) -> tuple[int, int, int]:
        """Return the day on which the site says that it published the page."""
        key = f"{self.page.name} {self.site.host}"
        return 2019 + pick(key, 5), 1 + pick("m" + key, 12), 1 + pick("d" + key, 28)

    @property
    def section(self) -> str:
        """Return the part of the site that the page belongs to."""
        sections: list[str] = words(self.claimed)["lists"]["sections"]
        return sections[1 + pick(self.page.topic, len(sections) - 1)]

    @property
    def path(self) -> str:
        """Return the address on the site."""
        year, month, _ = self.date
        return self.site.path.format(
            lang=words(self.claimed)["html_lang"],
            section=slug(self.section),
            slug=slug(self.page.title),
            number=self.number,
            year=year,
            month=f"{month:02}",
        )

    @property
    def url(self) -> str:
        """Return the whole address."""
        return f"https://{self.site.host}{self.path}"

    @property
    def label(self) -> str:
        """Return the label of the text's language, or of both languages of a mixed page."""
        return "+".join(LABELS[language] for language in self.page.language.split("+"))


@dataclass(frozen=True)
class Web:
    """All postings, the sites by host, and the crawl files in order."""

    postings: tuple[Posting, ...]
    sites: dict[str, Site]
    files: tuple[dict[str, Any], ...]

    def original(self, name: str) -> Posting:
        """Return the first posting of the page with this name.

        Raises:
            ValueError: if there is no such page.
        """
        for posting in self.postings:
            if posting.page.name == name:
                return posting
        raise ValueError(f"oddities.toml names {name}, and there is no such page")


def pick(key: str, count: int) -> int:
    """Return a number below count that depends on the key alone."""
    return zlib.crc32(key.encode()) % count


@cache
def words(language: str) -> dict[str, Any]:
    """Return what sites say around their articles in a language."""
    return tomllib.loads((HERE / "words" / f"{language}.toml").read_text(encoding="utf-8"))


def slug(text: str) -> str:
    """Return a title as it stands in addresses: ASCII for Latin script, percent-encoded for others."""
    spread = unicodedata.normalize("NFKD", text.lower().replace("ß", "ss").replace("œ", "oe"))
    plain = unicodedata.normalize("NFC", re.sub(r"(?<=[a-z])[\u0300-\u036f]+", "", spread))
    return quote("-".join(re.findall(r"\w+", plain))[:60].strip("-"))


def plan(library: Library) -> Web:
    """Place every page once, then add the copies, repetitions and damaged versions of oddities.toml."""
    settings = tomllib.loads((HERE / "sites.toml").read_text(encoding="utf-8"))
    odd = tomllib.loads((HERE / "oddities.toml").read_text(encoding="utf-8"))
    rows = [
        {**row, "languages": tuple(row["languages"]), "topics": tuple(row.get("topics", ()))}
        for row in settings["site"]
    ]
    sites = {row["host"]: Site(**row) for row in rows}
    web = Web((), sites, tuple(settings["file"]))
    web = replace(web, postings=tuple(_articles(library, web, settings["topics"], odd["place"])))
    for table, make in (("copy", _copy), ("recrawl", _recrawl), ("mixed", _mixed)):
        web = replace(web, postings=(*web.postings, *(make(web, row) for row in odd[table])))
    return web


def _articles(
    library: Library, web: Web, topics: dict[str, list[str]], places: Iterable[dict[str, Any]]
) -> Iterable[Posting]:
    placed = {row["of"]: row for row in places}
    shared = {topic: site for site in web.sites.values() for topic in site.topics}
    own = {language: [site for site in web.sites.values() if site.languages == (language,)] for language in LANGUAGES}
    turns: dict[str, int] = defaultdict(int)
    listed = {*topics["first"], *topics["second"]}
    split = [topic for topic in library.topics if topic not in listed and len(library.translations(topic)) > 1]
    for topic in library.topics:
        for page in library.translations(topic):
            crawl = _first_crawl(page, topics, split, single=len(library.translations(topic)) == 1)
            row = placed.get(page.name, {})
            if "host" in row:
                site = web.sites[row["host"]]
            elif topic in shared:
                site = shared[topic]
            else:
                site = own[page.language][turns[page.language] % len(own[page.language])]
                turns[page.language] += 1
            extra = {key: row[key] for key in ("kind", "expected", "remark") if key in row}
            changed = change(page, changes := tuple(row.get("changes", ())))
            yield Posting(crawl, site, changed, row.get("claimed", page.language), changes=changes, **extra)


def _first_crawl(page: Page, topics: dict[str, list[str]], split: list[str], *, single: bool) -> str:
    """Return a page's first crawl: of a topic that is in no list, two languages wait for the second crawl."""
    if page.topic in topics["second"]:
        return CRAWLS[1]
    if single or page.topic in topics["first"]:
        return CRAWLS[0]
    turn = split.index(page.topic)
    return CRAWLS[LANGUAGES.index(page.language) in {turn % 5, (turn + 2) % 5}]


def change(page: Page, changes: tuple[str, ...]) -> Page:
    """Return the page as an editor who copies it would leave it; "hostile" is left to the renderer."""
    says = words(page.language)["changed"]
    title, paragraphs = page.title, [list(paragraph) for paragraph in page.paragraphs]
    if "retitled" in changes:
        title = says["title"].format(title=title)
    if "dropped" in changes:
        paragraphs[1].pop()
    if "replaced" in changes:
        paragraphs[2][-1] = says["replacement"]
    if "dateline" in changes:
        paragraphs[0].insert(0, says["dateline"])
    if "closing" in changes:
        paragraphs[-1].append(says["closing"])
    paragraphs += [list(says[added]) for added in ("update", "contact") if added in changes]
    return replace(page, title=title, paragraphs=tuple(tuple(paragraph) for paragraph in paragraphs))


def _copy(web: Web, row: dict[str, Any]) -> Posting:
    """Return a page on another site: with its own layout and some changes, or byte for byte on a mirror."""
    original = web.original(row["of"])
    changes = tuple(row.get("changes", ()))
    exact = not changes and "kind" not in row
    return Posting(
        row["crawl"],
        web.sites[row["host"]],
        change(original.page, changes),
        original.claimed,
        kind=row.get("kind", "exact_duplicate" if exact else "near_duplicate"),
        expected=row.get("expected", "rejected"),
        remark=row.get("remark", "the same bytes on a mirror" if exact else ", ".join(changes)),
        changes=changes,
        copy_of=original,
        degree=row.get("degree", "exact" if exact else "near"),
    )


def _recrawl(web: Web, row: dict[str, Any]) -> Posting:
    """Return a page at its old address in the second crawl, unchanged or with a paragraph added."""
    original = web.original(row["of"])
    changes = tuple(row.get("changes", ()))
    return replace(
        original,
        crawl=CRAWLS[1],
        page=change(original.page, changes),
        kind=row["kind"],
        expected="rejected",
        remark=row["remark"],
        changes=changes,
        copy_of=original,
        degree="near" if changes else "exact",
    )


def _mixed(web: Web, row: dict[str, Any]) -> Posting:
    """Return a page in two languages: the first half in one and the rest in the other, or paragraph by paragraph."""
    one, other = (web.original(name).page for name in row["of"])
    count = min(len(one.paragraphs), len(other.paragraphs))
    halves = row["pattern"] == "halves"
    first = {number for number in range(count) if (number < count / 2 if halves else number % 2 == 0)}
    paragraphs = tuple((one if number in first else other).paragraphs[number] for number in range(count))
    page = Page(one.topic, f"{one.language}+{other.language}", one.title, paragraphs)
    remark = f"two languages, {row['pattern']}"
    return Posting(row["crawl"], web.sites[row["host"]], page, one.language, "mixed", "", remark)
