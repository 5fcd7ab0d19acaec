"""The files of samples/pages in, pages aligned by line out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

# The order of the languages in every pair of the gold files.
LANGUAGES = ("eng", "deu", "fra", "spa", "rus")
LABELS = {"eng": "eng_Latn", "deu": "deu_Latn", "fra": "fra_Latn", "spa": "spa_Latn", "rus": "rus_Cyrl"}
LEFT_OUT = "~"


@dataclass(frozen=True)
class Page:
    """One page in one language: paragraphs are tuples of sentences."""

    topic: str
    language: str
    title: str
    paragraphs: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """Return the name of the page's file without its ending."""
        return f"{self.topic}.{self.language}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return the sentences of all paragraphs in order."""
        return tuple(sentence for paragraph in self.paragraphs for sentence in paragraph)


@dataclass(frozen=True)
class Library:
    """All pages by name, and the lines of their files for the alignment."""

    pages: dict[str, Page]
    lines: dict[str, tuple[str, ...]]

    def translations(self, topic: str) -> tuple[Page, ...]:
        """Return a topic's pages in the order of LANGUAGES."""
        return tuple(self.pages[name] for language in LANGUAGES if (name := f"{topic}.{language}") in self.pages)

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the names of all topics, sorted."""
        return tuple(sorted({page.topic for page in self.pages.values()}))


def read_library(folder: Path) -> Library:
    """Read every TOPIC.LANGUAGE.txt of a folder.

    Raises:
        ValueError: if a file has no title, or the files of a topic are not aligned.
    """
    pages, lines = {}, {}
    for path in sorted(folder.glob("*.txt")):
        content = path.read_text(encoding="utf-8").splitlines()
        if len(content) < 3 or not content[0] or content[1]:
            raise ValueError(f"{path.name}: a page starts with a title and an empty line")
        topic, language = path.stem.split(".")
        pages[path.stem] = Page(topic, language, content[0], _paragraphs(content[2:]))
        lines[path.stem] = tuple(content)
    library = Library(pages, lines)
    for topic in library.topics:
        shapes = {tuple(not line for line in lines[page.name]) for page in library.translations(topic)}
        if len(shapes) != 1:
            raise ValueError(f"{topic}: the languages do not have their empty lines at the same numbers")
    return library


def _paragraphs(lines: list[str]) -> tuple[tuple[str, ...], ...]:
    groups = (tuple(group) for filled, group in groupby(lines, key=bool) if filled)
    kept = (tuple(line for line in group if line != LEFT_OUT) for group in groups)
    return tuple(paragraph for paragraph in kept if paragraph)
