"""The command that trains encoders, as it is typed."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from encoder.registry import load_encoder
from flows.cli_training import Recipe, bitext_of, settings_of, sides_of
from flows.config import EncoderRecipe
from storage.errors import ConfigError
from tasks.train_encoder import CURVE

SEED = Path(__file__).parents[2] / "samples" / "seed" / "seed.tsv"
LITTLE = ("--steps", 3, "--subwords", 300, "--threads", 1)


@pytest.fixture(scope="module")
def pairs():
    """Two hundred German sentences with their translations."""
    rows = [line.split("\t") for line in SEED.read_text("utf-8").splitlines()]
    return [(source, target) for label, _, source, target in rows if label == "deu_Latn"][:200]


@pytest.fixture
def write(pairs, tmp_path):
    """Write them as people have them, and return what they would type."""

    def written(kind):
        if kind == "moses":
            for side, name in enumerate(("text.de", "text.en")):
                (tmp_path / name).write_text("".join(f"{pair[side]}\n" for pair in pairs), "utf-8")
            return [tmp_path / "text.de", tmp_path / "text.en", "--languages", "de-eng_Latn"]
        table = pa.table({"source": [one for one, _ in pairs], "target": [one for _, one in pairs]})
        if kind == "parquet":
            labels = {"source_language": "deu_Latn", "target_language": "eng_Latn"}
            for name, label in labels.items():
                table = table.append_column(name, pa.array([label] * len(pairs)))
            pq.write_table(table, tmp_path / "text.parquet")
            return [tmp_path / "text.parquet"]
        text = "".join(f"{one}\t{other}\n" for one, other in [("source", "target"), *pairs])
        path = tmp_path / "text.tsv.gz"
        path.write_bytes(gzip.compress(text.encode()))
        return [path, "--languages", "deu_Latn-eng_Latn"]

    return written


@pytest.mark.parametrize("kind", ["moses", "parquet", "tsv"])
def test_an_encoder_is_trained_from_the_users_own_text(babelmill, write, kind, texts, tmp_path):
    lines = babelmill.lines("train", *write(kind), *LITTLE, "--root", tmp_path / "root", "--name", "mine")
    held_out, place = lines[-2:]
    assert held_out.startswith("Held-out pairs: loss ")
    assert "%" in held_out
    folder = Path(place.removeprefix("The encoder is at ").partition(";")[0])
    assert folder.is_relative_to(tmp_path / "root")
    assert load_encoder(str(folder)).encode(["Guten Tag."]).shape == (1, 256)
    points = json.loads((folder / CURVE).read_text())["points"]
    assert [point["step"] for point in points] == [1, 2, 3]
    if kind == "tsv":  # and again, which does nothing anew; and what it said of its use is so
        told = babelmill.lines("train", *write(kind), *LITTLE, "--root", tmp_path / "root", "--name", "mine")
        assert told == lines
        assert babelmill.lines("mine", *texts, "--encoder", folder, "--threshold", "0")


def test_sets_are_scored_and_told(babelmill, write, texts, tmp_path):
    (tmp_path / "tatoeba").mkdir()
    for path in texts:
        (tmp_path / "tatoeba" / f"tatoeba.deu-eng.{path.stem[:3]}").write_bytes(path.read_bytes())
    sets = ("--set", f"tatoeba:{tmp_path / 'tatoeba'}")
    told = "\n".join(babelmill.lines("train", *write("moses"), *LITTLE, *sets, "--root", tmp_path / "root"))
    assert "tatoeba: percent" in told
    assert "│ deu " in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("text.de",), "text.de: parallel text is .parquet or .tsv files, or two text files"),
        (("text.de", "text.en", "text.fr"), "two text files"),
        (("text.de", "text.en"), "--languages: two text files need their labels, such as deu_Latn-eng_Latn"),
        (("text.de", "text.en", "--languages", "deu_Latn-eng_Latn-fra_Latn"), "write two labels"),
        (("text.de", "text.en", "--languages", "deu_Latn"), "write two labels"),
        (("text.de", "text.en", "--languages", "deu_Latn-"), "--languages deu_Latn-: '' is no language label"),
        (("text.de", "text.en", "--languages", "german-english"), "'german' is no language label"),
        (("text.de", "none.en", "--languages", "de-en"), "recipe.bitext.target_path: there is no file at none.en"),
        (("none.tsv",), "recipe.bitext.path: there is no file at none.tsv"),
        (("text.tsv", "--set", "tatoeba:none"), "evaluation.path: there is no file at none"),
        (("text.tsv", "--set", "tatoeba"), "write KIND:PATH"),
        (("text.tsv", "--extend", "none"), "encoder: "),
        (("text.tsv", "--name", "../up"), "name: "),
        (("none.yaml",), "cannot read none.yaml"),
        (("train.yaml", "--steps", "5", "text.tsv"), "write there what is to be used of text.tsv, --steps"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_any_work(babelmill, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    for name in ("text.de", "text.en", "text.fr"):
        Path(name).write_text("a\n", "utf-8")
    Path("text.tsv").write_text("source\ttarget\na\tb\n", "utf-8")
    Path("train.yaml").write_text(yaml.safe_dump({"recipe": {"bitext": [{"path": "text.tsv"}]}}), "utf-8")
    assert told in babelmill.refused("train", *arguments)
    assert not list(Path().glob("runs/*/*/manifest.json"))
    assert not list(Path().glob("runs/datasets"))


def test_an_unknown_recipe_is_refused_with_those_that_there_are(babelmill):
    result = babelmill("train", SEED, "--recipe", "huge")
    assert result.exit_code == 2
    for name in Recipe:
        assert name in result.stderr


@pytest.mark.parametrize(
    ("data", "arguments", "told"),
    [
        (b"source\ttarget\na\tb\n", (), "text.tsv has no column source_language, target_language; it has source"),
        (b"Ja.\tYes.\n", ("--languages", "de-en"), "The first line of a TSV file names its columns"),
        (b"source\ttarget\nabcdef\tghijkl\n", ("--languages", "de-en", "--subwords", "8"), "vocabulary.size: "),
    ],
)
def test_text_that_cannot_be_used_is_named_with_what_is_wrong(babelmill, tmp_path, data, arguments, told):
    path = tmp_path / "text.tsv"
    path.write_bytes(data)
    result = babelmill("train", path, *arguments, "--root", tmp_path / "root")
    assert result.exit_code == 2
    (message,) = (line for line in result.stderr.splitlines() if line.startswith("babelmill: "))
    assert told in message


def test_recipes_are_those_of_the_library():
    assert sorted(Recipe) == sorted(one.name.removesuffix(".yaml") for one in (files("encoder") / "recipes").iterdir())


@pytest.mark.parametrize("recipe", Recipe)
def test_what_is_asked_of_a_recipe_is_in_its_settings(recipe, tiny_encoder):
    def settings(*asked):
        return EncoderRecipe.model_validate({"bitext": [{"path": "x.tsv"}]} | settings_of(recipe, *asked))

    as_it_is = settings([], None, None, None)
    small = settings(["deu_Latn", "fra_Latn"], 7, 400, None)
    assert (small.training.steps, small.vocabulary.size) == (7, 400)
    assert (small.vocabulary.finer > 0) == (as_it_is.vocabulary.finer > 0)
    for objective in small.training.objectives:
        if objective.kind == "translation":  # into both, or one of the languages would never be read
            assert objective.target_languages == ("fra_Latn", "deu_Latn")
    student = settings(["xaa_Latn", "eng_Latn"], None, None, tiny_encoder).training
    assert [one.kind for one in student.objectives] == ["distillation"]
    assert student.objectives[0].teacher == tiny_encoder
    shape = student.architecture
    assert (2 * shape.hidden if shape.kind == "bilstm" else shape.dimension) == 64


def test_files_and_labels_are_what_was_typed():
    assert sides_of(None) == []
    assert sides_of("de-zh_Hant") == ["deu_Latn", "zho_Hant"]
    both = {"source_language": "deu_Latn", "target_language": "eng_Latn"}
    assert bitext_of(["s3://b/a.PARQUET", "b.tsv"], []) == [{"path": "s3://b/a.PARQUET"}, {"path": "b.tsv"}]
    assert bitext_of(["a", "b"], list(both.values())) == [{"path": "a", "target_path": "b"} | both]
    with pytest.raises(ConfigError, match="two text files"):
        bitext_of(["a.tsv", "b.txt", "c.txt"], [])
