"""Counts of a release in, its data card in Markdown out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.text.labels import bcp47

_FILES = (  # format, file, what it holds; Parquet always is there
    ("", "`monolingual/LANG/CRAWL.documents.parquet`", "kept documents with url, language and confidence"),
    (
        "",
        "`monolingual/LANG/CRAWL.sentences.parquet`",
        "sentences that no earlier crawl had, each with its first document",
    ),
    ("text", "`monolingual/LANG/CRAWL.sentences.txt`", "the same sentences, one a line"),
    ("", "`bilingual/A-B.parquet`", "pairs with cosine, margin and the WARC record of both sides"),
    ("tmx", "`bilingual/A-B.tmx`", "the same pairs as TMX 1.4"),
    ("tsv", "`bilingual/A-B.tsv`", "margin, source, target and both addresses, without a header line"),
    ("moses", "`bilingual/A-B.A`, `bilingual/A-B.B`", "the same pairs as two line-aligned files (Moses)"),
)


@dataclass(frozen=True)
class CardFacts:
    """What a data card tells; all of it follows from the datasets, so equal corpora have equal cards."""

    corpus: str
    crawls: Sequence[str]
    funnel: Sequence[tuple[str, int]]
    rejected: Mapping[str, Mapping[str, int]]  # stage -> reason -> rows
    sentences: Mapping[str, int]  # language -> unique sentences
    documents: Mapping[str, int]  # language -> kept documents
    pairs: Mapping[str, int]  # "deu_Latn-eng_Latn" -> pairs
    formats: Sequence[str] = ()  # of tmx, moses, tsv and text, those that were written
    settings: Mapping[str, str] = field(default_factory=dict)


def write_card(facts: CardFacts) -> str:
    """Return the card: a YAML head that dataset hubs read, and tables for people."""
    return "\n".join(
        [
            *_head(facts),
            f"# {facts.corpus}",
            "",
            "Monolingual text and mined sentence pairs, built from web crawls with babelmill.",
            "",
            "## Files",
            "",
            *_table(("file", "holds"), [row for format_, *row in _FILES if format_ in ("", *facts.formats)]),
            "",
            f"Crawls, in the order in which they came: {', '.join(f'`{crawl}`' for crawl in facts.crawls)}.",
            "",
            "## From records to pairs",
            "",
            *_table(("step", "rows"), [(step, f"{rows:,}") for step, rows in facts.funnel]),
            "",
            "## What was left out, and why",
            "",
            *_table(("stage", "reason", "rows"), _reasons(facts.rejected)),
            "",
            "## Monolingual",
            "",
            *_table(
                ("language", "documents", "sentences"),
                [(label, f"{facts.documents.get(label, 0):,}", f"{rows:,}") for label, rows in facts.sentences.items()],
            ),
            "",
            "## Bilingual",
            "",
            *_table(("pair", "sentence pairs"), [(pair, f"{rows:,}") for pair, rows in facts.pairs.items()]),
            "",
            "## How it was made",
            "",
            *_table(("setting", "value"), [(name, f"`{value}`") for name, value in facts.settings.items()]),
            "",
            "## Before you use it",
            "",
            "The text belongs to its authors; each row names the page that it is from. Languages, translations and the",
            "absence of personal data were judged by programs, which err. Sentence pairs were found by meaning, not",
            "taken from aligned documents: a share of them is only nearly a translation. `babelmill trace PAIR_ID`",
            "shows where a pair is from.",
            "",
        ]
    )


def _head(facts: CardFacts) -> list[str]:
    codes = sorted({bcp47(label) for label in facts.sentences})
    return ["---", f"pretty_name: {facts.corpus}", "language:", *(f"- {code}" for code in codes), "---", ""]


def _reasons(rejected: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, str]]:
    return [
        (stage, reason.replace("_", " "), f"{rows:,}")
        for stage, reasons in rejected.items()
        for reason, rows in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    ]


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [names, ["---"] * len(names), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
