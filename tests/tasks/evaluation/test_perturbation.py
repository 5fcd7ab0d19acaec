from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.evaluation import xsim
from encoder.inference import unit_rows
from tasks.evaluation.contrasts import CALENDAR, NUMBER_WORDS, OPPOSITES, groups, opposites
from tasks.evaluation.perturbation import KINDS, perturbations, xsim_plus

SENTENCES = [
    "The bridge in Lisbon was opened by Maria Sousa in 1966.",
    "Yesterday the mayor of Porto did not meet Carlos Lima.",
    "Carlos said that Lisbon isn't larger than Madrid.",
    "On Tuesday, three of the 12 boats can leave because of the wind.",
    "It was an old house near Madrid.",
    "quiet words without anything to change them",
]


def of(kind, sentences=SENTENCES, row=0, **options):
    return [one.text for one in perturbations(sentences, **options) if (one.row, one.kind) == (row, kind)]


def test_a_number_becomes_another_of_its_form():
    changed = of("number")
    assert changed
    for text in changed:
        assert text.startswith("The bridge in Lisbon was opened by Maria Sousa in ")
        year = text.rstrip(".").split()[-1]
        assert len(year) == 4
        assert year.isdigit()
        assert year[0] != "0"
        assert year != "1966"


def test_numerals_keep_their_separators_and_ordinals_their_ending():
    for text in of("number", ["They sold 1,204.5 tons."], per_kind=20):
        assert text[11] == ","
        assert text[15] == "."
    endings = {text.split()[2] for text in of("number", ["She came 21st again."], per_kind=30)}
    assert len(endings) > 10
    right = {"1": "st", "2": "nd", "3": "rd"}
    assert all(e[:-2][-2:] in {"11", "12", "13"} or e[-2:] == right.get(e[-3], "th") for e in endings)


def test_number_words_change_and_letters_beside_digits_do_not():
    assert of("number", ["Three ships sank."], per_kind=1)[0].split()[0] in {
        word.title() for word in groups(NUMBER_WORDS)["three"]
    }
    assert of("number", ["The B52 and the x-86b and H2O stay, as does someone."]) == []


def test_a_name_becomes_a_name_of_as_many_words_from_elsewhere():
    changed = of("entity", per_kind=10)
    assert "The bridge in Madrid was opened by Maria Sousa in 1966." in changed
    assert "The bridge in Lisbon was opened by Carlos Lima in 1966." in changed
    assert not any("Bridge" in text or "Yesterday" in text for text in changed)


def test_the_first_word_is_a_name_only_if_it_is_one_elsewhere():
    sentences = ["Rome fell.", "He saw Rome with Nero.", "The end came.", "then the end came to Nero"]
    assert of("entity", sentences) == ["Nero fell."]
    assert of("entity", sentences, row=2) == []


def test_possessives_stay_and_the_name_goes():
    assert "He saw Nero's house." in of("entity", ["He saw Rome's house.", "She saw Nero."])
    assert "He saw Nero\u2019s house." in of("entity", ["He saw Rome\u2019s house.", "She saw Nero."])


def test_days_become_days():
    days = [text.split(",")[0].removeprefix("On ") for text in of("entity", row=3, per_kind=10)]
    assert days
    assert set(days) <= set(groups(CALENDAR)["Tuesday"])


@pytest.mark.parametrize(
    ("sentence", "changed"),
    [
        ("He did not go.", "He did go."),
        ("It isn't there.", "It is there."),
        ("It isn\u2019t there.", "It is there."),
        ("We can't see it.", "We can see it."),
        ("They won't come.", "They will come."),
        ("She never sleeps here.", "She sleeps here."),
        ("This was seen.", "This was not seen."),
        ("This can be seen.", "This cannot be seen."),
        ("They have been here.", "They have not been here."),
        ("It rained because of that.", "It rained in spite of that."),
        ("An old man came.", "A new man came."),
        ("Prices increased.", "Prices decreased."),
        ("More people came.", "Less people came."),
    ],
)
def test_what_is_said_is_denied_or_turned_round(sentence, changed):
    assert changed in of("negation", [sentence], per_kind=20)


@pytest.mark.parametrize("sentence", ["They have a car.", "He does his work.", "Not only that.", "He canned it."])
def test_what_would_not_be_english_is_left_alone(sentence):
    assert of("negation", [sentence]) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*SENTENCES, "", "1 2", "Not not never", "a\nb 7", "\u0661\u0662 \u4e09"])
        | st.text("aA1 .,'-\u2019\u00e9", max_size=40),
        max_size=8,
    )
)
def test_no_variant_is_a_sentence_or_a_variant_already(sentences):
    found = perturbations(sentences)
    texts = [one.text for one in found]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & set(sentences)
    assert [one.row for one in found] == sorted(one.row for one in found)
    assert all(sum((one.row, one.kind) == (row, kind) for one in found) <= 4 for row in range(8) for kind in KINDS)


def test_variants_depend_on_the_seed_and_not_on_the_order_of_sentences():
    by_text = {(SENTENCES[one.row], one.text) for one in perturbations(SENTENCES)}
    turned = SENTENCES[::-1]
    assert {(turned[one.row], one.text) for one in perturbations(turned)} == by_text
    assert perturbations(SENTENCES) == perturbations(SENTENCES)
    assert perturbations(SENTENCES, seed=1) != perturbations(SENTENCES)


def test_a_long_line_is_left_alone_and_a_hostile_one_costs_little():
    assert perturbations(["In 1999 " * 1000]) == []
    for piece in ("A", "A.", "1,", "1.1", "n't", "'", " not", "Aa ", "\u2014 "):
        perturbations([piece * (1900 // len(piece))])


def test_every_opposite_says_something_else():
    for phrase, other in opposites().items():
        assert phrase != other
    assert all(pair.count("/") == 1 for pair in OPPOSITES.split())


def vectors(rows, seed):
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, 16)).astype(np.float32))


def test_what_won_wrongly_is_counted_by_its_kind():
    y = vectors(12, 1)
    x, texts = y.copy(), [str(row) for row in range(12)]
    x[3] = unit_rows(y[3:4] + 0.4 * vectors(1, 2))[0]
    x[4] = unit_rows(y[4:5] + 0.4 * vectors(1, 3))[0]
    x[5], x[6] = y[7], y[8]
    hard = np.stack([x[3], x[4], vectors(1, 4)[0], vectors(1, 5)[0]])
    x[9] = hard[3]  # a variant of row 10
    found = xsim_plus(x, y, hard, np.array([3, 4, 0, 10]), ["number", "entity", "entity", "negation"], texts)
    assert found.by_kind == {"entity": 1 / 12, "negation": 0, "number": 1 / 12, "other": 3 / 12}
    assert found.error == pytest.approx(5 / 12)
    assert np.flatnonzero(~found.correct).tolist() == [3, 4, 5, 6, 9]


def test_without_hard_sentences_it_is_xsim():
    x, y = vectors(40, 6), vectors(40, 6)
    y[::2] = vectors(20, 7)
    texts = [str(row % 30) for row in range(40)]
    found = xsim_plus(x, y, y[:0], np.array([], np.int64), [], texts)
    assert found.error == xsim(x, y, texts, texts) > 0
    assert found.by_kind == {"other": pytest.approx(found.error)}


def test_a_variant_of_the_same_reference_elsewhere_is_the_sentence_s_own():
    x = vectors(4, 8)
    found = xsim_plus(x, vectors(4, 9), x[:1], np.array([1]), ["number"], ["a", "a", "c", "d"], "absolute")
    assert found.by_kind["number"] == 0.25


def test_sides_that_do_not_fit_are_a_value_error():
    x = vectors(3, 1)
    with pytest.raises(ValueError, match="do not fit"):
        xsim_plus(x, x, x, np.array([0]), ["number"] * 3, ["a", "b", "c"])
    with pytest.raises(ValueError, match="do not fit"):
        xsim_plus(x, x, x, np.array([0, 1, 2]), ["number"] * 3, ["a"])
