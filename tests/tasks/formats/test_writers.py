"""What is written can be read back by other people's readers."""

from __future__ import annotations

import csv
import io
import itertools
import xml.etree.ElementTree as ET

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import SCHEMAS
from tasks.formats.monolingual import write_lines
from tasks.formats.moses import TSV_COLUMNS, write_moses, write_tsv
from tasks.formats.tmx import write_tmx

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
hostile = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\t\n\r\v\f\x1c\x1e\x85\u2028\u2029<&>\"']\ufffe"),
    max_size=30,
)


def corpus(
    *pairs: tuple[str | None, str | None], margin: float | None = 1.25, url: str | None = "http://a/?b&c"
) -> pa.Table:
    rows = [
        {"margin": margin, "source": source, "target": target, "source_url": url, "target_url": None}
        for source, target in pairs
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["corpus"])


def units(written: bytes) -> list[tuple[str, str]]:
    root = ET.fromstring(written)
    return [tuple(seg.text or "" for seg in unit.iter("seg")) for unit in root.iter("tu")]  # type: ignore[misc]


def test_tmx_names_languages_and_origins() -> None:
    root = ET.fromstring(b"".join(write_tmx([corpus(("eins", "jedan"))], "deu_Latn", "srp_Latn")))
    assert root.attrib == {"version": "1.4"}
    assert root.find("header").attrib["srclang"] == "de"
    assert [tuv.attrib[LANG] for tuv in root.iter("tuv")] == ["de", "sr-Latn"]
    assert [(prop.attrib["type"], prop.text) for prop in root.iter("prop")] == [
        ("margin", "1.2500"),
        ("url", "http://a/?b&c"),
        ("url", None),
    ]


@pytest.mark.parametrize(
    ("label", "tag"), [("deu_Latn", "de"), ("zho_Hant", "zh-Hant"), ("srp_Cyrl", "sr"), ("ceb_Latn", "ceb")]
)
def test_tmx_tags(label: str, tag: str) -> None:
    assert f'srclang="{tag}"'.encode() in b"".join(write_tmx([], label, "eng_Latn"))


def test_tmx_wants_labels() -> None:
    with pytest.raises(ValueError, match="unpack"):
        b"".join(write_tmx([], "german", "eng_Latn"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(hostile, hostile), max_size=6))
def test_hostile_text_survives_tmx(pairs: list[tuple[str, str]]) -> None:
    written = b"".join(write_tmx([corpus(*pairs)], "deu_Latn", "eng_Latn"))
    read = units(written)
    assert len(read) == len(pairs)
    legal = [tuple("".join(filter(str.isalnum, side)) for side in pair) for pair in pairs]
    assert [tuple("".join(filter(str.isalnum, side)) for side in pair) for pair in read] == legal
    assert written == b"".join(write_tmx([corpus(pair) for pair in pairs], "deu_Latn", "eng_Latn"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(hostile, hostile), max_size=6))
def test_line_files_stay_aligned_under_any_reader(pairs: list[tuple[str, str]]) -> None:
    for side in zip(*write_moses([corpus(*pairs)]), strict=True):
        text = b"".join(side).decode()
        assert text.count("\n") == len(text.splitlines()) == len(pairs)
        assert len(list(io.StringIO(text, newline=None))) == len(pairs)
    [lines] = write_lines([corpus(*pairs)], "source")
    assert lines == next(iter(write_moses([corpus(*pairs)])))[0]
    rows = list(
        csv.reader(
            io.StringIO(b"".join(write_tsv([corpus(*pairs)])).decode(), newline=""),
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
        )
    )
    assert [len(row) for row in rows] == [len(TSV_COLUMNS)] * len(pairs)


def test_words_and_signs_come_through_unchanged() -> None:
    pair = ('He said: "a < b & c" – 😀 …', "Он сказал: «да»\u00a0№5")
    assert units(b"".join(write_tmx([corpus(pair)], "eng_Latn", "rus_Cyrl"))) == [pair]
    [(source, target)] = write_moses([corpus(pair)])
    assert (source.decode(), target.decode()) == (pair[0] + "\n", pair[1] + "\n")
    assert b"".join(write_tsv([corpus(pair, margin=None, url=None)])).decode() == f"\t{pair[0]}\t{pair[1]}\t\t\n"


def test_breaks_become_one_space_and_null_an_empty_line() -> None:
    assert b"".join(write_lines([corpus(("a\r\n\u2028\x85b\tc\0d\n", None))], "source")) == b"a b c d\n"
    assert list(write_moses([corpus((None, "x"))])) == [(b"\n", b"x\n")]


def test_empty_tables_write_nothing() -> None:
    assert list(write_moses([corpus()])) == [(b"", b"")]
    assert b"".join(itertools.chain(write_tsv([corpus()]), write_lines([], "text"))) == b""
    assert units(b"".join(write_tmx([corpus()], "deu_Latn", "eng_Latn"))) == []
