from __future__ import annotations

import gzip
import io

import polars as pl
import pytest

from storage.errors import ConfigError
from tasks.evaluation.reading import labelled, many_ways, parallel, tatoeba
from tasks.evaluation.sets import Classification, MultiWay, Reconstruction, Tatoeba

ROWS = [(i, lang, f"{lang} {i}") for lang in ("eng_Latn", "fra_Latn", "deu_Latn") for i in range(3)]
LONG = pl.DataFrame(ROWS, schema=["idx", "lang", "text"], orient="row")


def tsv(frame):
    return "test.tsv", frame.write_csv(separator="\t", quote_style="never").encode()


def parquet(frame):
    out = io.BytesIO()
    frame.write_parquet(out)
    return "test.parquet", out.getvalue()


def zipped(frame):
    name, data = tsv(frame)
    return f"{name}.gz", gzip.compress(data)


@pytest.mark.parametrize("file", [tsv, parquet, zipped])
def test_rows_of_equal_idx_are_translations_in_any_order(file):
    found = parallel([file(LONG.reverse())], MultiWay(path="x"))
    assert [one.language for one in found] == ["deu_Latn", "fra_Latn"]
    assert found[0].texts == ["deu_Latn 0", "deu_Latn 1", "deu_Latn 2"]
    assert found[0].pivots == ["eng_Latn 0", "eng_Latn 1", "eng_Latn 2"]


def test_a_language_may_lack_rows():
    found = parallel([tsv(LONG.filter(pl.col("text") != "fra_Latn 1"))], MultiWay(path="x"))
    assert found[1].texts == ["fra_Latn 0", "fra_Latn 2"]
    assert found[1].pivots == ["eng_Latn 0", "eng_Latn 2"]


def test_a_column_may_hold_the_pivot():
    frame = pl.DataFrame({"lang": ["de", "fr"], "eng": ["one ", "two"], "text": ["eins", " "], "source": ["a", "b"]})
    tests = MultiWay(path="x", pivot_column="eng")
    assert parallel([parquet(frame)], tests) == [("de", ["eins"], ["one"])]
    narrowed = tests.model_copy(update={"where": {"source": ["b"]}})
    with pytest.raises(ConfigError, match="no sentence in the file has a translation"):
        parallel([parquet(frame)], narrowed)


def test_two_text_files_are_read_line_by_line():
    tests = Reconstruction(path="a", target_path="b", languages=["deu_Latn"])
    assert parallel([("a", b"eins\nzwei\n"), ("b", b"one\ntwo\n")], tests) == [
        ("deu_Latn", ["eins", "zwei"], ["one", "two"])
    ]
    with pytest.raises(ConfigError, match=r"a has 1 lines and b 2; line i of one"):
        parallel([("a", b"eins\n"), ("b", b"one\ntwo\n")], tests)
    with pytest.raises(ConfigError, match="is not UTF-8: byte 1"):
        parallel([("a", b"e\xff\n"), ("b", b"one\n")], tests)
    with pytest.raises(ValueError, match="name the one language of path"):
        Reconstruction(path="a", target_path="b")


@pytest.mark.parametrize(
    ("file", "changes", "told"),
    [
        (tsv(LONG.rename({"idx": "id"})), {}, r"pivot_column \(null\): the file has no column idx; it has id, lang"),
        (tsv(LONG.rename({"lang": "language"})), {}, "language_column: the file has no column lang"),
        (tsv(LONG), {"text_column": "sentence"}, "text_column: the file has no column sentence"),
        (tsv(LONG), {"pivot_column": "eng"}, "pivot_column: the file has no column eng"),
        (tsv(LONG), {"where": {"split": ["dev"]}}, r"where\.split: the file has no column split"),
        (tsv(LONG), {"pivot": "ces_Latn"}, r"pivot: ces_Latn is not in the file; it has deu_Latn, eng_Latn"),
        (tsv(LONG), {"languages": ["deu_Latn", "ces_Latn"]}, "languages: ces_Latn is not in the file"),
        (tsv(pl.concat([LONG, LONG])), {}, "an idx occurs twice in one language"),
        (("test.csv", b"a,b\n"), {}, r"test\.csv is neither \.parquet nor \.tsv"),
        (("test.parquet", b"nonsense"), {}, r"test\.parquet cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_named_with_the_field(file, changes, told):
    with pytest.raises(ConfigError, match=rf"^sets\.multiway\.?.*{told}"):
        parallel([file], MultiWay(path="x", **changes))


def test_a_matrix_is_made_of_the_rows_that_all_languages_have():
    found = many_ways([tsv(LONG.filter(pl.col("text") != "fra_Latn 1"))], MultiWay(path="x", matrix=True))
    assert sorted(found) == ["deu_Latn", "eng_Latn", "fra_Latn"]
    assert found["deu_Latn"] == ["deu_Latn 0", "deu_Latn 2"]
    alone = LONG.filter(pl.col("idx") == pl.col("lang").rank("dense") - 1)
    with pytest.raises(ConfigError, match="no sentence is there in all of them"):
        many_ways([tsv(alone)], MultiWay(path="x", matrix=True))
    with pytest.raises(ValueError, match="needs a file with idx"):
        MultiWay(path="x", matrix=True, pivot_column="eng")


def test_tatoeba_files_are_found_by_their_names():
    files = [
        ("README.md", b"x"),
        ("tatoeba.deu-eng.deu", b"eins\n"),
        ("tatoeba.deu-eng.eng", b"one\n"),
        ("tatoeba.fra-eng.fra", b"un\n"),
        ("tatoeba.fra-eng.eng", b"one\n"),
    ]
    assert tatoeba(files, Tatoeba(path="x")) == [("deu", ["eins"], ["one"]), ("fra", ["un"], ["one"])]
    assert [one.language for one in tatoeba(files, Tatoeba(path="x", languages=["fra"]))] == ["fra"]
    with pytest.raises(ConfigError, match=r"tatoeba\.fra-eng\.fra has no tatoeba\.fra-eng\.eng beside it"):
        tatoeba(files[:4], Tatoeba(path="x"))
    with pytest.raises(ConfigError, match="it needs files such as"):
        tatoeba(files[:1], Tatoeba(path="x"))


def test_labelled_texts_come_by_split_and_language():
    rows = [
        (lang, split, f"{lang} {split} {label}", label)
        for lang in ("eng_Latn", "deu_Latn")
        for split in ("train", "dev", "test")
        for label in ("a", "b")
    ]
    frame = pl.DataFrame(rows, schema=["lang", "split", "text", "topic"], orient="row")
    found = labelled([tsv(frame)], Classification(path="x", label_column="topic"))
    assert [one.language for one in found["train"]] == ["eng_Latn"]
    assert [one.language for one in found["dev"]] == ["eng_Latn"]
    assert [one.language for one in found["test"]] == ["deu_Latn", "eng_Latn"]
    assert found["test"][0].labels == ["a", "b"]
    assert found["test"][0].seconds == []
    both = Classification(path="x", label_column="topic", text2_column="split", languages=["deu_Latn"])
    assert [(one.language, one.seconds) for one in labelled([tsv(frame)], both)["test"]] == [
        ("deu_Latn", ["test", "test"])
    ]
    with pytest.raises(ConfigError, match="label_column: the file has no column label; it has lang, split, text"):
        labelled([tsv(frame)], Classification(path="x"))
    with pytest.raises(ConfigError, match="train_split: there is no such row, with train_language = fra_Latn"):
        labelled([tsv(frame)], Classification(path="x", label_column="topic", train_language="fra_Latn"))
    with pytest.raises(ConfigError, match=r"test_split: there is no such row.*split has dev, test, train"):
        labelled([tsv(frame)], Classification(path="x", label_column="topic", test_split="eval"))
