"""Bitext in, the WARC files of a made-up crawl of any size, its gold pairs and its facts out.

    python benchmarks/synthetic_crawl.py BITEXT... --output FOLDER --crawl 2025-01 --sentences 100000

writes FOLDER/crawls/2025-01/*.warc.gz, FOLDER/gold/2025-01.tsv and FOLDER/facts/2025-01.json; equal options give equal
bytes. BITEXT is Parquet or TSV with columns lang (ISO 639-3), text and eng (`--columns` renames them). Of each
`--source` language N sentences are planted, and as many of the `--target` language beside them: most of them as a page
and its translation, sentence by sentence in order, some missing and some merged; the others on pages without a
translation. A bitext's sentence stands on one page only. Some pages come a second time, the same or nearly so, at
another address. Around the text stand navigation, cookie notice and footer, and one sentence of a host's own that
extraction keeps and that repeats on all of the host's pages. The gold has every pair of the bitext of which both sides
stand in this crawl.

`--offset M` passes over the first M sentences, so that an update has sentences of its own, and `--recrawl` takes pages
of an earlier crawl again, at the same address and with the same text:

    python benchmarks/synthetic_crawl.py BITEXT... --output web --crawl 1 --sentences 231000
    python benchmarks/synthetic_crawl.py BITEXT... --output web --crawl 2 --sentences 2300 --offset 231000 \
        --recrawl web/crawls/1 --date 2025-02-01

That is about what German and English have to give, with all the bitext of the default encoder's recipe and the WMT
news tests as BITEXT; most of it stands in tatoeba_anki (127,000 German sentences), multi30k_train (27,000), wmt_news
(19,000) and wmt_newstest_2008_2013 (15,000). After extraction, near-duplicates and sentence filters 227,698 distinct
German and 228,659 English sentences are left. French comes next, with 198,000 before that. The default encoder has
learnt from this bitext: a crawl like this tells how fast babelmill is, and not how well it mines.
"""

from __future__ import annotations

import argparse
import html
import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from synthetic_pages import Page, Web, plan
from warc_files import Capture, recaptured, write_files


def rendered(page: Page, web: Web) -> bytes:
    """Return a page's HTML: its text amid what its host puts on every page."""
    lines = web.notices[page.language]
    notice, cookies = (html.escape(line) for line in lines[page.host :: len(lines) // 2])
    words = notice.split()
    links = "".join(
        f'<li><a href="/{page.language[:3]}/{place}.html">{word}</a></li>' for place, word in enumerate(words)
    )
    heading, *body = [html.escape(" ".join(paragraph), quote=False) for paragraph in page.paragraphs]
    return "\n".join(
        [
            f'<!DOCTYPE html>\n<html lang="{page.language[:3]}">\n<head><meta charset="utf-8">',
            f"<title>{heading} | Site {page.host:02d}</title></head>\n<body>",
            f'<div class="cookie-notice"><p>{cookies}</p><button>OK</button></div>',
            f"<header><nav><ul>{links}</ul></nav></header>\n<main><article>\n<h1>{heading}</h1>",
            *(f"<p>{paragraph}</p>" for paragraph in body),
            f"</article></main>\n<footer><p>{cookies}</p><p>&copy; Site {page.host:02d}</p></footer>\n</body></html>\n",
        ]
    ).encode()


def write(options: argparse.Namespace) -> dict[str, object]:
    """Write a crawl, its gold and its facts; return the facts."""
    folder = options.output / "crawls" / options.crawl
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty; choose another --output or --crawl")
    web = plan(options)
    rng = np.random.default_rng([options.seed, options.offset])
    again = recaptured(options.recrawl, round(options.recrawl_share * len(web.pages)), rng) if options.recrawl else []
    order = rng.permutation(len(web.pages) + len(again)).tolist()
    captures = (
        Capture(web.pages[place].url, rendered(web.pages[place], web))
        if place < len(web.pages)
        else again[place - len(web.pages)]
        for place in order
    )
    files = write_files(folder, options.crawl, captures, options.date, options.file_bytes)
    gold = pl.concat(web.gold)
    for name in ("gold", "facts"):
        (options.output / name).mkdir(exist_ok=True)
    gold.write_csv(options.output / "gold" / f"{options.crawl}.tsv", separator="\t", quote_style="never")
    facts = {
        "options": {name: str(value) for name, value in vars(options).items() if name not in {"bitext", "output"}},
        "pages": dict(sorted(Counter(page.kind for page in web.pages).items())) | {"recrawled": len(again)},
        "sentences": _distinct(web.pages),
        "gold": dict(sorted(gold["source_language"].value_counts().iter_rows())),
        "files": files,
    }
    (options.output / "facts" / f"{options.crawl}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return facts


def _distinct(pages: list[Page]) -> dict[str, int]:
    """Count the distinct sentences of each language, as they stand on pages."""
    found: dict[str, set[str]] = {}
    for page in pages:
        found.setdefault(page.language, set()).update(*page.paragraphs)
    return {language: len(sentences) for language, sentences in sorted(found.items())}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bitext", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--crawl", required=True, help="name of the crawl")
    parser.add_argument("--source", nargs="+", default=["deu_Latn"], help="labels, or as in zho_Hans=cmn with the code")
    parser.add_argument("--target", default="eng_Latn", help="label of the other side of all pairs")
    parser.add_argument("--columns", default="lang,text,eng", help="names of the bitext's columns")
    parser.add_argument("--sentences", type=int, required=True, help="distinct ones, per source language and side")
    parser.add_argument("--offset", type=int, default=0, help="sentences that another crawl has")
    parser.add_argument("--seed", type=int, default=1, help="the same for crawls that are to have nothing in common")
    parser.add_argument("--date", type=datetime.fromisoformat, default="2025-01-01", help="when fetching began")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--page-sentences", type=int, nargs=2, default=(16, 48), metavar=("LEAST", "MOST"))
    parser.add_argument("--file-bytes", type=int, default=4 * 2**20, help="most bytes of a WARC file")
    parser.add_argument("--recrawl", type=Path, help="folder of an earlier crawl")
    for name, share, about in (
        ("recrawl-share", 0.1, "pages of --recrawl, per page of this crawl"),
        ("untranslated", 0.1, "sentences on pages without a translation"),
        ("missing", 0.01, "sentences that a translation lacks"),
        ("merged", 0.005, "sentences that are one with the next in a translation"),
        ("exact", 0.03, "pages that come again at another address"),
        ("near", 0.03, "pages that come again with a sentence in 24 left out"),
    ):
        parser.add_argument(f"--{name}", type=float, default=share, help=f"share of {about} (default: {share:g})")
    print(json.dumps(write(parser.parse_args(arguments)), indent=1))


if __name__ == "__main__":
    main()
