from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.evaluation.comparing import ALL, compare
from tasks.evaluation.mined import Mined
from tasks.evaluation.results import Distribution, Matrix, Outcome, Row


def outcome(by_language, measure="accuracy", scores=None, **told):
    rows = [Row(language, {measure: np.asarray(values)}, scores or {}) for language, values in by_language.items()]
    fields = {"kind": "multiway", "title": "multiway x", "settings": {}, "encoder": "e", "partner": ""}
    return Outcome.of(rows, **(fields | told))


def values(share, count=400):
    return np.arange(count) < share * count


def line(comparison, language, measure="accuracy"):
    (found,) = (
        one for one in [*comparison.languages, *comparison.means] if (one.language, one.measure) == (language, measure)
    )
    return found


def test_results_are_the_same_after_they_were_written():
    distribution = Distribution(edges=[0, 1], right=[3], wrong=[4])
    rows = [Row("deu", {"accuracy": np.array([True, False, True])}, {"f1": 12.5}, {"threshold": 1.5}, distribution)]
    matrix = Matrix(measure="xsim", languages=["a", "b"], values=[[None, 1.0], [2.0, None]])
    told = {"kind": "bucc", "title": "bucc x", "settings": {"k": 4}, "encoder": "e", "partner": "p", "matrix": matrix}
    before = Outcome.of(rows, **told)
    files = {name: b"".join(chunks) for name, chunks in before.files()}
    after = Outcome.read(files)
    assert after.evaluation == before.evaluation
    assert after.evaluation.results == [
        {"language": "deu", "sentences": 3, "f1": 12.5, "accuracy": 66.67, "threshold": 1.5}
    ]
    assert after.evaluation.means == {"f1": 12.5, "accuracy": 66.67}
    assert after.evaluation.headline == "f1"
    assert after.values("accuracy")["deu"].tolist() == [1, 0, 1]
    assert {name: b"".join(chunks) for name, chunks in Outcome.of(rows, **told).files()} == files


def test_what_differs_beyond_doubt_is_marked_and_other_differences_are_not():
    a = outcome({"deu": values(0.5), "fra": values(0.5), "rus": values(0.5)})
    shuffled = np.random.default_rng(0).permutation(values(0.505))
    b = outcome({"deu": values(0.6), "fra": values(0.4), "rus": shuffled})
    found = compare(a, b)
    assert [line(found, one).better for one in ("deu", "fra", "rus", ALL)] == ["B", "A", "", ""]
    german = line(found, "deu")
    assert (german.a, german.b, german.difference) == (50.0, 60.0, 10.0)
    assert german.low < 10 < german.high


def test_of_an_error_less_is_better():
    found = compare(outcome({"deu": values(0.5)}, "xsim"), outcome({"deu": values(0.4)}, "xsim"))
    assert line(found, "deu", "xsim").better == "B"


def test_an_encoder_is_no_better_than_itself():
    one = outcome({"deu": values(0.5), "fra": values(0.3, 50)})
    for found in (*compare(one, one).languages, *compare(one, one).means):
        assert (found.difference, found.low, found.high, found.better) == (0, 0, 0, "")


def test_the_interval_of_the_mean_leaves_out_what_languages_differ_in():
    chance = np.random.default_rng(1)
    a = outcome({"easy": np.ones(500), "hard": np.zeros(100)})
    b = outcome({"easy": chance.random(500) < 0.9, "hard": chance.random(100) < 0.1})
    found = line(compare(a, b), ALL)
    exact = 100 * np.sqrt(0.09 / 500 + 0.09 / 100) / 2  # of two independent shares, each with half the weight
    assert found.high - found.low == pytest.approx(2 * 1.96 * exact, rel=0.2)


def test_a_score_that_is_no_mean_over_sentences_has_no_interval():
    found = compare(
        outcome({"deu": values(0.5)}, scores={"f1": 50.0}), outcome({"deu": values(0.9)}, scores={"f1": 60.0})
    )
    f1 = line(found, "deu", "f1")
    assert (f1.difference, f1.low, f1.high, f1.better) == (10.0, None, None, "")
    assert found.measures == ["f1", "accuracy"]


def mining(f1, found, language="deu"):
    """Results of 200 gold pairs, of which the first ones are found, and nothing else is."""
    right = np.arange(200) < found
    columns = np.arange(200) % 2, right, right, np.ones(200)
    mined = Mined(*(column.astype(np.int32) for column in columns))
    return Row(language, {"recall": right}, {"f1": f1, "precision": 100.0}, mined=mined)


def bucc(*rows):
    return Outcome.of(rows, kind="bucc", title="bucc x", settings={}, encoder="e", partner="")


def test_the_f1_of_mining_has_an_interval_beside_it_and_in_the_mean():
    found = bucc(mining(66.67, 100), mining(88.89, 160, "rus"))
    german, russian = found.evaluation.results
    assert list(german) == ["language", "sentences", "f1", "f1_low", "f1_high", "precision", "recall"]
    for row in (german, russian):
        assert row["f1_low"] < row["f1"] < row["f1_high"]
    low, high = found.evaluation.intervals["f1"]
    assert low < found.evaluation.means["f1"] < high
    assert high - low < german["f1_high"] - german["f1_low"]
    assert Outcome.read({name: b"".join(chunks) for name, chunks in found.files()}).mined.equals(found.mined)
    assert outcome({"deu": values(0.5)}).evaluation.intervals == {}


def test_the_f1_of_mining_is_compared_by_the_same_sentences():
    found = compare(
        bucc(mining(66.67, 100), mining(88.89, 160, "rus")), bucc(mining(70.97, 110), mining(88.89, 160, "rus"))
    )
    german, russian, mean = (line(found, one, "f1") for one in ("deu", "rus", ALL))
    assert (german.better, russian.better, mean.better) == ("B", "", "B")
    assert 0 < german.low < german.difference < german.high
    assert (russian.low, russian.high) == (0, 0)
    assert mean.high - mean.low == pytest.approx((german.high - german.low) / 2, abs=0.02)
    assert line(found, "deu", "precision").low is None


def test_results_for_other_sentences_are_refused():
    with pytest.raises(ValueError, match="not results for the same sentences"):
        compare(outcome({"deu": values(0.5)}), outcome({"deu": values(0.5, 300)}))
    with pytest.raises(ValueError, match="nothing in the set"):
        Outcome.of([])


def test_every_sentence_can_be_looked_at():
    frame = outcome({"deu": values(0.5, 4), "fra": values(1, 2)}).sentences
    assert frame.schema == {"language": pl.String, "row": pl.Int32, "accuracy": pl.Float32}
    assert frame.rows()[3:5] == [("deu", 3, 0.0), ("fra", 0, 1.0)]
