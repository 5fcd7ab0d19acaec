from __future__ import annotations

import re
from functools import partial
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from flows.drawing_evaluation import comparison_plot, heat_map, margins_plot, score_plot
from flows.pictures import data_url, picture
from tasks.evaluation.comparing import compare
from tasks.evaluation.results import Distribution, Matrix, Outcome, Row

TOLD = {"kind": "multiway", "title": "multiway x", "settings": {}, "encoder": "e", "partner": ""}


def words(draw):
    """The text of a picture, in reading order; that it is well-formed is seen by the way."""
    return [one.text for one in ET.fromstring(picture(draw)).iter("{http://www.w3.org/2000/svg}text")]


def shares(count, measure="accuracy_cosine", shift=0.0):
    rows = [
        Row(f"x{place:02x}_Latn", {measure: np.arange(200) < place + 200 * shift * (place % 3 - 1)})
        for place in range(count)
    ]
    return Outcome.of(rows, **TOLD)


def languages(found):
    return [text for text in found if re.fullmatch(r"x\w\w_Latn", text)]


@pytest.mark.parametrize("count", [1, 112, 200])
def test_every_language_stands_in_the_order_of_its_score(count):
    found = words(partial(score_plot, shares(count).evaluation))
    assert languages(found) == [f"x{place:02x}_Latn" for place in reversed(range(count))]
    assert any(f"over {count} languages" in text and "higher is better" in text for text in found)


def test_of_errors_the_least_is_first():
    found = words(partial(score_plot, shares(5, "xsim").evaluation))
    assert languages(found) == [f"x{place:02x}_Latn" for place in range(5)]
    assert any("lower is better" in text for text in found)


def test_two_encoders_are_drawn_in_the_order_of_the_difference():
    comparison = compare(shares(45), shares(45, shift=0.2))
    found = words(partial(comparison_plot, comparison.title, "accuracy_cosine", comparison.languages))
    order = sorted(comparison.languages, key=lambda one: (-one.difference, one.language))
    assert languages(found) == [one.language for one in order]
    assert f"{order[0].difference:+.1f}" in found


@pytest.mark.parametrize("count", [3, 60])
def test_a_matrix_names_its_languages_on_both_sides_and_small_ones_their_numbers(count):
    names = [f"x{place:02x}_Latn" for place in range(count)]
    values = [[None if i == j else float(i + j) / 2 for j in range(count)] for i in range(count)]
    found = words(partial(heat_map, Matrix(measure="xsim", languages=names, values=values), "multiway x"))
    assert sorted(languages(found)) == sorted(2 * names)
    assert languages(found)[:2] == [names[0], names[0]]  # the closest to all others
    assert ("1.5" in found) == (count == 3)


def test_margins_are_drawn_together_and_by_language():
    counts = Distribution(edges=[0.0, 0.5, 1.0, 1.5], right=[1, 2, 3], wrong=[3, 2, 1])
    facts = {f"{side}_{share}%": 1 + share / 1000 for side in ("wrong", "right") for share in (5, 50, 95)}
    rows = [Row(name, {"separated": np.array([True, False])}, {}, facts, counts) for name in ("xaa_Latn", "xbb_Latn")]
    found = words(partial(margins_plot, Outcome.of(rows, **TOLD).evaluation))
    assert languages(found) == ["xaa_Latn", "xbb_Latn"]
    assert "translations" in found
    assert "50.0" in found


def test_the_same_numbers_are_the_same_bytes():
    draw = partial(score_plot, shares(4).evaluation)
    assert picture(draw) == picture(draw)
    assert picture(draw, "png") == picture(draw, "png")
    assert picture(draw, "png").startswith(b"\x89PNG")
    assert data_url(picture(draw)).startswith("data:image/svg+xml;base64,")
