from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter, ValidationError

from tasks.filters.verdicts import LIMITS
from tasks.text.quality import (
    DOCUMENT_FILTERS,
    DocumentFilter,
    LanguageConfidence,
    LetterShare,
    MeanWordLength,
    Mojibake,
    RepeatedLines,
    TextLength,
)


def table(*texts: str | None, confidence: float | None = 0.9) -> pa.Table:
    rows = len(texts)
    return pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "language": pa.array(["eng_Latn"] * rows, pa.string()),
            "confidence": pa.array([confidence] * rows, pa.float32()),
        }
    )


def test_text_length_counts_dense_scripts_for_more() -> None:
    scores = TextLength().score(table("a" * 199, "a" * 200, "字" * 80, None, ""))
    assert scores.tolist() == [199, 200, 200, 0, 0]
    assert TextLength().accept(scores).tolist() == [False, True, True, False, False]


def test_language_confidence() -> None:
    assert LanguageConfidence().score(table("a", "b", confidence=None)).tolist() == [0, 0]
    assert LanguageConfidence().accept(np.array([0.49, 0.5], np.float32)).tolist() == [False, True]


def test_letter_share_is_of_visible_characters() -> None:
    scores = LetterShare().score(table("ab cd", "ab 12", "हिन्दी में", "བོད་སྐད།", "", "| | | a"))
    assert scores.tolist() == pytest.approx([1, 0.5, 1, 6 / 7, 0, 0.25], abs=0.1)
    assert LetterShare().accept(scores).tolist() == [True, False, True, True, False, False]


def test_repeated_lines_are_shared_out_by_characters() -> None:
    scores = RepeatedLines().score(table("menu\nmenu\nmenu\nlonger line", "one\ntwo", "one\n two\none ", "", "one"))
    assert scores.tolist() == pytest.approx([8 / 23, 0, 3 / 9, 0, 0])


def test_mean_word_length_is_for_scripts_with_spaces() -> None:
    scores = MeanWordLength().score(
        table("these are five plain words", "a b c d e f", "没有空格的中文", "x" * 60, "ภาษาไทย")
    )
    assert np.isnan(scores).tolist() == [False, False, True, False, True]
    assert MeanWordLength().accept(scores).tolist() == [True, False, True, False, True]


def test_mojibake() -> None:
    scores = Mojibake().score(table("cafÃ© itâ€™s", "café it’s"))
    assert Mojibake().accept(scores).tolist() == [False, True]


@pytest.mark.parametrize("one", DOCUMENT_FILTERS, ids=lambda one: one.kind)
def test_every_filter_scores_row_by_row(one: DocumentFilter) -> None:
    texts = ["Some words here.\nSome words here.", None, "", "字" * 30, "ÃÃÃ ©", "\n\n"]
    together = one.score(table(*texts))
    assert together.dtype == np.float32
    assert together.tolist() == pytest.approx([one.score(table(text)).item() for text in texts], nan_ok=True)
    assert one.score(table()).shape == (0,)
    assert one.accept(together).dtype == np.bool_
    assert "limit" in LIMITS & set(type(one).model_fields)


@given(
    arrays(np.float32, 8, elements=st.floats(0, 30, width=32)),
    st.tuples(st.floats(1, 20), st.floats(1, 20)).map(sorted),
    st.sampled_from([TextLength, LetterShare, LanguageConfidence, RepeatedLines, Mojibake, MeanWordLength]),
)
def test_accept_is_monotone_in_its_threshold(scores: np.ndarray, limits: list[float], kind: type) -> None:
    low, high = limits
    if kind not in {TextLength, MeanWordLength}:
        scores, low, high = scores / np.float32(30), low / 20, high / 20
    loose, strict = (low, high) if kind in {TextLength, LetterShare, LanguageConfidence} else (high, low)
    accepted = kind(limit=loose).accept(scores)
    assert not (kind(limit=strict).accept(scores) & ~accepted).any()


def test_settings_choose_the_filter_by_kind() -> None:
    adapter = TypeAdapter(list[DocumentFilter])
    assert adapter.validate_python([{"kind": "mojibake", "limit": 0.5}]) == [Mojibake(limit=0.5)]
    assert adapter.validate_python([one.model_dump() for one in DOCUMENT_FILTERS]) == DOCUMENT_FILTERS
    with pytest.raises(ValidationError):
        adapter.validate_python([{"kind": "mojibake", "limits": 0.5}])
