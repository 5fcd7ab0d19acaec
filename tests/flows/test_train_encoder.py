from __future__ import annotations

import importlib.util
import shutil
import uuid
from pathlib import Path

import fsspec
import pytest
import torch
import yaml
from fsspec.implementations.memory import MemoryFileSystem
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

from encoder.registry import load_encoder
from encoder.vocabulary import VocabularyConfig
from storage.store import Store
from tasks.collect_bitext import collect_bitext
from tasks.train_encoder import STATE, train_encoder
from tasks.train_vocabulary import train_vocabulary

SAMPLES = Path(__file__).parents[2] / "samples"
_spec = importlib.util.spec_from_file_location(
    "small_training", Path(__file__).parents[1] / "tasks" / "small_training.py"
)
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)


def test_train_makes_an_encoder_that_evaluate_scores_and_mine_uses(babelmill, texts, tmp_path):
    for path in texts:
        (tmp_path / "tatoeba").mkdir(exist_ok=True)
        (tmp_path / "tatoeba" / f"tatoeba.deu-eng.{path.stem[:3]}").write_bytes(path.read_bytes())
    tests = {"kind": "tatoeba", "path": str(tmp_path / "tatoeba")}
    recipe = {
        "bitext": [{"path": str(SAMPLES / "seed" / "seed.tsv"), "where": {"source_language": ["deu_Latn"]}}],
        "vocabulary": {"size": 500},
        "training": {"architecture": {"kind": "static", "dimension": 16}, "steps": 20},
    }
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"root": str(tmp_path / "root"), "recipe": recipe, "evaluation": [tests]}))
    result = babelmill("train", config)
    assert result.exit_code == 0, result.output
    (model,) = (tmp_path / "root").glob("artifacts/encoder/**/model.safetensors")
    assert f"The encoder is at {model.parent};" in result.stdout
    config.write_text(yaml.safe_dump({"root": str(tmp_path / "root"), "encoder": str(model.parent), "sets": [tests]}))
    told = "\n".join(babelmill.lines("evaluate", config))
    assert "tatoeba: percent" in told
    assert "│ deu " in told
    assert len(babelmill.lines("mine", *texts, "--encoder", model.parent, "--threshold", "0")) > 0


def test_evaluate_and_train_name_what_is_missing(babelmill, texts, tiny_encoder, tmp_path):
    config = tmp_path / "settings.yaml"
    root = {"root": str(tmp_path / "root")}
    config.write_text(yaml.safe_dump(root | {"encoder": tiny_encoder}))
    assert "sets: name at least one" in babelmill.refused("evaluate", config)
    tests = {"kind": "tatoeba", "path": str(tmp_path / "none")}
    config.write_text(yaml.safe_dump(root | {"encoder": tiny_encoder, "sets": [tests]}))
    assert f"there is no file at {tmp_path / 'none'}" in babelmill.refused("evaluate", config)
    config.write_text(yaml.safe_dump(root))
    assert "recipe: Field required" in babelmill.refused("train", config)
    config.write_text(yaml.safe_dump(root | {"recipe": {"bitext": [{"path": str(texts[0])}]}}))
    assert "bitext: deu_Latn.txt: bitext is .parquet, .tsv or .tsv.gz" in babelmill.refused("train", config)


class Shaky(MemoryFileSystem):
    """A storage that is away for a moment when a training keeps its state for the tenth time."""

    protocol = "shaky"
    store: dict = {}
    pseudo_dirs = [""]
    kept = 0

    def pipe_file(self, path, value, mode="overwrite", **options):
        if path.endswith(STATE):
            type(self).kept += 1
            if self.kept == 10:
                raise ConnectionError("storage is away")
        super().pipe_file(path, value, mode, **options)


@pytest.fixture
def shaky():
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    Shaky.kept = 0
    yield Store(f"shaky://{uuid.uuid4().hex}/root")
    Shaky.store.clear()


def test_a_retry_of_the_task_goes_on_to_the_same_bytes(in_process, shaky, store, tmp_path, caplog):
    torch.set_num_threads(1)
    wanted = store.files(small.train(store, tmp_path / "text.tsv", keep_seconds=3600.0)).read()
    bitext = [collect_bitext.fn(shaky, "seed", small.write_tsv(tmp_path / "text.tsv"))]
    vocabulary = train_vocabulary.fn(shaky, "small", bitext, VocabularyConfig(size=100))

    @flow
    def training():
        return train_encoder(shaky, "small", bitext, vocabulary, small.CONFIG, keep_seconds=0.0)

    with caplog.at_level("INFO", "tasks.train_encoder"):
        encoder = training()
    told = [record.getMessage() for record in caplog.records]
    assert "train encoder: goes on after step 9" in told
    assert sum("Retry 1/3" in one for one in told) == 1
    assert Shaky.kept == 10 + small.CONFIG.steps - 9
    assert shaky.files(encoder).read() == wanted
    assert not any(path.endswith(STATE) for path in Shaky.store)


@pytest.fixture(scope="module")
def student(babelmill, tiny_encoder, tmp_path_factory):
    """Folder of an encoder of a made-up language in the space of another one, and sentences of its pivot."""
    folder = tmp_path_factory.mktemp("student")
    english = [row.split("\t")[3] for row in (SAMPLES / "seed" / "seed.tsv").read_text("utf-8").splitlines()[1:]]
    lines = [f"{small.translated(text)}\t{text}\n" for text in english]
    (folder / "xaa.tsv").write_text("source\ttarget\n" + "".join(lines), "utf-8")
    tests = [
        f"{place}\t{label}\t{side}\n"
        for place, text in enumerate(english[:200])
        for label, side in (("eng_Latn", text), ("xaa_Latn", small.translated(text)))
    ]
    (folder / "tests.tsv").write_text("idx\tlang\ttext\n" + "".join(tests), "utf-8")
    values = {
        "root": str(folder / "root"),
        "name": "xaa",
        "extends": tiny_encoder,
        "recipe": {
            "bitext": [{"path": str(folder / "xaa.tsv"), "source_language": "xaa_Latn", "target_language": "eng_Latn"}],
            "vocabulary": {"size": 2000},
            "training": {
                "architecture": {"kind": "static", "dimension": 64},
                "batches": {"kind": "languages", "languages": 1, "pairs": 300},
                "learning_rate": 0.02,
                "steps": 80,
                "validation": {"pairs": 50, "every": 40},
            },
        },
        "evaluation": [{"kind": "multiway", "path": str(folder / "tests.tsv")}],
        "resources": {"threads": 1},
    }
    (folder / "train.yaml").write_text(yaml.safe_dump(values), "utf-8")
    lines = babelmill.lines("train", folder / "train.yaml")
    place = lines[-1].removeprefix("The encoder is at ").partition(";")[0]
    return place, english[:200]


def test_a_language_is_taught_into_the_space_of_another_encoder(student, tiny_encoder):
    place, english = student
    new, base = load_encoder(place), load_encoder(tiny_encoder)
    pivot = base.encode(english)

    def found(vectors):
        return (pivot[(vectors @ pivot.T).argmax(1)] == pivot).all(1).mean()  # a sentence may be there twice

    translations = [small.translated(text) for text in english]
    assert found(new.encode(translations)) > 0.6 > 0.2 > found(base.encode(translations))
    with get_client(sync_client=True) as client:
        wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=["encoder-comparison"]))
        (report,) = client.read_latest_artifacts(artifact_filter=wanted)
    assert f"- A: `{tiny_encoder}`" in report.data
    assert "- B: `xaa`" in report.data
    (line,) = (one for one in report.data.splitlines() if one.startswith("| multiway tests.tsv | xsim |"))
    before, after = (float(one) for one in line.split("|")[3:5])
    assert before > 60
    assert after < 40


def test_a_build_embeds_one_language_with_it_and_nothing_else_again(student, build, whole, tmp_path):
    place, _ = student
    shutil.copytree(whole.config.root, tmp_path / "root")
    built = build(tmp_path / "root", encoders={"fra_Latn": place})
    before, after = ({one.partition: one for one in each.manifests("embeddings")} for each in (whole, built))
    assert before.keys() == after.keys()
    changed = {partition for partition in before if before[partition] != after[partition]}
    assert changed == {partition for partition in before if "fra_Latn" in partition}
    assert all(built.store.manifest(after[one]).run != whole.store.manifest(before[one]).run for one in changed)
    assert built.report.is_new
