from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.vocabulary import Ragged, Vocabulary, VocabularyConfig, balanced_quota, train_vocabulary

SENTENCES = ["The river finds a stone.", "A stone finds the river!", "the child hears the bird"] * 30
ROWS = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=12)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged.of([np.array(row, np.int32) for row in rows])


def rows_of(tokens: Ragged) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.ids, tokens.offsets[1:-1])]


def test_equal_sentences_give_equal_bytes() -> None:
    config = VocabularyConfig(size=40)
    assert train_vocabulary(SENTENCES, config).model == train_vocabulary(iter(SENTENCES), config).model


@pytest.mark.parametrize("lower_case", [True, False], ids=["fold", "keep"])
def test_lower_case_folds_case(*, lower_case: bool) -> None:
    vocabulary = train_vocabulary(SENTENCES, VocabularyConfig(size=40, lower_case=lower_case))
    upper, lower = rows_of(vocabulary.encode(["THE river", "the river"]))
    assert (upper == lower) is lower_case


def test_only_the_sample_is_read() -> None:
    config = VocabularyConfig(size=40, sample_sentences=len(SENTENCES))
    assert train_vocabulary([*SENTENCES, "zzzz " * 50], config).model == train_vocabulary(SENTENCES, config).model


def test_a_vocabulary_is_no_larger_than_the_text_allows() -> None:
    largest = train_vocabulary(SENTENCES, VocabularyConfig(size=5000))
    assert 40 < largest.size < 200
    assert train_vocabulary(SENTENCES, VocabularyConfig(size=largest.size)).model == largest.model
    with pytest.raises(ValueError, match="8 subwords"):
        train_vocabulary(SENTENCES, VocabularyConfig(size=8))


@pytest.mark.parametrize("model", [b"", b"not a model"])
def test_bytes_that_are_no_model_are_a_value_error(model: bytes) -> None:
    with pytest.raises(ValueError, match="SentencePiece"):
        Vocabulary(model)


def test_a_vocabulary_travels_between_processes(vocabulary: Vocabulary) -> None:
    copy = pickle.loads(pickle.dumps(vocabulary))
    assert rows_of(copy.encode(["the dog"])) == rows_of(vocabulary.encode(["the dog"]))


def test_marks_in_the_text_are_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode(["<s> </s> <pad>"]).ids
    assert not set(ids.tolist()) & {0, 2, 3}


@given(ROWS, st.data())
def test_take_copies_rows_and_cuts_them(rows: list[list[int]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    taken = ragged(rows).take(np.array(wanted, np.int64), 3)
    assert len(taken) == len(wanted)
    assert rows_of(taken) == [rows[row][:3] for row in wanted]


@given(ROWS)
def test_keep_drops_tokens_and_no_sentence(rows: list[list[int]]) -> None:
    tokens = ragged(rows)
    assert rows_of(tokens.keep(tokens.ids % 2 == 0)) == [[number for number in row if number % 2 == 0] for row in rows]


@given(
    st.dictionaries(st.sampled_from(["deu_Latn", "fra_Latn", "khm_Khmr", "tam_Taml"]), st.integers(0, 10_000)),
    st.integers(0, 20_000),
    st.floats(0, 1),
)
def test_quota_never_asks_for_more_than_there_is(counts: dict[str, int], total: int, exponent: float) -> None:
    quota = balanced_quota(counts, total, exponent)
    assert quota.keys() == counts.keys()
    assert all(0 <= quota[language] <= counts[language] for language in counts)
    assert min(total, sum(counts.values())) - len(counts) <= sum(quota.values()) <= total


def test_quota_favours_the_small() -> None:
    assert balanced_quota({"big": 1_000_000, "small": 10_000}, 1100, 0.5) == {"big": 1000, "small": 100}
    assert balanced_quota({"big": 1_000_000, "small": 10}, 1100, 0) == {"big": 1090, "small": 10}


def test_a_sentence_is_read_in_both_vocabularies() -> None:
    both = train_vocabulary(SENTENCES, VocabularyConfig(size=40, finer=30))
    first, second = Vocabulary(both.model), Vocabulary(both.finer)
    texts = [*SENTENCES[:5], "", "?"]
    wanted = [
        [*one, *(other + first.size)]
        for one, other in zip(rows(first.encode(texts)), rows(second.encode(texts)), strict=True)
    ]
    assert [list(one) for one in rows(both.encode(texts))] == wanted
    assert both.size == first.size + second.size == 70


def rows(tokens: Ragged) -> list[np.ndarray]:
    return np.split(tokens.ids, tokens.offsets[1:-1])
