"""Pages and captures in; the tables of samples/gold out, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from captures import Capture
from page_files import LABELS, LANGUAGES, LEFT_OUT, Library

_DOCUMENTS = ("crawl", "file", "url", "language", "kind", "topic", "expected", "remark")
_DUPLICATES = ("url", "crawl", "duplicate_of_url", "duplicate_of_crawl", "degree")
_PAIRS = ("source_language", "target_language", "source", "target", "source_crawl", "target_crawl")


def gold_tables(library: Library, files: Sequence[tuple[str, Sequence[Capture]]]) -> dict[str, str]:
    """Return the content of each gold file by its name; files are given in the order of crawl and name."""
    captures = [capture for _, contents in files for capture in contents]
    sentence_crawls = _first_crawls((capture.crawl, capture.sentences) for capture in captures)
    title_crawls = _first_crawls((capture.crawl, (capture.page.title,)) for capture in captures if capture.page)
    return {
        "documents.tsv": _table(_DOCUMENTS, _documents(files)),
        "duplicates.tsv": _table(_DUPLICATES, _duplicates(captures)),
        "pairs.tsv": _table(_PAIRS, _pairs(library, sentence_crawls, slice(2, None))),
        "titles.tsv": _table(_PAIRS, _pairs(library, title_crawls, slice(0, 1))),
    }


def _documents(files: Sequence[tuple[str, Sequence[Capture]]]) -> Iterator[tuple[str, ...]]:
    for name, captures in files:
        for one in captures:
            yield one.crawl, name, one.url, one.language, one.kind, one.topic, one.expected, one.remark


def _duplicates(captures: Sequence[Capture]) -> Iterator[tuple[str, ...]]:
    """Yield each copy with its original, which every reader of the files in order has seen before."""
    seen: set[tuple[str, str]] = set()
    for capture in captures:
        if capture.copy_of and capture.copy_of not in seen:
            raise ValueError(f"{capture.url} in {capture.crawl} comes before {capture.copy_of[0]}, which it copies")
        seen.add((capture.url, capture.crawl))
        if capture.copy_of:
            yield capture.url, capture.crawl, *capture.copy_of, capture.degree


def _first_crawls(texts: Iterable[tuple[str, Sequence[str]]]) -> dict[str, str]:
    first: dict[str, str] = {}
    for crawl, sentences in texts:
        for sentence in sentences:
            first.setdefault(sentence, crawl)
    return first


def _pairs(library: Library, crawls: dict[str, str], part: slice) -> Iterator[tuple[str, ...]]:
    """Yield the lines that translate each other and occur in the crawls, each pair once."""
    seen = set()
    for source, target in combinations(LANGUAGES, 2):
        for topic in library.topics:
            sides = [library.lines.get(f"{topic}.{language}", ())[part] for language in (source, target)]
            for left, right in zip(*sides, strict=False):
                pair = (LABELS[source], LABELS[target], left, right)
                if LEFT_OUT in pair or left not in crawls or right not in crawls or pair in seen:
                    continue
                seen.add(pair)
                yield *pair, crawls[left], crawls[right]


def _table(columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [columns, *rows]
    if any(set(cell) & set("\t\r\n") for line in lines for cell in line):
        raise ValueError("a cell holds a tab or a line break")
    return "".join("\t".join(line) + "\n" for line in lines)
