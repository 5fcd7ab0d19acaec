from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from flows.drawing import PANELS, ROWS, count_margins, margin_plot, margins_of
from flows.pictures import data_url
from storage.jobs import Job, Slot
from storage.schemas import empty

REPOSITORY = Path(__file__).parents[2]


def some(count, seed=0, least=1.0):
    return (least + np.random.default_rng(seed).gamma(2, 0.08, count)).astype(np.float32)


def words(svg):
    """The text of a picture, in reading order; that it is well-formed is seen by the way."""
    return [one.text for one in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def pairs(count):
    return {f"deu_Latn-x{place:02x}_Latn": some(50 + place, place) for place in range(count)}


def test_one_pair_is_a_histogram_that_says_how_many_are_kept():
    margins = some(1000)
    found = words(margin_plot({"deu_Latn-eng_Latn": margins}, 1.15))
    assert f"deu_Latn-eng_Latn: {int((margins >= np.float32(1.15)).sum()):,} of 1,000 pairs" in found
    assert "margin (threshold 1.15)" in found
    assert "pairs" in found


def test_each_of_a_few_pairs_has_a_histogram():
    found = words(margin_plot(pairs(PANELS), 1.15))
    assert len([text for text in found if re.fullmatch(r"deu_Latn-x\w\w_Latn: .+ pairs", text)]) == PANELS


def test_many_pairs_are_rows_of_one_picture():
    count = PANELS + 1
    found = words(margin_plot(pairs(count), 1.15))
    assert all(pair in found for pair in pairs(count))
    assert any(text.startswith(f"all {count} language pairs: ") for text in found)


def test_of_more_pairs_than_can_be_read_the_largest_are_shown():
    svg = margin_plot(pairs(ROWS + 5), 1.15)
    found = words(svg)
    shown = [text for text in found if re.fullmatch(r"deu_Latn-x\w\w_Latn", text)]
    assert shown == sorted(pairs(ROWS + 5), key=lambda pair: int(pair[10:12], 16))[5:]
    assert f"the {ROWS} with the most pairs" in found
    assert len(svg) < 250_000


@pytest.mark.parametrize("margins", [{}, {"a-b": np.zeros(0, np.float32)}, {"a-b": np.full(3, np.nan, np.float32)}])
def test_without_pairs_there_is_a_picture_all_the_same(margins):
    assert any("There are no" in text or "0 pairs" in text for text in words(margin_plot(margins, 1.15)))


@settings(max_examples=10)
@given(
    st.lists(st.floats(-5, 50, width=32), max_size=20),
    st.one_of(st.just(0.0), st.floats(-0.9, 4), st.sampled_from([-3.0, 1.15, 9.0])),
)
def test_every_margin_is_counted_once_whatever_it_is(margins, threshold):
    found = words(margin_plot({"a-b": np.array(margins, np.float32)}, threshold))
    (title,) = (text for text in found if text.startswith("a-b: "))
    assert title.endswith(f"{len(margins)} pairs")


def test_a_margin_at_the_threshold_is_above_it():
    margins = np.array([1.15, np.nextafter(np.float32(1.15), np.float32(0)), 1.149, 1.2], np.float32)
    assert "a-b: 3 of 4 pairs" in words(margin_plot({"a-b": margins}, 1.15))


def test_counts_are_the_same_picture_as_margins():
    margins = some(1000)
    batches = [margins[:10], margins[10:10], margins[10:]]
    assert margin_plot({"a-b": count_margins(batches)}, 1.2) == margin_plot({"a-b": margins}, 1.2)


def test_margins_are_counted_in_the_store(store):
    def compute(tally, config):
        row = empty("pairs")
        ids = pa.array([bytes(16)] * 3)
        columns = {name: ids.cast(pa.binary(16)) for name in ("pair_id", "source_id", "target_id")}
        numbers = {name: pa.array([1.1, 1.2, 1.2], pa.float32()) for name in ("cosine", "margin")}
        yield (
            "pairs",
            pa.table(
                columns | numbers | {"found_by": ["both"] * 3, "alignment": pa.nulls(3, pa.float32())}, row.schema
            ),
        )

    parts = store.derive(Job("mine", 1, None, (), (Slot("pairs", "deu_Latn-eng_Latn"),), compute))
    counts = margins_of(store, parts)
    assert list(counts) == ["deu_Latn-eng_Latn"]
    assert sorted(counts["deu_Latn-eng_Latn"][counts["deu_Latn-eng_Latn"] > 0]) == [1, 2]


def test_the_same_numbers_are_the_same_bytes_in_every_process():
    margins = {count: {f"a-{one}": np.linspace(1, 1.5, 50 + one) for one in range(count)} for count in (3, 20)}
    script = (
        "import sys; import numpy as np; from flows.drawing import margin_plot as plot\n"
        "for count in (3, 20):\n"
        "    sys.stdout.write(plot({f'a-{one}': np.linspace(1, 1.5, 50 + one) for one in range(count)}, 1.15))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(REPOSITORY), "TZ": "Asia/Tokyo"},
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    )
    assert found.stdout == "".join(margin_plot(one, 1.15) for one in margins.values())


def test_names_are_text_and_nothing_else():
    name = '<script>alert("x")</script> & $x_1$ ]]>'
    svg = margin_plot({name: some(5)}, 1.0)
    assert f"{name}: 5 pairs" in words(svg)
    assert "<script" not in svg


def test_a_picture_fits_into_a_url():
    svg = margin_plot({"deu_Latn-eng_Latn": np.array([1.1, 1.2, 1.3])}, 1.15)
    kind, _, data = data_url(svg.encode()).partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data, validate=True).decode() == svg
