from __future__ import annotations

import json

import numpy as np
import pytest

from storage.errors import ConfigError
from tasks.evaluate_encoder import MultiWay, Tatoeba, evaluate_encoder


class Numbers:
    """Knows the first number of a sentence and nothing else, which is enough to translate these."""

    dimension = 8
    fingerprint = "numbers"

    def load(self, store):
        return self

    def encode(self, sentences):
        return np.eye(8, dtype=np.float32)[[int(sentence.split()[-1]) for sentence in sentences]]


def scores(store, tests):
    return json.loads(store.files(evaluate_encoder.fn(store, "numbers", Numbers(), tests)).read()["evaluation.json"])


def test_tatoeba_pairs_are_found_by_their_names(store, tmp_path):
    folder = tmp_path / "tatoeba"
    folder.mkdir()
    (folder / "tatoeba.deu-eng.deu").write_text("eins 1\nzwei 2\ndrei 3\nvier 4\n")
    (folder / "tatoeba.deu-eng.eng").write_text("one 1\ntwo 2\nthree 3\nfive 5\n")
    found = scores(store, Tatoeba(path=str(folder)))
    assert found["languages"] == 1
    assert found["results"] == [
        {"language": "deu", "sentences": 4, "accuracy_cosine": 75.0, "accuracy_margin": 75.0, "xsim": 25.0}
    ]
    assert found["mean_xsim"] == 25.0


@pytest.mark.parametrize("name", ["test.tsv", "test.parquet"])
def test_multiway_compares_every_language_with_the_pivot(store, tmp_path, name):
    import polars as pl

    rows = [(i, lang, f"{lang} {i}") for lang in ("eng_Latn", "fra_Latn", "deu_Latn") for i in range(5)]
    frame = pl.DataFrame(rows, schema=["idx", "lang", "text"], orient="row")
    path = tmp_path / name
    frame.write_parquet(path) if name.endswith("parquet") else frame.write_csv(path, separator="\t")
    found = scores(store, MultiWay(path=str(path)))
    assert [one["language"] for one in found["results"]] == ["deu_Latn", "fra_Latn"]
    assert found["mean_accuracy_cosine"] == 100.0


def test_a_missing_half_or_pivot_is_named(store, tmp_path):
    (tmp_path / "tatoeba.deu-eng.deu").write_text("eins 1\n")
    with pytest.raises(ConfigError, match=r"has no tatoeba\.deu-eng\.eng beside it"):
        scores(store, Tatoeba(path=str(tmp_path)))
    (tmp_path / "test.tsv").write_text("idx\tlang\ttext\n0\tdeu_Latn\teins 1\n")
    with pytest.raises(ConfigError, match="pivot: eng_Latn is not in the file"):
        scores(store, MultiWay(path=str(tmp_path / "test.tsv")))
