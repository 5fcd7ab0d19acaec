from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from storage.errors import ConfigError
from tasks.evaluate_encoder import evaluate_encoder
from tasks.evaluation.results import Outcome
from tasks.evaluation.sets import (
    Bucc,
    Classification,
    Margins,
    MultiWay,
    Reconstruction,
    Tatoeba,
    XsimPlus,
)


class Numbers:
    """Knows the first number of a sentence and nothing else, which is enough to translate these."""

    dimension = 64
    fingerprint = "numbers"

    def __init__(self):
        self.seen = []

    def load(self, store):
        return self

    def encode(self, sentences):
        self.seen += sentences
        numbers = ["".join(letter for letter in sentence if letter.isdigit()) for sentence in sentences]
        return np.eye(self.dimension, dtype=np.float32)[[int(number or 0) % self.dimension for number in numbers]]


class Backwards(Numbers):
    """Sees every number as its negative."""

    fingerprint = "backwards"

    def encode(self, sentences):
        return super().encode(sentences)[:, ::-1]


def evaluated(store, tests, encoder=None, partner=None):
    return evaluate_encoder.fn(store, "numbers", encoder or Numbers(), tests, partner)


def outcome(store, *arguments):
    return Outcome.read(store.files(evaluated(store, *arguments)).read())


def scores(store, *arguments):
    return outcome(store, *arguments).evaluation


@pytest.fixture
def folder(tmp_path):
    """Four sentences of Tatoeba, of which three are translated."""
    folder = tmp_path / "tatoeba"
    folder.mkdir()
    (folder / "tatoeba.deu-eng.deu").write_text("eins 1\nzwei 2\ndrei 3\nvier 4\n")
    (folder / "tatoeba.deu-eng.eng").write_text("one 1\ntwo 2\nthree 3\nfive 5\n")
    return folder


@pytest.fixture
def file(tmp_path):
    """Thirty sentences in three languages."""
    rows = [(i, lang, f"{lang} {i}") for lang in ("eng_Latn", "fra_Latn", "deu_Latn") for i in range(30)]
    path = tmp_path / "test.tsv"
    pl.DataFrame(rows, schema=["idx", "lang", "text"], orient="row").write_csv(path, separator="\t")
    return path


def test_tatoeba_counts_sentences_that_are_found_in_both_directions(store, folder):
    found = outcome(store, Tatoeba(path=str(folder)))
    assert found.evaluation.results == [
        {
            "language": "deu",
            "sentences": 4,
            "error": 25.0,
            "accuracy_cosine": 75.0,
            "accuracy_margin": 75.0,
            "xsim": 25.0,
        }
    ]
    assert found.evaluation.means["accuracy_cosine"] == 75.0
    assert found.sentences["accuracy_cosine"].to_list() == [1, 1, 1, 0]
    assert (found.evaluation.title, found.evaluation.encoder) == ("tatoeba", "numbers")


def test_multiway_compares_every_language_with_the_pivot(store, file):
    found = scores(store, MultiWay(path=str(file)))
    assert [one["language"] for one in found.results] == ["deu_Latn", "fra_Latn"]
    assert (found.means["xsim"], found.means["accuracy_cosine"]) == (0.0, 100.0)
    assert found.headline == "xsim"
    assert found.title == "multiway test.tsv"
    assert scores(store, MultiWay(path=str(file), languages=["fra_Latn"])).title == "multiway test.tsv 1 languages"


def test_a_matrix_compares_all_with_all_and_embeds_each_text_once(store, file):
    encoder = Numbers()
    found = scores(store, MultiWay(path=str(file), matrix=True), encoder).matrix
    assert found.languages == ["deu_Latn", "eng_Latn", "fra_Latn"]
    assert found.values == [[None, 0, 0], [0, None, 0], [0, 0, None]]
    assert len(encoder.seen) == len(set(encoder.seen)) == 90


def test_english_is_embedded_by_the_partner(store, file):
    encoder, partner = Numbers(), Backwards()
    found = scores(store, MultiWay(path=str(file), matrix=True), encoder, partner)
    assert set(partner.seen) == {f"eng_Latn {i}" for i in range(30)}
    assert not any(text.startswith("eng") for text in encoder.seen)
    assert found.means["xsim"] > 90
    assert found.matrix.values[0][2] == 0
    assert found.partner == "backwards"


def test_changed_copies_of_the_pivot_mislead(store, tmp_path):
    english = [f"Anna did not pay {i} pounds to London." for i in range(1, 20)]
    rows = [("deu_Latn", f"Anna zahlte London {i} Pfund nicht.", text) for i, text in enumerate(english, 1)]
    path = tmp_path / "test.parquet"
    pl.DataFrame(rows, schema=["lang", "text", "eng"], orient="row").write_parquet(path)
    found = scores(store, XsimPlus(path=str(path), pivot_column="eng"))
    (row,) = found.results
    assert row["variants"] > 0
    assert found.headline == "xsim_plus"
    assert row["xsim_plus"] == pytest.approx(sum(row[kind] for kind in ("number", "entity", "negation", "other")))


def test_hidden_translations_are_mined(store, file):
    found = scores(store, Bucc(path=str(file), pairs=8))
    assert [(row["language"], row["sentences"], row["f1"]) for row in found.results] == [
        ("deu_Latn", 8, 100.0),
        ("fra_Latn", 8, 100.0),
    ]
    assert found.headline == "f1"
    assert (found.results[0]["f1_low"], found.results[0]["f1_high"]) == (100.0, 100.0)
    assert found.intervals == {"f1": (100.0, 100.0)}
    with pytest.raises(ConfigError, match=r"sets\.bucc\.pairs: deu_Latn: "):
        evaluated(store, Bucc(path=str(file), where={"idx": ["0", "1"]}))


def test_only_what_is_hidden_is_embedded(store, file):
    encoder = Numbers()
    outcome(store, Bucc(path=str(file), pairs=8, distractors=3), encoder)
    assert len(encoder.seen) == 2 * 2 * (8 + 3)  # two languages, two sides


def test_two_aligned_files_are_put_together_again(store, folder):
    paths = [str(folder / f"tatoeba.deu-eng.{one}") for one in ("deu", "eng")]
    found = scores(store, Reconstruction(path=paths[0], target_path=paths[1], languages=["deu_Latn"]))
    assert found.means["precision_margin"] == 75.0


def test_margins_tell_translations_from_others(store, file):
    found = scores(store, Margins(path=str(file)))
    assert found.means["separated"] == 100.0
    assert sum(found.distributions["deu_Latn"].right) == 30
    assert found.results[0]["right_50%"] > found.results[0]["wrong_95%"]


@pytest.mark.parametrize("second", [None, "text2"])
def test_a_classifier_that_learnt_english_knows_german(store, tmp_path, second):
    rows = [
        (lang, split, f"{lang} {number}", f"{lang} {2 * number}", "odd" if number % 2 else "even")
        for lang in ("eng_Latn", "deu_Latn")
        for split in ("train", "dev", "test")
        for number in range(16)
    ]
    path = tmp_path / "test.tsv"
    frame = pl.DataFrame(rows, schema=["lang", "split", "text", "text2", "label"], orient="row")
    frame.write_csv(path, separator="\t")
    found = scores(store, Classification(path=str(path), text2_column=second, classifier={"l2": [0.001]}))
    assert {row["language"]: row["accuracy"] for row in found.results} == {"deu_Latn": 100.0, "eng_Latn": 100.0}


def test_a_set_is_scored_once_wherever_it_lies(store, folder, tmp_path):
    first = evaluated(store, Tatoeba(path=str(folder)))
    moved = folder.rename(tmp_path / "elsewhere")
    encoder = Numbers()
    assert evaluated(store, Tatoeba(path=str(moved)), encoder) == first
    assert not encoder.seen
    assert evaluated(store, Tatoeba(path=str(moved)), encoder, Backwards()) != first


def test_what_is_missing_is_named(store, tmp_path):
    (tmp_path / "tatoeba.deu-eng.deu").write_text("eins 1\n")
    with pytest.raises(ConfigError, match=r"has no tatoeba\.deu-eng\.eng beside it"):
        evaluated(store, Tatoeba(path=str(tmp_path)))
    (tmp_path / "test.tsv").write_text("idx\tlang\ttext\n0\tdeu_Latn\teins 1\n")
    with pytest.raises(ConfigError, match="pivot: eng_Latn is not in the file"):
        evaluated(store, MultiWay(path=str(tmp_path / "test.tsv")))
    gone = Reconstruction(path=str(tmp_path / "test.tsv"), target_path=str(tmp_path / "none"), languages=["a"])
    with pytest.raises(ConfigError, match=r"sets\.reconstruction\.target_path: there is no file"):
        evaluated(store, gone)
