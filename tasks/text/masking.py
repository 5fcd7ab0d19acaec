"""Texts and character spans in, texts with a placeholder for each span out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def mask_spans(texts: pa.ChunkedArray, spans: pa.ChunkedArray) -> pa.Array:
    """Replace each span by its kind in angle brackets, such as <email>; texts without spans are passed through.

    Args:
        texts: strings.
        spans: the `pii` column of the same rows: non-overlapping, character offsets.
    """
    found = pc.greater(pc.list_value_length(spans), 0).combine_chunks()
    if not pc.any(found).as_py():
        return texts.combine_chunks()
    masked = [
        _masked(text, marks)
        for text, marks in zip(texts.filter(found).to_pylist(), spans.filter(found).to_pylist(), strict=True)
    ]
    return pc.replace_with_mask(texts.combine_chunks(), found, pa.array(masked, texts.type))


def _masked(text: str, spans: Sequence[dict[str, Any]]) -> str:
    for span in sorted(spans, key=lambda span: span["start"], reverse=True):
        text = f"{text[: span['start']]}<{span['kind']}>{text[span['end'] :]}"
    return text
