import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import ID
from tasks.similarity.minhash import EMPTY, MinHashConfig, first_duplicates, signatures

SMALL = MinHashConfig(bands=4, rows=2, shingle_words=2, similarity=0.5)
NOTHING = pa.array([], ID)


def ids_of(count, start=0):
    return pa.array([(start + n).to_bytes(16) for n in range(count)], ID)


def english(texts, config):
    return signatures(texts, ["eng_Latn"] * len(texts), config)


def repeats(matrix, config):
    found = first_duplicates(matrix[:0], NOTHING, matrix, ids_of(len(matrix)), config)
    return [None if one is None else int.from_bytes(one) for one in found.to_pylist()]


def literally(matrix, config):
    """The rule in its own words."""
    kept, fates = [], []
    for row in matrix:
        bands = row.reshape(config.bands, config.rows)
        alike = (
            other
            for other in kept
            if (row != EMPTY).any()
            and (matrix[other].reshape(config.bands, config.rows) == bands).all(axis=1).any()
            and (matrix[other] == row).mean() >= config.similarity
        )
        fates.append(next(alike, None))
        if fates[-1] is None:
            kept.append(len(fates) - 1)
    return fates


WORDS = st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join)
TEXTS = st.lists(WORDS, min_size=1, max_size=25)


@settings(deadline=None)
@given(TEXTS)
def test_the_rule_is_the_one_in_the_docstring(texts):
    matrix = english(texts, SMALL)
    assert repeats(matrix, SMALL) == literally(matrix, SMALL)


@settings(deadline=None)
@given(TEXTS, st.integers(0, 25))
def test_later_documents_never_change_the_fate_of_earlier_ones(texts, cut):
    matrix = english(texts, SMALL)
    assert repeats(matrix[:cut], SMALL) == repeats(matrix, SMALL)[:cut]


@settings(deadline=None)
@given(TEXTS, st.integers(0, 25), st.sampled_from([1, 2, 1000]))
def test_crawl_by_crawl_is_the_same_as_all_at_once(texts, cut, limit):
    config = SMALL.model_copy(update={"bucket_limit": limit})
    matrix, ids = english(texts, config), ids_of(len(texts))
    whole = first_duplicates(matrix[:0], NOTHING, matrix, ids, config)
    former = whole[:cut].is_null()
    kept = np.flatnonzero(former.to_numpy(zero_copy_only=False))
    second = first_duplicates(matrix[kept], ids.take(pa.array(kept)), matrix[cut:], ids[cut:], config)
    assert second.equals(whole[cut:])


@settings(deadline=None)
@given(TEXTS)
def test_a_second_pass_drops_nothing(texts):
    matrix = english(texts, SMALL)
    kept = matrix[[fate is None for fate in repeats(matrix, SMALL)]]
    assert set(repeats(kept, SMALL)) <= {None}


def test_texts_without_letters_never_match_each_other():
    matrix = english(["", "...", "", " \n", "\u00ad"], MinHashConfig(similarity=0))
    assert (matrix == EMPTY).all()
    assert repeats(matrix, MinHashConfig(similarity=0)) == [None] * 5


def test_short_texts_match_their_copies_only():
    assert repeats(english(["Hello, world!", "hello world", "hello", "world"], SMALL), SMALL) == [None, 0, None, None]


@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
def test_the_s_curve(similarity):
    config = MinHashConfig(shingle_words=1, similarity=0)
    pairs, union = 2500, 200
    common = int(similarity * union)
    texts = []
    for pair in range(pairs):  # two sets of words of which `common` of `union` are in both
        words = [f"{pair}x{n}" for n in range(union)]
        half = (union + common) // 2
        texts += [" ".join(words[:half]), " ".join(words[:common] + words[half:])]
    matrix = english(texts, config)
    found = sum(fate is not None for fate in repeats(matrix, config)) / pairs
    assert found == pytest.approx(1 - (1 - similarity**8) ** 14, abs=0.03)
    agree = (matrix[::2] == matrix[1::2]).mean()
    assert agree == pytest.approx(similarity, abs=0.003)


def test_scripts_without_spaces_are_cut_into_letters():
    text = "我们今天去公园散步因为天气很好大家都很高兴"
    changed = text.replace("公园", "学校")
    config = MinHashConfig(shingle_characters=2)
    by_letter = signatures([text, changed], ["zho_Hans"] * 2, config)
    by_word = signatures([text, changed], ["eng_Latn"] * 2, config)
    assert 0.5 < (by_letter[0] == by_letter[1]).mean() < 0.95
    assert (by_word[0] == by_word[1]).mean() < 0.05


def test_signatures_do_not_depend_on_company_or_container():
    texts = ["one two three four five six", "Пять шесть семь восемь девять десять", "zażółć gęślą jaźń", ""]
    whole = english(texts, MinHashConfig())
    alone = np.concatenate([english([text], MinHashConfig()) for text in texts])
    arrow = english(pa.array(["x", *texts])[1:], MinHashConfig())
    assert whole.dtype == np.uint32
    assert whole.shape == (4, 112)
    assert (whole == alone).all()
    assert (whole == arrow).all()


def test_the_hash_family_is_fixed():
    """Another value here means that stored signatures can no longer be compared."""
    assert english(["the quick brown fox jumps over the lazy dog"], MinHashConfig())[0, :3].tolist() == FIRST


FIRST = [732541321, 244470964, 890981731]


def test_a_bucket_remembers_only_its_first_documents():
    matrix = np.array([[1, 1, 9], [1, 2, 8], [1, 2, 7]], np.uint32)
    config = MinHashConfig(bands=3, rows=1, similarity=0.6)
    assert repeats(matrix, config) == [None, None, 1]
    many = np.array([[1, 5, 9], [1, 6, 8], [1, 7, 8]], np.uint32)
    assert repeats(many, MinHashConfig(bands=1, rows=3)) == [None, None, None]
    only_first_band = MinHashConfig(bands=3, rows=1, similarity=0.6, bucket_limit=1)
    assert repeats(np.array([[1, 2, 3], [1, 4, 5], [1, 2, 5]], np.uint32), only_first_band) == [None, None, 0]


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="languages"):
        signatures(["a"], [], MinHashConfig())
    with pytest.raises(ValueError, match="shape"):
        first_duplicates(np.zeros((0, 3), np.uint32), NOTHING, np.zeros((1, 3), np.uint32), ids_of(1), SMALL)


def test_no_documents():
    empty = english([], SMALL)
    assert empty.shape == (0, 8)
    assert len(first_duplicates(empty, NOTHING, empty, NOTHING, SMALL)) == 0
