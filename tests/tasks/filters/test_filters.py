import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tasks.filters import LanguageAgreement, LengthRatio, LetterShare, NumberMatch, Overlap, PairFilter

FILTERS = [LengthRatio(), LanguageAgreement(), Overlap(), NumberMatch(), LetterShare()]
every_filter = pytest.mark.parametrize("one", FILTERS, ids=lambda one: one.kind)


def table_of(*pairs, languages=("eng_Latn", "deu_Latn"), confidences=(1.0, 1.0)):
    count = len(pairs)
    return pa.table(
        {
            "source": pa.array([source for source, _ in pairs], pa.string()),
            "target": pa.array([target for _, target in pairs], pa.string()),
            "source_language": pa.array([languages[0]] * count, pa.string()),
            "target_language": pa.array([languages[1]] * count, pa.string()),
            "source_confidence": pa.array([confidences[0]] * count, pa.float32()),
            "target_confidence": pa.array([confidences[1]] * count, pa.float32()),
            "cosine": pa.array([0.9] * count, pa.float32()),
            "margin": pa.array([1.2] * count, pa.float32()),
        }
    )


def score(one, source, target, **more):
    return float(one.score(table_of((source, target), **more))[0])


PAIRS = st.lists(st.tuples(*[st.text(st.sampled_from("ab é7٣,. \u4e2d-"), max_size=12)] * 2), min_size=1, max_size=8)


@every_filter
@settings(deadline=None, max_examples=40)
@given(pairs=PAIRS, random=st.randoms(use_true_random=False))
def test_a_score_is_a_pairs_own(one, pairs, random):
    order = random.sample(range(len(pairs)), len(pairs))
    table = table_of(*pairs)
    scores = one.score(table)
    assert (scores.dtype, scores.shape) == (np.float32, (len(pairs),))
    np.testing.assert_array_equal(one.score(table.take(order)), scores[order])
    np.testing.assert_array_equal(one.score(table.slice(1)), scores[1:])


@every_filter
@settings(deadline=None, max_examples=40)
@given(pairs=PAIRS, limits=st.tuples(*[st.floats(0, 1)] * 2))
def test_acceptance_is_monotone_in_the_limit(one, pairs, limits):
    shift = 1 if one.kind == "length_ratio" else 0
    low, high = (one.model_copy(update={"limit": shift + limit}) for limit in sorted(limits))
    scores = one.score(table_of(*pairs))
    strict, lax = (low, high) if one.kind in ("length_ratio", "overlap") else (high, low)
    assert strict.accept(scores).dtype == np.bool_
    assert not (strict.accept(scores) & ~lax.accept(scores)).any()


@every_filter
def test_a_good_pair_passes_every_filter(one):
    table = table_of(
        ("The 3 tests took 1,500 seconds in Berlin.", "Die 3 Prüfungen dauerten in Berlin 1.500 Sekunden."),
        ("He came on 3 May.", "Er kam am 3. Mai."),
    )
    assert one.accept(one.score(table)).all()


@every_filter
def test_no_pairs_no_scores(one):
    assert one.score(table_of()).shape == (0,)
    assert one.accept(one.score(table_of())).shape == (0,)


@every_filter
def test_nulls_are_scored(one):
    assert one.score(table_of((None, "text"), ("text", None), (None, None))).shape == (3,)


@every_filter
def test_settings_go_through_json_by_kind(one):
    adapter = TypeAdapter(PairFilter)
    assert adapter.validate_json(one.model_dump_json()) == one
    with pytest.raises(ValidationError):
        adapter.validate_python({"kind": one.kind, "threshold": 1})


@pytest.mark.parametrize(
    ("source", "target", "languages", "expected"),
    [
        ("four", "eighteen", ("eng_Latn", "deu_Latn"), 2),
        ("äöü", "aou", ("deu_Latn", "eng_Latn"), 1),
        ("six letters", "中文", ("eng_Latn", "zho_Hans"), 11 / 6),
        ("六", "seven", ("jpn_Jpan", "eng_Latn"), 5 / 3),
        ("", "text", ("eng_Latn", "deu_Latn"), float("inf")),
        ("", "", ("eng_Latn", "deu_Latn"), float("inf")),
    ],
)
def test_length_ratio(source, target, languages, expected):
    assert score(LengthRatio(), source, target, languages=languages) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("confidences", "expected"), [((0.9, 0.2), 0.2), ((0.3, 0.8), 0.3), ((None, 0.8), 0), ((0.8, float("nan")), 0)]
)
def test_language_agreement(confidences, expected):
    assert score(LanguageAgreement(), "a", "b", confidences=confidences) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("source", "target", "lowest", "highest"),
    [
        ("The house is old", "The house is old", 1, 1),
        ("12:30", "12:30", 1, 1),
        ("THE HOUSE, is old!", "the house is old", 1, 1),
        ("The house is old", "The house is old - Das Haus ist alt", 1, 1),
        ("12:30", "13:30", 0, 0),
        ("The house is old", "", 0, 0),
        ("The house is old", "Das Haus ist alt", 0, 0.1),
        ("Angela Merkel visited Paris in 2015.", "Angela Merkel besuchte 2015 Paris.", 0.3, 0.8),
        ("Ok", "ok", 1, 1),
        ("Дом старый", "The house is old", 0, 0),
        ("今天天气很好", "今天天气很好啊", 1, 1),
    ],
)
def test_overlap(source, target, lowest, highest):
    assert lowest <= score(Overlap(), source, target) <= highest
    assert score(Overlap(), target, source) == score(Overlap(), source, target)


def test_overlap_counts_what_is_common_of_the_smaller_side():
    assert score(Overlap(letters=2), "abcd", "bcdef") == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("no number", "keine Zahl", 1),
        ("1,000.50", "1.000,50", 1),
        ("1,234,567", "1 234 567", 1),
        ("1,234,567", "1\u202f234\u202f567", 1),
        ("12,34,567", "1234567", 1),
        ("3.5", "3,5", 1),
        ("٣٫٥", "3.5", 1),
        ("१२३", "123", 1),
        ("\uff11\uff12", "12", 1),
        ("12/05/2015", "12.05.2015", 1),
        ("05", "5", 1),
        ("0", "00", 1),
        ("in 2015 300 people", "2015 kamen 300", 1),
        ("7", "8", 0),
        ("7", "seven", 0),
        ("1 and 2", "1 und 3", 0.5),
        ("5 5 5", "5 5", 2 / 3),
        ("1, 2, 3, 4", "4 3 2", 0.75),
        ("100", "1000", 0),
        ("", "", 1),
    ],
)
def test_number_match(source, target, expected):
    assert score(NumberMatch(), source, target) == pytest.approx(expected)
    assert score(NumberMatch(), target, source) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("abc", "abc", 1),
        ("ab c!", "abc", 0.75),
        ("abc", "12 ab", 0.5),
        ("हिन्दी", "Hindi", 1),
        ("a\u00adb", "ab", 1),
        ("", "abc", 0),
        ("1 000 $", "abc", 0),
        ("😀a", "ab", 0.5),
    ],
)
def test_letter_share(source, target, expected):
    assert score(LetterShare(), source, target) == pytest.approx(expected)
