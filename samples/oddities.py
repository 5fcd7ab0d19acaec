"""The planned web in; captures that are no article (errors, redirects, images, spam, empty bodies ...) out."""

from __future__ import annotations

import html
import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace

from captures import Capture
from page_files import LABELS
from planning import CRAWLS, Web, pick, words
from rendering import navigation, render_plain, teaser_text

# A grey image of one pixel.
_PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")
_PDF = b"""%PDF-1.4
%\xe2\xe3\xcf\xd3
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>> endobj
4 0 obj <</Length 51>> stream
BT /F 18 Tf 20 100 Td (Timetable, winter season) Tj ET
endstream endobj
5 0 obj <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> endobj
trailer <</Root 1 0 R>>
%%EOF
"""


def odd_captures(web: Web) -> list[Capture]:
    """Return every capture that shows no article."""
    return [*_errors(web), *_files(web), *_poor_pages(web)]


def _errors(web: Web) -> Iterable[Capture]:
    for host, language, path in (
        ("www.heather-coast.example", "eng", "/news/this-page-is-gone"),
        ("gazeta.vyselki.example", "rus", "/article/1/"),
    ):
        body = _notice(web, host, language)
        yield Capture(
            CRAWLS[0], host, path, "http_error", "rejected", LABELS[language], status="404 Not Found", body=body
        )
    host = "www.gazette-sarvenac.example"
    body, remark = _notice(web, host, "fra"), "says that the page does not exist, with status 200"
    yield Capture(
        CRAWLS[1], host, "/ancienne-page.html", "soft_error", "rejected", "fra_Latn", remark=remark, body=body
    )
    busy = b"<html><head><title>503</title></head><body><h1>503 Service Unavailable</h1><hr>nginx</body></html>"
    host = "www.diario-torrelmar.example"
    yield Capture(CRAWLS[1], host, "/portada", "http_error", "rejected", status="503 Service Unavailable", body=busy)
    target = web.original("deu_hafen.deu")
    moved = f'<html><body>Moved: <a href="{html.escape(target.url)}">here</a></body></html>'.encode()
    headers = (("Location", target.url), ("Content-Type", "text/html"))
    status, path = "301 Moved Permanently", f"/?p={target.number}"
    yield Capture(
        target.crawl, target.site.host, path, "redirect", "rejected", status=status, headers=headers, body=moved
    )


def _files(web: Web) -> Iterable[Capture]:
    articles = [
        {"id": posting.number, "title": posting.page.title, "teaser": teaser_text(posting)}
        for posting in web.postings
        if posting.site.host == "www.harbour-lantern.example" and posting.claimed == "eng"
    ]
    listing = json.dumps({"count": len(articles), "articles": articles}, ensure_ascii=False).encode()
    robots = b"User-agent: *\nDisallow: /search\nSitemap: https://valley-voices.example/sitemap.xml\n"
    for host, path, media_type, body, remark in (
        ("www.harbour-lantern.example", "/api/articles?lang=en", "application/json", listing, "JSON"),
        ("valley-voices.example", "/robots.txt", "text/plain", robots, "robots.txt"),
        ("www.heather-coast.example", "/files/timetable.pdf", "application/pdf", _PDF, "PDF"),
        ("notes.tinderbox.example", "/wp/uploads/pixel.png", "image/png", _PNG, "PNG"),
        ("www.klub-soroga.example", "/raspisanie.htm", "text/html", _PDF, "PDF that the server calls HTML"),
    ):
        headers = (("Content-Type", media_type),)
        yield Capture(CRAWLS[0], host, path, "not_html", "rejected", remark=remark, headers=headers, body=body)


def _poor_pages(web: Web) -> Iterable[Capture]:
    yield Capture(CRAWLS[0], "blog.lindenrauch.example", "/leer/", "empty", "rejected", remark="status 200, no bytes")
    for crawl, host, language, path in (
        (CRAWLS[0], "www.diario-torrelmar.example", "spa", "/viajes/"),
        (CRAWLS[1], "nachrichten.moorbach.example", "deu", "/natur/"),
    ):
        title = words(language)["lists"]["sections"][5 if language == "spa" else 4]
        body = f"<p>{html.escape(words(language)['changed']['short'])}</p>"
        yield _page(web, Capture(crawl, host, path, "very_short", "rejected", LABELS[language]), language, title, body)
    for crawl, host, language in (
        (CRAWLS[0], "assoc.ebrelles.example", "fra"),
        (CRAWLS[1], "www.harbour-lantern.example", "eng"),
    ):
        capture = Capture(crawl, host, "/plan/", "navigation", "rejected", LABELS[language], remark="links only")
        yield _page(web, capture, language, words(language)["chrome"]["menu"], _link_list(web, host, language))
    for host, language in (("reader.pickings.example", "eng"), ("www.daily-gleanings.example", "rus")):
        lines = words(language)["changed"]["spam"]
        repeated = "\n".join(f"<p>{lines[pick(f'{host} {number}', 7) % len(lines)]}</p>" for number in range(160))
        remark, path = "three lines, repeated in 160 paragraphs", f"/offer/{language}"
        capture = Capture(CRAWLS[0], host, path, "spam", "rejected", LABELS[language], remark=remark)
        yield _page(web, capture, language, lines[0], repeated)


def _page(web: Web, capture: Capture, language: str, title: str, body: str) -> Capture:
    page = render_plain(web.sites[capture.host], language, title, body)
    return replace(capture, body=page.encode())


def _notice(web: Web, host: str, language: str) -> bytes:
    text = words(language)["changed"]["not_found"]
    return render_plain(web.sites[host], language, "404", f"<p>{html.escape(text)}</p>").encode()


def _link_list(web: Web, host: str, language: str) -> str:
    on_site = [posting for posting in web.postings if (posting.site.host, posting.claimed) == (host, language)]
    links = [(posting.path, posting.page.title) for posting in on_site] + navigation(language)
    items = (f'<li><a href="{html.escape(path)}">{html.escape(name)}</a></li>' for path, name in links)
    return "<ul>" + "\n".join(items) + "</ul>"
