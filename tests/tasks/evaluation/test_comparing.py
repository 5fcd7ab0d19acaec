from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.evaluation.comparing import ALL, compare
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


def test_results_for_other_sentences_are_refused():
    with pytest.raises(ValueError, match="not results for the same sentences"):
        compare(outcome({"deu": values(0.5)}), outcome({"deu": values(0.5, 300)}))
    with pytest.raises(ValueError, match="nothing in the set"):
        Outcome.of([])


def test_every_sentence_can_be_looked_at():
    frame = outcome({"deu": values(0.5, 4), "fra": values(1, 2)}).sentences
    assert frame.schema == {"language": pl.String, "row": pl.Int32, "accuracy": pl.Float32}
    assert frame.rows()[3:5] == [("deu", 3, 0.0), ("fra", 0, 1.0)]
