from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tasks.formats.data_card import CardFacts, write_card
from tasks.formats.parquet_bytes import write_parquet


def test_the_card_tells_languages_counts_and_reasons():
    card = write_card(
        CardFacts(
            corpus="news",
            crawls=["first", "second"],
            funnel=[("records", 1000), ("kept documents", 900)],
            rejected={"documents": {"near_duplicate": 60, "empty": 40}},
            sentences={"deu_Latn": 12, "zho_Hant": 3},
            documents={"deu_Latn": 4},
            pairs={"deu_Latn-zho_Hant": 2},
            formats=["moses"],
        )
    )
    assert yaml.safe_load(card.split("---")[1]) == {"pretty_name": "news", "language": ["de", "zh-Hant"]}
    assert "| documents | near duplicate | 60 |" in card
    assert "| deu_Latn | 4 | 12 |" in card
    assert "Moses" in card
    assert "TMX" not in card
    assert "| deu_Latn-zho_Hant | 2 |" in card
    assert "`first`, `second`" in card


def test_parquet_comes_in_pieces_and_is_whole():
    tables = [pa.table({"x": [1, 2]}), pa.table({"x": [3]})]
    pieces = list(write_parquet(iter(tables), tables[0].schema))
    assert len(pieces) == 3
    assert pq.read_table(io.BytesIO(b"".join(pieces)))["x"].to_pylist() == [1, 2, 3]


def test_a_parquet_without_rows_has_its_schema():
    schema = pa.schema([("x", pa.string())])
    assert pq.read_schema(io.BytesIO(b"".join(write_parquet([], schema)))) == schema
