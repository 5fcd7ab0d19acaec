from __future__ import annotations

from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.text.segmentation import SplitConfig, split_sentences

GOLDEN = Path(__file__).parent / "segmentation.golden.tsv"
CASES = [line.split("\t") for line in GOLDEN.read_text("utf-8").splitlines() if not line.startswith("#")]
UNSPACED = {"zho_Hans", "zho_Hant", "yue_Hant", "jpn_Jpan", "khm_Khmr", "mya_Mymr"}
LANGUAGES = ["eng_Latn", "rus_Cyrl", "zho_Hans", "jpn_Jpan", "tha_Thai", "lao_Laoo", "khm_Khmr", "hin_Deva", "und_Zyyy"]


@pytest.mark.parametrize(("language", "marked"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_golden(language: str, marked: str) -> None:
    expected = [sentence.removesuffix("¶") for sentence in marked.split(" | ")]
    text = marked.replace("¶ | ", "\n").replace(" | ", "" if language in UNSPACED else " ")
    assert split_sentences([text], [language]) == [expected]


def test_golden_covers_a_dozen_languages() -> None:
    assert len({language for language, _ in CASES}) >= 12


@given(st.text(alphabet="aB1.!?。」「“” \nกขу«»—;։।", max_size=80), st.sampled_from(LANGUAGES))
def test_nothing_is_lost_and_newlines_always_cut(text: str, language: str) -> None:
    [sentences] = split_sentences([text], [language])
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() and "\n" not in sentence for sentence in sentences)


def test_documents_are_split_one_by_one_in_their_own_language() -> None:
    assert split_sentences(["Hi. You.", "", "你好。再见。"], ["eng_Latn", "deu_Latn", "zho_Hans"]) == [
        ["Hi.", "You."],
        [],
        ["你好。", "再见。"],
    ]


def test_a_long_line_is_split_as_its_parts_are() -> None:
    sentence = "This was written by Dr. Smith of the U.S. Army."
    assert split_sentences([" ".join([sentence] * 1000)], ["eng_Latn"]) == [[sentence] * 1000]


def test_a_long_sentence_is_not_cut() -> None:
    sentence = "word " * 3000 + "end."
    assert split_sentences([sentence], ["eng_Latn"]) == [[sentence]]


def test_thai_clauses_are_as_long_as_asked() -> None:
    text = "เมื่อวานนี้ผมไปตลาดกับเพื่อน วันนี้เราจะไปเที่ยวทะเลกันอีกครั้ง"
    assert len(split_sentences([text], ["tha_Thai"], SplitConfig(clause_chars=10))[0]) == 2
    assert len(split_sentences([text], ["tha_Thai"], SplitConfig(clause_chars=100))[0]) == 1


@pytest.mark.parametrize("language", ["eng_Latn", "zho_Hans", "tha_Thai"])
@pytest.mark.parametrize("unit", ["“", "。」", "«a.", "A. ", "(", ". "])
def test_time_is_linear_in_hostile_text(language: str, unit: str) -> None:
    started = perf_counter()
    split_sentences([unit * 20_000], [language])
    assert perf_counter() - started < 5


def test_a_language_for_every_text_is_asked_for() -> None:
    with pytest.raises(ValueError, match="argument"):
        split_sentences(["a", "b"], ["eng_Latn"])
