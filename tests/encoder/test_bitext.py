from __future__ import annotations

import pyarrow as pa
import pytest

from encoder.bitext import Bitext, tokenise
from encoder.vocabulary import Vocabulary


def test_equal_texts_get_one_number_and_blank_pairs_go(vocabulary: Vocabulary) -> None:
    corpus = tokenise(
        [
            Bitext("xbb_Latn", "eng_Latn", ["the cat", "a king", "  "], pa.array(["the dog", None, "moon"])),
            Bitext(
                "xaa_Latn", "eng_Latn", pa.chunked_array([["god", "nwok"], ["god"]]), ["the dog", "the dog", "a cat"]
            ),
        ],
        vocabulary,
        max_tokens=3,
    )
    assert corpus.languages == (("xaa_Latn", "eng_Latn"), ("xbb_Latn", "eng_Latn"))
    assert corpus.bounds.tolist() == [0, 3, 4]
    assert corpus.sources[0] == corpus.sources[2] != corpus.sources[1]
    assert corpus.targets[0] == corpus.targets[1] == corpus.targets[3] != corpus.targets[2]
    assert corpus.texts.lengths.max() <= 3


def test_parts_of_one_language_pair_are_joined(vocabulary: Vocabulary) -> None:
    parts = [
        Bitext(language, "eng_Latn", [word], [word]) for language, word in (("b", "dog"), ("a", "cat"), ("b", "king"))
    ]
    corpus = tokenise(parts, vocabulary, 10)
    assert corpus.languages == (("a", "eng_Latn"), ("b", "eng_Latn"))
    assert corpus.bounds.tolist() == [0, 1, 3]


def test_a_language_without_a_usable_pair_is_left_out(vocabulary: Vocabulary) -> None:
    corpus = tokenise([Bitext("a", "e", [""], ["dog"]), Bitext("b", "e", ["cat"], ["dog"])], vocabulary, 10)
    assert corpus.languages == (("b", "e"),)
    assert corpus.bounds.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("bitext", "message"),
    [
        ([], "no pair"),
        ([Bitext("a", "b", [""], ["dog"])], "no pair"),
        ([Bitext("a", "b", ["dog"], ["dog", "cat"])], "1 sentences cannot be pairs with 2"),
    ],
)
def test_useless_bitext_is_a_value_error(vocabulary: Vocabulary, bitext: list[Bitext], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokenise(bitext, vocabulary, 10)
