from __future__ import annotations

from pathlib import Path

import yaml

SAMPLES = Path(__file__).parents[2] / "samples"


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
