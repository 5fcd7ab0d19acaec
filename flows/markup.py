"""Names and reasons from outside in; text that Markdown and Mermaid show, and never obey, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 300  # characters of one cell: a crawl may hold a URL of megabytes
_ACTIVE = frozenset("`*_<>|[](){}#&!\\~$\"':;@")  # what begins something in Markdown, HTML, Mermaid or mathematics


def plain(text: object, longest: int = _LONGEST) -> str:
    """Return text in which nothing is markup: what could be is a space, and what is too long is cut."""
    kept = "".join(letter if letter.isprintable() and letter not in "`<>|[]\\" else " " for letter in str(text))
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def label(text: object, longest: int = 60) -> str:
    """Return text that may stand between the quotes of a Mermaid node."""
    kept = "".join(letter if letter.isprintable() and letter not in _ACTIVE - {"_"} else " " for letter in str(text))
    return " ".join(kept.split())[:longest] or "-"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return rows of equal keys as the lines of a Markdown table; numbers stand to the right."""
    if not rows:
        return []
    rules = ["---:" if isinstance(value, int | float) else "---" for value in rows[0].values()]
    lines = [" | ".join(plain(name) for name in rows[0]), " | ".join(rules)]
    lines += [" | ".join(_written(value) for value in row.values()) for row in rows]
    return [f"| {line} |" for line in lines]


def _written(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else plain(value)
