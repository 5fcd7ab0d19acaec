import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.similarity.folding import ASSIGNED, DIGIT, IGNORED, SEPARATOR, SPACE, decode, folds, unspaced, utf8


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_decoding_gives_back_the_code_points(texts):
    data, offsets = utf8(texts)
    for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        points, position = [], int(start)
        while position < end:
            point, position = decode(data, position)
            points.append(chr(point))
        assert "".join(points) == text


def test_slices_chunks_and_nulls_are_texts_too():
    column = pa.array(["a", "bc", None, "d"])
    data, offsets = utf8(pa.chunked_array([column[1:], column[:1]]))
    assert (bytes(data[offsets[0] : offsets[-1]]), (offsets - offsets[0]).tolist()) == (b"bcda", [0, 2, 2, 3, 4])


@pytest.mark.parametrize(
    ("character", "counts_as"),
    [
        ("a", ord("a")),
        ("Ä", ord("ä")),
        ("Ж", ord("ж")),
        ("\uff21", ord("a")),
        ("\u093f", 0x93F),
        ("7", ord("7") + DIGIT),
        ("\uff17", ord("7") + DIGIT),
        (".", SEPARATOR),
        ("\u3002", SEPARATOR),
        ("😀", SEPARATOR),
        (" ", SPACE),
        ("\u3000", SPACE),
        ("\t", SPACE),
        ("\u00ad", IGNORED),
        ("\u200d", IGNORED),
    ],
)
def test_what_a_character_counts_as(character, counts_as):
    assert folds()[ord(character)] == counts_as


def test_unspaced_scripts_are_read_off_the_label():
    labels = ["zho_Hans", "jpn_Jpan", "tha_Thai", "deu_Latn", "kor_Hang", "und_Zyyy"]
    assert unspaced(labels).tolist() == [True, True, True, False, False, False]


def test_nothing_is_assigned_where_the_table_does_not_look():
    rest = set(range(sys.maxunicode + 1)).difference(*ASSIGNED)
    assert {unicodedata.category(chr(point)) for point in rest} == {"Cn", "Co"}
    assert all(folds()[point] == point for point in rest)
