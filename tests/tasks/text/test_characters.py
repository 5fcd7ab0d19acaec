from __future__ import annotations

import unicodedata
from itertools import groupby

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.text.characters import SCRIPTS, count_characters, main_scripts, parts_of_script

SAMPLES = {
    "Latn": "Größe ħ ꞗ",
    "Cyrl": "Привет ѓ",
    "Grek": "Γειά ἀ",
    "Arab": "سلام ې",
    "Hebr": "שלום",
    "Deva": "नमस्ते",
    "Thai": "สวัสดี",
    "Tibt": "བཀྲ་ཤིས",
    "Hani": "漢字𠀀",
    "Hira": "ひらがな",
    "Kana": "カタカナ",
    "Hang": "안녕 ㅋ",
    "Ethi": "ሰላም",
    "Geor": "გამარჯობა",
    "Zyyy": "12 !?",
}


def test_the_script_of_most_letters_wins() -> None:
    assert main_scripts(pl.Series(list(SAMPLES.values()))).tolist() == list(SAMPLES)
    assert main_scripts(pl.Series(["abc пр", "ab при", "", None])).tolist() == ["Latn", "Cyrl", "Zyyy", "Zyyy"]


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
def test_counts_agree_with_the_unicode_categories(texts: list[str]) -> None:
    counts = count_characters(pl.Series(texts, dtype=pl.String))
    for row, text in enumerate(texts):
        kinds = [unicodedata.category(char)[0] for char in text if ord(char) < 0x31350 and char not in "་༌፡"]
        assert counts.lengths[row] == len(text)
        assert counts.letters[row] == counts.scripts[row].sum() >= kinds.count("L")
        assert counts.digits[row] == kinds.count("N")
        assert counts.longest_run[row] == max((len(list(run)) for _, run in groupby(text)), default=0)


def test_rows_are_counted_apart() -> None:
    counts = count_characters(pl.Series(["aab", "bba ", "", "a\tb"]))
    assert counts.longest_run.tolist() == [2, 2, 0, 1]
    assert counts.spaces.tolist() == [0, 1, 0, 1]
    assert counts.share(counts.letters).tolist() == pytest.approx([1, 0.75, 0, 2 / 3])


def test_blocks_of_rows_change_nothing() -> None:
    texts = pl.Series(["a 1", "при", ""] * 4000)
    counts = count_characters(texts)
    assert counts.letters.tolist() == [1, 3, 0] * 4000
    assert counts.longest_run.tolist() == [1, 1, 0] * 4000


def test_joined_scripts() -> None:
    counts = count_characters(pl.Series(["日本語のテキスト", "日本", "한국 漢字", "abc日"]))
    assert counts.script_share("Jpan").tolist() == [1, 1, 0.5, 0.25]
    assert counts.script_share("Hang")[2] == 1
    assert counts.script_share("Hant").tolist()[1] == 1
    assert parts_of_script("Xxxx") == ()
    assert set(SCRIPTS) >= set(SAMPLES)
