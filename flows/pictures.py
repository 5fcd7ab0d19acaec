"""Drawings in, pictures out: SVG for Prefect's pages, PNG for people's files; the same drawing is the same bytes."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

Format = Literal["svg", "png"]

WIDE = 9.0  # inches; Prefect's page shows an image as wide as its column
FIRST, SECOND, LINE, INK, PALE = "#b8bec6", "#2f6fab", "#c0392b", "#333333", "#e6e9ed"
# Text stays text (small, and found by a search); the salt makes ids of clip paths the same in every process.
STYLE: Any = {
    "svg.hashsalt": "babelmill",
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "figure.facecolor": "white",
}
_METADATA: dict[Format, dict[str, None]] = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
_drawing = threading.Lock()  # matplotlib's style belongs to the process


def picture(draw: Callable[[], Figure], kind: Format = "svg") -> bytes:
    """Return what a function draws as a file's bytes."""
    out = io.BytesIO()
    with _drawing, mpl.rc_context(STYLE):
        draw().savefig(out, format=kind, dpi=150, metadata=_METADATA[kind])
    return out.getvalue()


def data_url(svg: bytes) -> str:
    """Return a picture as the URL of an image artifact, which no host has to serve."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
