"""The commands that score encoders, as they are typed, and the flows behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client

from flows.cli_evaluation import parse_sets
from flows.evaluation_report import shown_row
from storage.errors import ConfigError

SAMPLES = Path(__file__).parents[2] / "samples"
MULTIWAY = SAMPLES / "seed" / "multiway.tsv"


@pytest.fixture
def tatoeba(texts, tmp_path):
    """Sixty sentences as Tatoeba has them."""
    folder = tmp_path / "tatoeba"
    folder.mkdir()
    for path in texts:
        (folder / f"tatoeba.deu-eng.{path.stem[:3]}").write_bytes(path.read_bytes())
    return folder


def artifact_of(key):
    from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        (found,) = client.read_latest_artifacts(artifact_filter=wanted)
    return found


def test_an_encoder_is_scored_without_a_settings_file(babelmill, tiny_encoder, tatoeba, tmp_path):
    sets = ["--set", f"tatoeba:{tatoeba}", "--set", f"{{kind: multiway, path: {MULTIWAY}, matrix: true}}"]
    places = ["--root", tmp_path / "root", "--output", tmp_path / "out", "--threads", 1]
    told = "\n".join(babelmill.lines("evaluate", tiny_encoder, *sets, *places))
    assert "tatoeba: percent" in told
    assert "│ deu " in told
    tatoeba_scores, multiway = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert tatoeba_scores["evaluation"]["results"][0]["sentences"] == 60
    assert multiway["seconds"] > 0
    pictures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert pictures == {
        "tatoeba-languages.png",
        "multiway-multiway-tsv-languages.png",
        "multiway-multiway-tsv-matrix.png",
    }
    assert artifact_of("evaluation-multiway-multiway-tsv-matrix").data.startswith("data:image/svg+xml")
    assert "deu" in artifact_of("evaluation-tatoeba").data


def test_an_encoder_is_scored_as_a_file_says_with_a_partner(babelmill, tiny_encoder, tatoeba, tmp_path):
    config = tmp_path / "evaluate.yaml"
    values = {"root": str(tmp_path / "root"), "encoder": tiny_encoder, "partner": tiny_encoder}
    config.write_text(yaml.safe_dump(values | {"sets": [{"kind": "tatoeba", "path": str(tatoeba)}]}))
    told = "\n".join(babelmill.lines("evaluate", config, "--set", f"reconstruction:{MULTIWAY}"))
    assert "tatoeba: percent" in told
    assert "reconstruction multiway.tsv: percent" in told


def test_two_encoders_stand_side_by_side(babelmill, tiny_encoder, tatoeba, tmp_path):
    config = tmp_path / "evaluate.yaml"
    config.write_text(yaml.safe_dump({"sets": [{"kind": "tatoeba", "path": str(tatoeba)}]}))
    places = ["--root", tmp_path / "root", "--output", tmp_path / "out", "--threads", 1]
    told = "\n".join(babelmill.lines("compare", "default", tiny_encoder, "--config", config, *places))
    assert "tatoeba: accuracy_cosine, percent" in told
    assert f"B: {tiny_encoder}" in told
    report = json.loads((tmp_path / "out" / "scores.json").read_text())
    (line,) = (one for one in report["sets"][0]["languages"] if one["measure"] == "accuracy_cosine")
    assert line["a"] > line["b"]
    assert line["better"] == "A"
    assert line["low"] <= line["difference"] <= line["high"] < 0
    assert (tmp_path / "out" / "tatoeba-accuracy-cosine.png").read_bytes().startswith(b"\x89PNG")
    markdown = artifact_of("encoder-comparison").data
    assert f"- B: `{tiny_encoder}`" in markdown
    assert "| deu |" in markdown
    assert artifact_of("comparison-tatoeba-accuracy-cosine").data.startswith("data:image/svg+xml")


def test_the_f1_of_mining_is_told_with_its_interval(babelmill, tiny_encoder, tmp_path):
    sets = ["--set", f"{{kind: bucc, path: {MULTIWAY}, pairs: 15}}"]
    places = ["--root", tmp_path / "root", "--output", tmp_path / "out", "--threads", 1]
    told = "\n".join(babelmill.lines("evaluate", tiny_encoder, *sets, *places))
    assert "95 %" in told
    (scores,) = json.loads((tmp_path / "out" / "scores.json").read_text())
    row = scores["evaluation"]["results"][0]
    assert row["f1_low"] <= row["f1"] <= row["f1_high"]
    low, high = scores["evaluation"]["intervals"]["f1"]
    assert low <= scores["evaluation"]["means"]["f1"] <= high
    assert f"{row['f1_low']:.2f} to {row['f1_high']:.2f}" in artifact_of("evaluation-bucc-multiway-tsv").data
    told = "\n".join(babelmill.lines("compare", "default", tiny_encoder, *sets, *places))
    assert "bucc multiway.tsv: f1, percent" in told
    (mean,) = (
        one
        for one in json.loads((tmp_path / "out" / "scores.json").read_text())["sets"][0]["means"]
        if one["measure"] == "f1"
    )
    assert mean["low"] <= mean["difference"] <= mean["high"]


def test_the_limits_of_an_interval_are_one_column():
    assert shown_row({"f1": 80.0, "f1_low": 78.5, "f1_high": 81.25, "a_low": 1}) == {
        "f1": 80.0,
        "95 % interval": "78.50 to 81.25",
        "a_low": 1,
    }


@pytest.mark.parametrize("command", [("evaluate",), ("compare", "default")])
def test_what_is_asked_wrongly_is_refused(babelmill, tiny_encoder, tmp_path, command):
    places = ["--root", tmp_path / "root"]
    assert "sets: name at least one" in babelmill.refused(*command, tiny_encoder, *places)
    told = babelmill.refused(*command, tiny_encoder, "--set", "tatoeba", *places)
    assert "write KIND:PATH" in told
    assert "sets.0: " in babelmill.refused(*command, tiny_encoder, "--set", "tatoebe:x", *places)
    told = babelmill.refused(*command, tiny_encoder, "--set", f"tatoeba:{tmp_path / 'none'}", *places)
    assert f"there is no file at {tmp_path / 'none'}" in told
    told = babelmill.refused(*command, tiny_encoder, "--set", f"classification:{MULTIWAY}", *places)
    assert "sets.classification.label_column: the file has no column label" in told


def test_a_set_is_a_kind_and_a_path_or_a_mapping():
    assert parse_sets(["tatoeba:s3://bucket/x", "{kind: bucc, path: a, pairs: 5}"]) == [
        {"kind": "tatoeba", "path": "s3://bucket/x"},
        {"kind": "bucc", "path": "a", "pairs": 5},
    ]
    with pytest.raises(ConfigError, match="no YAML mapping"):
        parse_sets(["{kind: ["])
