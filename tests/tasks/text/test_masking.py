from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tasks.text.masking import mask_spans
from tasks.text.pii import pii_spans


def masked(texts):
    return mask_spans(pa.chunked_array([pa.array(texts)]), pa.chunked_array([pii_spans(texts)])).to_pylist()


def test_each_span_becomes_its_kind():
    texts = ["Write to anna@example.org or call +49 30 1234567.", "Nothing here.", "Ring 😀 bo@example.com"]
    assert masked(texts) == ["Write to <email> or call <phone>.", "Nothing here.", "Ring 😀 <email>"]


def test_no_rows_are_no_rows():
    assert (
        mask_spans(pa.chunked_array([pa.array([], pa.string())]), pa.chunked_array([pii_spans([])])).to_pylist() == []
    )


@given(st.lists(st.text(alphabet="ab @.1+é😀-", max_size=40), max_size=5))
def test_nothing_is_left_to_mask(texts):
    assert all(not spans for spans in pii_spans(masked(texts)).to_pylist()) or not texts
