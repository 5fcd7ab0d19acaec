"""Bitext in, pages of a made-up web out: which sentences stand on which page, and the gold of that."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

# What is planted can be found again: long enough for the sentence filters, with words, and surely a single sentence.
_DENSE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_INNER_END = (
    r"[.!?\x{2026}:]['\"\p{Pe}\p{Pf}\p{Pi}]*\s+['\"\p{Ps}\p{Pf}\p{Pi}\x{BF}\x{A1}]*[\p{Lu}\d]"
    r"|[\x{3002}\x{FF01}\x{FF1F}].|[\x{964}\x{6D4}\x{61F}] "
)
_MOST_CHARS = 450
# What does not end or begin as a sentence does, or may hold an open quotation, is a paragraph of its own.
_QUOTES = "()\\[\\]\"'\u00ab\u00bb\u2018-\u201f\u2039\u203a"
_IN_PARAGRAPH = re.compile(rf"(?![a-z\d])[^{_QUOTES}]+[.!?\u2026\u3002\uff01\uff1f\u0964\u06d4\u061f]")
_SENTENCES_PER_PARAGRAPH = 4
_NEAR_EVERY = 24  # a near-duplicate lacks one sentence in so many: its MinHash similarity stays near 0.9


@dataclass(frozen=True)
class Page:
    """A page to be; its first paragraph is its heading, and its last one the sentence that its host always repeats."""

    url: str
    host: int
    language: str
    kind: str
    paragraphs: list[list[str]]


@dataclass(frozen=True)
class Web:
    """Pages, what their hosts say around them by language (a notice and a line for cookies each), and the gold."""

    notices: dict[str, list[str]] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)
    gold: list[pl.DataFrame] = field(default_factory=list)


def read_bitext(options: argparse.Namespace) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the distinct pairs of the source languages (lang, source, target), and the target side of all languages.

    Both hold only what is fit for planting, in sorted order.
    """
    names = dict(zip(options.columns.split(","), ("lang", "source", "target"), strict=True))
    codes = [_code(label) for label in options.source]
    rows = pl.concat([_scan(path).select(*names).rename(names) for path in options.bitext])
    pairs = rows.filter(pl.col("lang").is_in(codes)).with_columns(_tidy("source"), _tidy("target"))
    pairs = pairs.filter(_fit("source") & _fit("target")).unique().sort("lang", "source", "target")
    targets = rows.select("target").unique().select(_tidy("target")).filter(_fit("target")).unique().sort("target")
    return pairs.collect(), targets.collect()


def draw(known: pl.DataFrame, targets: pl.DataFrame, seed: int) -> dict[str, pl.DataFrame]:
    """Return pairs of which no two share a sentence, and sentences of either side beside them, all shuffled.

    Those of the source side are what the pairs leave; those of the target side are translations of nothing known.
    """
    pairs = _shuffled(known, seed).unique(_folded("source"), keep="first", maintain_order=True)
    pairs = pairs.unique(_folded("target"), keep="first", maintain_order=True)
    alone = {
        "source": known.select("source").join(pairs, on=_folded("source"), how="anti"),
        "target": targets.join(known, on=_folded("target"), how="anti"),
    }
    for place, (side, rows) in enumerate(alone.items(), start=1):
        alone[side] = _shuffled(rows.unique(_folded(side), keep="first", maintain_order=True), seed + place)
    return {"pairs": pairs, **alone}


def plan(options: argparse.Namespace) -> Web:
    """Decide what stands on which page."""
    (bitext, targets), web = read_bitext(options), Web()
    for place, label in enumerate(options.source):
        language, known = label.partition("=")[0], bitext.filter(pl.col("lang") == _code(label)).drop("lang")
        pools = draw(known, targets, options.seed)
        sides = {"source": language, "target": options.target}
        for side, name in sides.items():
            web.notices.setdefault(name, pools["pairs"][side][: 2 * options.hosts].to_list())
        rng = np.random.default_rng([options.seed, place, options.offset])
        parts = {name: _slice(options, pools, name, language) for name in ("pairs", "source", "target")}
        pages = list(_translations(parts["pairs"], sides, options, rng))
        for side, name in sides.items():
            pages.extend(_untranslated(parts[side][side].to_list(), name, options, rng))
        pages = [
            replace(page, paragraphs=[*page.paragraphs, [web.notices[page.language][page.host]]]) for page in pages
        ]
        web.gold.append(_gold(known, pages, sides))
        web.pages.extend([*pages, *_copies(pages, options, rng)])
    return web


def _code(label: str) -> str:
    """Return the bitext's code for a language: deu for deu_Latn, cmn for zho_Hans=cmn."""
    language, _, code = label.partition("=")
    return code or language[:3]


def _scan(path: Path) -> pl.LazyFrame:
    if path.suffix == ".parquet":
        return pl.scan_parquet(path)
    return pl.scan_csv(path, separator="\t", quote_char=None, infer_schema=False)


def _tidy(side: str) -> pl.Expr:
    return pl.col(side).str.replace_all(r"\s+", " ").str.strip_chars()


def _fit(side: str) -> pl.Expr:
    """Tell whether a side can be planted and found again."""
    text = pl.col(side)
    least = pl.when(text.str.contains(_DENSE)).then(5).otherwise(12)
    long_enough = (text.str.len_chars() >= least) & (text.str.len_chars() <= _MOST_CHARS)
    worded = text.str.contains(r"\p{L}{2}") & (text.str.contains(" ") | text.str.contains(_DENSE))
    return long_enough & worded & ~text.str.contains(_INNER_END)


def _folded(side: str) -> pl.Expr:
    return pl.col(side).str.to_lowercase()


def _shuffled(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    return frame[np.random.default_rng(seed).permutation(len(frame))]


def _slice(options: argparse.Namespace, pools: dict[str, pl.DataFrame], name: str, language: str) -> pl.DataFrame:
    """Return this crawl's part of a pool; the first pairs are the hosts' own."""
    share, first = (1 - options.untranslated, 2 * options.hosts) if name == "pairs" else (options.untranslated, 0)
    begin, end = (first + round(share * count) for count in (options.offset, options.offset + options.sentences))
    if end > len(pools[name]):
        have = f"{len(pools[name]):,} of {end:,} {name}"
        raise SystemExit(
            f"{language}: there are only {have}; plant fewer, or change --untranslated, or give more bitext"
        )
    return pools[name][begin:end]


def _chunks(count: int, options: argparse.Namespace, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Cut so many sentences into pages of random lengths; what is left over belongs to the last page."""
    least, most = options.page_sentences
    begin = 0
    while begin < count:
        end = begin + int(rng.integers(least, most + 1))
        end = count if count - end < least else end
        yield begin, end
        begin = end


def _page(  # noqa: PLR0917 - what a page consists of
    options: argparse.Namespace, name: str, host: int, language: str, kind: str, paragraphs: list[list[str]]
) -> Page:
    url = f"https://www.site-{host:02d}.example/{language[:3]}/{options.crawl}-{name}.html"
    return Page(url, host, language, kind, paragraphs)


def _translations(
    pairs: pl.DataFrame, sides: dict[str, str], options: argparse.Namespace, rng: np.random.Generator
) -> Iterator[Page]:
    """Yield pages and their translations; either language may be the one of the translation, which lacks sentences."""
    texts = {side: pairs[side].to_list() for side in sides}
    odds = [1 - options.missing - options.merged, options.missing, options.merged]
    for number, (begin, end) in enumerate(_chunks(len(pairs), options, rng)):
        host, translated = int(rng.integers(options.hosts)), list(sides)[int(rng.integers(2))]
        breaks = (rng.random(end - begin) < 1 / _SENTENCES_PER_PARAGRAPH).tolist()
        fates = rng.choice(3, end - begin, p=odds).tolist()
        for side, language in sides.items():
            sentences = texts[side][begin:end]
            sentences = _translated(sentences, fates) if side == translated else sentences
            name = f"{sides['source'][:3]}-{number}"
            yield _page(options, name, host, language, "translated", _paragraphs(sentences, breaks))


def _translated(sentences: list[str], fates: list[int]) -> list[str]:
    """Return the sentences with "" for those that are missing (fate 1) or have become one with the next (fate 2)."""
    result = list(sentences)
    for place, fate in enumerate(fates):
        if place and fate == 1:
            result[place] = ""
        elif 0 < place < len(sentences) - 1 and fate == 2:
            following = result[place + 1]
            result[place + 1] = f"{result[place].rstrip('.!?…。')}; {following}" if result[place] else following
            result[place] = ""
    return result


def _untranslated(
    sentences: list[str], language: str, options: argparse.Namespace, rng: np.random.Generator
) -> Iterator[Page]:
    for number, (begin, end) in enumerate(_chunks(len(sentences), options, rng)):
        breaks = (rng.random(end - begin) < 1 / _SENTENCES_PER_PARAGRAPH).tolist()
        host, name = int(rng.integers(options.hosts)), f"alone-{number}"
        yield _page(options, name, host, language, "untranslated", _paragraphs(sentences[begin:end], breaks))


def _paragraphs(sentences: list[str], breaks: list[bool]) -> list[list[str]]:
    """Put sentences into paragraphs; the first is the heading, and one that could not be cut off again stands alone."""
    paragraphs: list[list[str]] = []
    is_open = False
    for sentence, begins in zip(sentences, breaks, strict=True):
        if not sentence:
            continue
        joins = _IN_PARAGRAPH.fullmatch(sentence) is not None and not sentence[0].islower()
        if joins and is_open and not begins:
            paragraphs[-1].append(sentence)
        else:
            paragraphs.append([sentence])
        is_open = joins and len(paragraphs) > 1
    return paragraphs


def _copies(pages: list[Page], options: argparse.Namespace, rng: np.random.Generator) -> Iterator[Page]:
    """Yield pages that repeat one of these under another address, and pages that nearly do."""
    counts = [round(share * len(pages)) for share in (options.exact, options.near)]
    chosen = rng.permutation(len(pages))[: sum(counts)].tolist()
    for place, page in enumerate(chosen):
        original = pages[page]
        if place < counts[0]:
            yield replace(original, kind="exact_duplicate", url=f"{original.url}?print=1")
        else:
            kept = _shortened(original.paragraphs)
            yield replace(original, kind="near_duplicate", url=f"{original.url}?short=1", paragraphs=kept)


def _shortened(paragraphs: list[list[str]]) -> list[list[str]]:
    """Leave out one sentence in 24, the shortest ones, but not the heading nor the host's own."""
    body = [sentence for paragraph in paragraphs[1:-1] for sentence in paragraph]
    drop = set(sorted(body, key=lambda sentence: (len(sentence), sentence))[: max(1, len(body) // _NEAR_EVERY)])
    kept = [[sentence for sentence in paragraph if sentence not in drop] for paragraph in paragraphs[1:-1]]
    return [paragraphs[0], *filter(None, kept), paragraphs[-1]]


def _gold(known: pl.DataFrame, pages: list[Page], sides: dict[str, str]) -> pl.DataFrame:
    """Return the known pairs of which both sides stand on pages, with the first page of each."""
    for side, language in sides.items():
        texts = [(page.url, page.paragraphs) for page in pages if page.language == language]
        stands = [(sentence, url) for url, paragraphs in texts for paragraph in paragraphs for sentence in paragraph]
        places = pl.DataFrame(stands, {side: pl.String, f"{side}_url": pl.String}, orient="row")
        known = known.join(places.unique(side, keep="first", maintain_order=True), on=side)
    labels = [pl.lit(label).alias(f"{side}_language") for side, label in sides.items()]
    return known.select(*labels, "source", "target", "source_url", "target_url").sort("source", "target")
