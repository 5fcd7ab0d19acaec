from __future__ import annotations

from hashlib import blake2b

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.ids import content_id, content_ids, joined_ids
from storage.schemas import ID

parts = st.lists(st.text(), max_size=4)


@given(parts, parts)
def test_an_id_stands_for_its_parts_and_where_they_are_cut(one, other):
    assert (content_id(*one) == content_id(*other)) == (one == other)


def test_ids_never_change():
    assert content_id("deu_Latn", "Guten Tag.").hex() == "ea57c668da4c6f8223750aee2ea996e9"


def test_half_a_surrogate_pair_has_an_id():
    assert len(content_id("\ud800")) == 16


def test_a_column_of_ids_is_row_by_row():
    ids = content_ids(["a", "b"], ["c", "d"])
    assert ids.type == ID
    assert ids.to_pylist() == [content_id("a", "c"), content_id("b", "d")]
    assert content_ids([], []).type == ID
    with pytest.raises(ValueError, match="shorter"):
        content_ids(["a"], [])


def test_joined_ids_know_the_sides():
    left, right = content_ids(["a", "b"]), content_ids(["b", "a"])
    joined = joined_ids(left, right)
    assert joined.type == ID
    assert joined[0] != joined[1]
    assert joined_ids(pa.array([], ID), pa.array([], ID)).to_pylist() == []


IDS = st.lists(st.binary(min_size=16, max_size=16), max_size=30)


@given(IDS, IDS, st.integers(0, 30))
def test_joined_ids_are_the_hashes_of_both_ids_end_to_end(left, right, start):
    """Of slices too, whose buffers begin before them."""
    count = min(len(left), len(right))
    joined = joined_ids(*(pa.array(side[:count], ID).slice(start) for side in (left, right)))
    joined.validate(full=True)
    pairs = zip(left[start:count], right[start:count], strict=True)
    assert joined.to_pylist() == [blake2b(a + b, digest_size=16).digest() for a, b in pairs]


def test_ids_that_are_not_there_are_not_joined():
    ids = pa.array([bytes(16), bytes(16)], ID)
    for other in (ids[:1], pa.array([bytes(16), None], ID)):
        with pytest.raises(ValueError, match="are not joined"):
            joined_ids(ids, other)
