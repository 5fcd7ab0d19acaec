import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import ID
from tasks.similarity.identifiers import keys, positions, ranks

IDS = st.lists(st.binary(min_size=16, max_size=16), max_size=20, unique=True)


@settings(deadline=None)
@given(IDS)
def test_ranks_sort_as_bytes_do(ids):
    order = np.argsort(ranks(pa.array(ids, ID)))
    assert [ids[row] for row in order] == sorted(ids)


@settings(deadline=None)
@given(IDS, IDS)
def test_positions_are_those_of_a_dictionary(wanted, ids):
    wanted = wanted + ids[::2]
    rows = {one: row for row, one in enumerate(ids)}
    assert positions(pa.array(wanted, ID), pa.array(ids, ID)).tolist() == [rows.get(one, -1) for one in wanted]


def test_slices_and_chunks_are_read_where_they_start():
    ids = pa.array([bytes([n]) * 16 for n in range(6)], ID)
    chunked = pa.chunked_array([ids[4:], ids[1:3]])
    assert (keys(ids[2:4]) == keys(ids)[2:4]).all()
    assert ranks(chunked).tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize("wrong", [pa.array([b"short"]), pa.array([None], ID), pa.array(["text"])])
def test_what_is_no_id_is_refused(wrong):
    with pytest.raises(ValueError, match="16-byte ids"):
        keys(wrong)
