from __future__ import annotations

import pyarrow as pa

from storage.ids import content_id
from storage.schemas import ID
from tasks.formats.pairing import origins_of_pairs, texts_of_pairs


def ids(*names):
    return pa.array([content_id(name) for name in names], ID)


def unique(*names):
    return pa.table(
        {
            "sentence_id": ids(*names),
            "text": [f"text of {name}" for name in names],
            "confidence": pa.array([0.5] * len(names), pa.float32()),
            "doc_id": ids(*(f"page of {name}" for name in names)),
            "position": pa.array(range(len(names)), pa.int32()),
        }
    )


def test_texts_and_origins_join_in_the_order_of_the_pairs():
    pairs = pa.table({"source_id": ids("b", "a"), "target_id": ids("y", "x")})
    texts = texts_of_pairs(pairs, [unique("a", "z"), unique("b")], [unique("x", "y")], ("deu_Latn", "eng_Latn"))
    assert texts["source"].to_pylist() == ["text of b", "text of a"]
    assert texts["target"].to_pylist() == ["text of y", "text of x"]
    assert texts["target_language"].to_pylist() == ["eng_Latn"] * 2
    pages = pa.table(
        {"doc_id": ids("page of a", "page of b", "page of x", "page of y"), "url": ["ua", "ub", "ux", "uy"]}
    )
    origins = origins_of_pairs(texts, [pages.slice(0, 2), pages.slice(2)])
    assert origins["source_url"].to_pylist() == ["ub", "ua"]
    assert origins["target_url"].to_pylist() == ["uy", "ux"]


def test_a_document_on_both_sides_serves_both():
    pairs = pa.table({"source_doc_id": ids("p"), "target_doc_id": ids("p")})
    (row,) = origins_of_pairs(pairs, [pa.table({"doc_id": ids("p"), "url": ["u"]})]).to_pylist()
    assert (row["source_url"], row["target_url"]) == ("u", "u")
