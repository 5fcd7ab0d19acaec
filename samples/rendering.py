"""Postings in; HTML as their sites serve it, and the plain text of a WET file, out."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Iterable
from string import Template
from typing import Any

from planning import HERE, Posting, Site, Web, pick, slug, words

# How one publishing system writes typographic characters; others leave them as they are.
_BLOG_REFERENCES = str.maketrans(
    {letter: f"&#{ord(letter)};" for letter in "\u2018\u2019\u201c\u201d\u201e\u2013\u2026\u202f"} | {"\xa0": "&nbsp;"}
)
# Text and markup that break careless extractors; none of it is part of the article.
_HOSTILE = (
    "<p>To make a word bold, we used to write &lt;b&gt;bold&lt;/b&gt; and not &amp;lt;b&amp;gt;; "
    "a visitor once sent us &lt;script&gt;alert(&quot;boo&quot;)&lt;/script&gt; &amp; 5 &lt; 7 &amp;&amp; 7 &gt; 5."
    "<p class=broken title='a > b'>Bytes that nobody typed: \x00\x08\x1b[31m\x7f\u200b\u202egnidaer\u202c\ufeff "
    "&#0; &#x110000; &#xD800; &#x1F41F; &bogus; &nbsp; A&shy;M&shy;P.\n"
    '<script>document.write("<p>This line is code and no text.</p>");</script>\n'
    "<!-- a comment -- > with <p>a paragraph</p> in it --><svg onload=alert(1)><title>no title</title></svg>\n"
    "<template><p>This paragraph is never shown.</p></template><b><i>Unclosed <u>and </b>crossed</i>\n"
    + "<div>" * 400
    + "deep"
    + "</div>" * 390
)


def render(posting: Posting, web: Web) -> str:
    """Return the page's HTML in its site's layout."""
    layout = (HERE / "templates" / f"{posting.site.layout}.html").read_text(encoding="utf-8")
    return Template(layout).substitute(
        _chrome(posting.site, posting.claimed), **_facts(posting, web), **_lists(posting, web)
    )


def render_plain(site: Site, language: str, title: str, body: str) -> str:
    """Return a page of a site that is no article: an error, a list of links, a notice."""
    layout = (HERE / "templates" / "plain_page.html").read_text(encoding="utf-8")
    return Template(layout).substitute(
        _chrome(site, language), title=html.escape(title), body=body, nav=_links(navigation(language))
    )


def render_text(posting: Posting, web: Web) -> str:
    """Return the page as WET files have it: every visible line, those around the article included."""
    says = words(posting.claimed)
    lines = [posting.site.name, *says["lists"]["sections"], posting.page.title, f"{_date(posting)}, {_author(posting)}"]
    lines += [" ".join(paragraph) for paragraph in posting.page.paragraphs]
    lines += [says["chrome"]["related"], *(other.page.title for other in related(posting, web))]
    lines += [_cookie(posting.site, posting.claimed), f"{says['chrome']['imprint']} | {says['chrome']['privacy']}"]
    return "\n".join([*lines, f"© {posting.site.name}. {says['chrome']['copyright']}"]) + "\n"


def navigation(language: str) -> list[tuple[str, str]]:
    """Return the addresses and names of a site's sections."""
    return [("/" + slug(name), name) for name in words(language)["lists"]["sections"]]


def related(posting: Posting, web: Web) -> list[Posting]:
    """Return up to four other articles of the same site in the same language, starting after this one."""
    same = [other for other in web.postings if (other.site, other.claimed) == (posting.site, posting.claimed)]
    names = list(dict.fromkeys(other.page.name for other in same))
    start = names.index(posting.page.name)
    by_name = {other.page.name: other for other in reversed(same)}
    return [by_name[name] for name in (names[start + 1 :] + names[:start])[:4]]


def _chrome(site: Site, language: str) -> dict[str, str]:
    """Return what stands around every page of a site."""
    says = words(language)
    return {
        **{key: html.escape(text) for key, text in says["chrome"].items()},
        "site": html.escape(site.name),
        "host": site.host,
        "lang": says["html_lang"],
        "charset": site.charset.lower(),
        "charset_meta": ""
        if site.declared == "header"
        else f'<META http-equiv="Content-Type" content="text/html; charset={site.charset}">',
        "cookie": html.escape(_cookie(site, language)),
    }


def _facts(posting: Posting, web: Web) -> dict[str, str]:
    year, month, day = posting.date
    first = next(iter(posting.page.sentences))
    return {
        "title": html.escape(posting.page.title),
        "url": html.escape(posting.url),
        "path": html.escape(posting.path),
        "description": html.escape(textwrap.shorten(first, 120, placeholder=" …")),
        "author": html.escape(_author(posting)),
        "date": _date(posting),
        "isodate": f"{year}-{month:02}-{day:02}",
        "year": posting.crawl[:4],
        "crawl_date": posting.crawl,
        "number": str(posting.number),
        "minutes": str(2 + len(posting.page.sentences) // 8),
        "section": html.escape(posting.section),
        "section_path": slug(posting.section),
        "body": _body(posting, web),
    }


def _lists(posting: Posting, web: Web) -> dict[str, str]:
    """Return the lists of links, comments and dates around an article."""
    lists, others = words(posting.claimed)["lists"], related(posting, web)
    sections = navigation(posting.claimed)
    links = [(other.path, other.page.title) for other in others] or sections[:2]
    tags = [("/tag/" + slug(tag), tag) for tag in lists["tag_words"]]
    turn = pick(posting.page.name, len(tags) - 1)
    return {
        "nav": _links(sections),
        "nav_lines": _links(sections, "{}<BR>"),
        "tag_links": _links(tags[turn : turn + 2], "{}", ", "),
        "related_items": _links(links),
        "related_lines": _links(links, "{}<BR><BR>"),
        "teaser_items": "\n".join(_teaser(other) for other in others),
        "previous_link": _links(links[:1], "{}"),
        "next_link": _links(links[-1:], "{}"),
        "event_items": "\n".join(f"<li>{html.escape(event)}</li>" for event in lists["events"]),
        "event_lines": "\n".join(f"{html.escape(event)}<BR>" for event in lists["events"]),
        "comment_items": "\n".join(_comments(posting, lists)),
        "hreflang": "\n".join(_alternates(posting, web)),
        "language_switch": _language_switch(posting, web),
    }


def _body(posting: Posting, web: Web) -> str:
    layout: Callable[[Posting, list[str], Web], Iterable[str]] = _BODIES[posting.site.layout]
    paragraphs = [html.escape(" ".join(sentences), quote=False) for sentences in posting.page.paragraphs]
    parts = list(layout(posting, paragraphs, web))
    if "hostile" in posting.changes:
        parts.insert(2, _HOSTILE)
    return "\n".join(parts)


def _magazine_body(posting: Posting, paragraphs: list[str], web: Web) -> Iterable[str]:
    advertisement = words(posting.claimed)["chrome"]["advertisement"]
    for number, paragraph in enumerate(paragraphs):
        yield f"  <p>{_linked(paragraph, number)}</p>"
        if number == 1:
            yield _read_also(posting, web)
        if number == 2:
            yield f'  <div class="ad-slot inline"><span>{advertisement}</span></div>'


def _portal_body(posting: Posting, paragraphs: list[str], web: Web) -> Iterable[str]:
    yield f'<p class="lead"><strong>{paragraphs[0]}</strong></p>'
    for number, paragraph in enumerate(paragraphs[1:]):
        yield f"<p>{_linked(paragraph, number)}</p>"
        if number == 0:
            yield _read_also(posting, web)


def _blog_body(_posting: Posting, paragraphs: list[str], _web: Web) -> Iterable[str]:
    for paragraph in paragraphs:
        yield f"<p>{paragraph.translate(_BLOG_REFERENCES)}</p>\n"


def _club_body(_posting: Posting, paragraphs: list[str], _web: Web) -> Iterable[str]:
    for paragraph in paragraphs:
        yield "        <p>\n" + _wrapped(paragraph, "          ") + "\n        </p>"


def _tables_body(_posting: Posting, paragraphs: list[str], _web: Web) -> Iterable[str]:
    for paragraph in paragraphs:
        yield _wrapped(paragraph, "") + "<BR><BR>"


_BODIES: dict[str, Callable[[Posting, list[str], Web], Iterable[str]]] = {
    "magazine": _magazine_body,
    "portal": _portal_body,
    "blog": _blog_body,
    "club": _club_body,
    "tables": _tables_body,
}


def _wrapped(paragraph: str, indent: str) -> str:
    wrapper = textwrap.TextWrapper(84, initial_indent=indent, subsequent_indent=indent)
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return wrapper.fill(paragraph)


def _linked(paragraph: str, number: int) -> str:
    """Return every second paragraph with its longest word as a link, as content management systems do."""
    word = max((word for word in paragraph.split(" ") if word.isalpha()), key=len, default="")
    if number % 2 or len(word) < 6:
        return paragraph
    spaced = f" {paragraph} ".replace(f" {word} ", f' <a href="/tag/{slug(word)}">{word}</a> ', 1)
    return spaced[1:-1]


def _read_also(posting: Posting, web: Web) -> str:
    others = related(posting, web)[-1:]
    links = _links([(other.path, other.page.title) for other in others], "{}")
    return f'<p class="read-also"><b>{words(posting.claimed)["chrome"]["read_also"]}</b> {links}</p>' if links else ""


def teaser_text(posting: Posting) -> str:
    """Return the start of an article, never a whole sentence: its first occurrence shall be the article itself."""
    start = posting.page.sentences[0].split(" ")
    return " ".join(start[: min(14, len(start) * 2 // 3)]) + " …"


def _teaser(other: Posting) -> str:
    snippet = html.escape(teaser_text(other))
    title = html.escape(other.page.title)
    return f'<div class="teaser"><a href="{html.escape(other.path)}"><h4>{title}</h4></a><p>{snippet}</p></div>'


def _comments(posting: Posting, lists: dict[str, list[str]]) -> Iterable[str]:
    reply = words(posting.claimed)["chrome"]["reply"]
    turn = pick(posting.page.name, 4)
    for number in (turn, (turn + 1) % 4):
        name, comment = html.escape(lists["commenters"][number]), html.escape(lists["comments"][number])
        yield f'<li class="comment"><cite>{name}</cite><p>{comment}</p><a href="#respond">{reply}</a></li>'


def _translations(posting: Posting, web: Web) -> list[Posting]:
    """Return the same topic's first postings on the same site, if the site links them."""
    if not posting.site.hreflang or posting.page.topic not in posting.site.topics:
        return []
    return [
        other
        for other in web.postings
        if (other.site, other.page.topic, other.copy_of) == (posting.site, posting.page.topic, None)
    ]


def _alternates(posting: Posting, web: Web) -> Iterable[str]:
    for other in _translations(posting, web):
        yield f'<link rel="alternate" hreflang="{words(other.claimed)["html_lang"]}" href="{html.escape(other.url)}">'


def _language_switch(posting: Posting, web: Web) -> str:
    links = [(other.path, words(other.claimed)["html_lang"].upper()) for other in _translations(posting, web)]
    label = words(posting.claimed)["chrome"]["languages"]
    return f'<ul class="languages" aria-label="{label}">{_links(links)}</ul>' if links else ""


def _links(links: Iterable[tuple[str, str]], form: str = "<li>{}</li>", between: str = "\n") -> str:
    return between.join(form.format(f'<a href="{html.escape(path)}">{html.escape(name)}</a>') for path, name in links)


def _author(posting: Posting) -> str:
    authors: list[str] = words(posting.claimed)["lists"]["authors"]
    return authors[pick(posting.page.name, len(authors))]


def _date(posting: Posting) -> str:
    year, month, day = posting.date
    says: dict[str, Any] = words(posting.claimed)
    form: str = says["date"]
    return form.format(day=day, month=says["months"][month - 1], year=year)


def _cookie(site: Site, language: str) -> str:
    cookies: list[str] = words(language)["lists"]["cookies"]
    return cookies[pick(site.host, len(cookies))]
