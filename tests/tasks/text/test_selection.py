from __future__ import annotations

import numpy as np
import pyarrow as pa

from storage.ids import content_id
from storage.schemas import ID, TEXTS
from tasks.text.quality import LetterShare, TextLength
from tasks.text.selection import split_by_fate, verdicts

FILTERS = [TextLength(limit=10), LetterShare(limit=0.5)]


def test_the_first_refusal_is_told_with_score_and_limit():
    reasons = pa.chunked_array([pa.array([None, None, None, "empty"], pa.string())])
    scores = [np.array([20, 5, 20, 0], np.float32), np.array([0.9, 0.1, 0.1, 0], np.float32)]
    fates = verdicts(reasons, scores, FILTERS).to_pydict()
    assert fates["reason"] == [None, "text_length", "letter_share", "empty"]
    assert fates["limit"] == [None, 10, 0.5, None]
    assert fates["score"][1] == 5
    assert fates["score"][3] is None


def test_every_document_is_either_kept_or_rejected():
    ids = [content_id(str(place)) for place in range(3)]
    columns = {"url": ["a", "b", "c"], "title": ["", "", ""], "text": ["one", None, "three"]}
    documents = pa.table({"doc_id": pa.array(ids, ID), "alternates": pa.nulls(3, TEXTS), **columns})
    languages = pa.table({"language": ["eng_Latn"] * 3, "confidence": pa.array([0.9] * 3, pa.float32())})
    fates = pa.table(
        {
            "reason": pa.array([None, "empty", "near_duplicate"], pa.string()),
            "score": pa.nulls(3, pa.float32()),
            "limit": pa.nulls(3, pa.float32()),
            "duplicate_of": pa.array([None, None, ids[0]], ID),
        }
    )
    kept, rejected = split_by_fate(documents, languages, fates)
    assert kept["doc_id"].to_pylist() == ids[:1]
    assert rejected["doc_id"].to_pylist() == ids[1:]
    assert rejected["duplicate_of"].to_pylist() == [None, ids[0]]
