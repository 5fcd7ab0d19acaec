from __future__ import annotations

from time import perf_counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.schemas import SPANS
from tasks.text.pii import pii_spans


def found(text: str) -> list[tuple[str, str]]:
    [spans] = pii_spans([text]).to_pylist()
    return [(text[span["start"] : span["end"]], span["kind"]) for span in spans]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail a.b+c@example.co.uk, please.", [("a.b+c@example.co.uk", "email")]),
        ("😀 ü a@b.com.", [("a@b.com", "email")]),
        ("The server is 8.8.8.8.", [("8.8.8.8", "ip")]),
        ("Call +49 30 1234567 or (555) 123-4567.", [("+49 30 1234567", "phone"), ("(555) 123-4567", "phone")]),
        ("Tél. 01 23 45 67 89", [("01 23 45 67 89", "phone")]),
        ("0171/1234567; 030 1234567", [("0171/1234567", "phone"), ("030 1234567", "phone")]),
        ("+44 (0)20 7946 0958", [("+44 (0)20 7946 0958", "phone")]),
        ("tel:+442079460958 (030) 123 45 67", [("+442079460958", "phone"), ("(030) 123 45 67", "phone")]),
        ("8 (800) 555-35-35", [("8 (800) 555-35-35", "phone")]),
        ("859-292-3680", [("859-292-3680", "phone")]),
        ("a@b.org 8.8.4.4 +1-202-555-0143", [("a@b.org", "email"), ("8.8.4.4", "ip"), ("+1-202-555-0143", "phone")]),
    ],
)
def test_personal_data_is_found(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no data here",
        "@name and x@y",
        "10.0.0.1, 192.168.1.1, 127.0.0.1, 999.1.1.1, 1.2.3.4.5 and 08.8.8.8",
        "2020-01-02, 01.02.2020 and 12/31/1999, at 10:30:00",
        "the years 1990-1995 and 2019 2020 2021",
        "1 234 567 €, $1,234,567.89 and 10 000 000 people, +100 000 000",
        "ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2",
        "3.141592653589 and 1000000000",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_rows_stay_apart_and_nulls_have_none() -> None:
    spans = pii_spans(pl.Series(["a@b.com and c@d.com", None, "", "e@f.com"]))
    assert spans.type == SPANS
    assert [len(row) for row in spans.to_pylist()] == [2, 0, 0, 1]
    assert pii_spans([]).type == SPANS


@given(st.text(alphabet="ab@. +()-/0123456789", max_size=60))
def test_spans_are_in_order_and_do_not_overlap(text: str) -> None:
    [spans] = pii_spans([text]).to_pylist()
    edges = [edge for span in spans for edge in (span["start"], span["end"])]
    assert edges == sorted(edges)
    assert all(0 <= span["start"] < span["end"] <= len(text) for span in spans)


@pytest.mark.parametrize("unit", ["a", "1 ", "a@", "a@a.", "1.1.1.", "(0", "+1 ", "555-555-"])
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    started = perf_counter()
    pii_spans([unit * 30_000 + "@1234567"])
    assert perf_counter() - started < 5
