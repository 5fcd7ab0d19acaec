"""Mining two files with a judge, and with what was calibrated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.mining_inputs import MineFilesConfig
from tasks.mine_pairs import ALIGNED_THRESHOLDS
from tasks.similarity.retrieval import DEFAULT_THRESHOLDS

SEED = Path(__file__).parents[2] / "samples" / "seed" / "seed.tsv"


def pairs_of(lines):
    return [tuple(line.split("\t")[1:]) for line in lines]


def right(lines, texts):
    source, target = (text.read_text("utf-8").splitlines() for text in texts)
    return len(set(pairs_of(lines)) & set(zip(source, target, strict=True)))


@pytest.fixture
def calibrated(babelmill, tiny_encoder, tmp_path):
    """Calibrate German and English for the tiny encoder, and give the file in which that is."""

    def calibrate(*more):
        asked = ["--languages", "deu_Latn-eng_Latn", "--encoder", tiny_encoder, "--gold-share", 0.3]
        told = babelmill.lines("calibrate", SEED, *asked, "--root", tmp_path / "root", *more)
        (place,) = (line.removeprefix("Kept at ") for line in told if line.startswith("Kept at "))
        return place, json.loads(Path(place).read_bytes())["calibration"]

    return calibrate


# --- judges


def test_a_judge_gives_the_margins(babelmill, texts):
    every = ("--threshold", 0)
    plain = babelmill.lines("mine", *texts, *every)
    judged = babelmill.lines("mine", *texts, *every, "--judge", "alignment")
    values = [float(line.split("\t")[0]) for line in judged]
    assert values == sorted(values, reverse=True)
    assert right(judged, texts) >= right(plain, texts) > 30
    before = dict(zip(pairs_of(plain), plain, strict=True))
    assert all(before.get(pair) != line for pair, line in zip(pairs_of(judged), judged, strict=True))


def test_a_judge_has_its_own_default_threshold(babelmill, texts, tiny_encoder):
    asked = ("mine", *texts, "--encoder", tiny_encoder, "--judge", "alignment")
    every = babelmill.lines(*asked, "--threshold", 0)
    wanted = [line for line in every if float(line.split("\t")[0]) >= ALIGNED_THRESHOLDS["ratio"]]
    assert babelmill.lines(*asked) == wanted
    assert 0 < len(wanted) < len(every)


def test_default_thresholds_are_those_of_builds():
    for margin, least in DEFAULT_THRESHOLDS.items():
        assert MineFilesConfig(margin=margin).least == np.float32(least)
        judged = MineFilesConfig(margin=margin, judge={"kind": "alignment"})
        assert judged.least == np.float32(ALIGNED_THRESHOLDS[margin])


def test_a_copy_is_refused_before_the_judge_s_choice(babelmill, texts, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    lines = [text.read_text("utf-8").splitlines() for text in texts]
    copied = "This sentence is in English on both sides."
    source.write_text("\n".join([copied, *lines[0]]), "utf-8")
    target.write_text("\n".join([*lines[1], copied]), "utf-8")
    asked = ("mine", source, target, "--judge", "alignment", "--threshold", 0, "--retrieval", "forward")
    assert (copied, copied) not in pairs_of(babelmill.lines(*asked))
    assert (copied, copied) in pairs_of(babelmill.lines(*asked, "--no-guards"))


def test_a_judge_that_cannot_work_is_refused_before_the_work(babelmill, texts, neural_encoder, tmp_path):
    judge = ("--judge", "alignment")
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, np.ones((60, 4), np.float32))
    told = babelmill.refused("mine", vectors, vectors, *judge)
    assert "--judge: it aligns the tokens of the encoder that embeds the texts: give texts alone" in told
    beside = ("--src-embeddings", vectors, "--trg-embeddings", vectors)
    assert "--judge: it aligns the tokens" in babelmill.refused("mine", *texts, *beside, *judge)
    told = babelmill.refused("mine", *texts, *judge, "--encoder", neural_encoder)
    assert "--judge: an encoder of kind bilstm has no token vectors" in told
    for mode in ("search", "score"):
        told = babelmill.refused("mine", *texts, *judge, "--mode", mode)
        assert f"--judge: it chooses among candidates, and --mode {mode} has none" in told
    assert "mine:\n  judge.kind: " in babelmill.refused("mine", *texts, "--judge", "encoder")


def test_a_build_whose_encoder_has_no_tokens_to_align_is_refused(babelmill, build_config, neural_encoder, tmp_path):
    config = tmp_path / "corpus.yaml"
    settings = build_config(tmp_path / "root", encoder=str(neural_encoder), mine={"judge": {"kind": "alignment"}})
    config.write_text(yaml.safe_dump(settings))
    assert "mine.judge: an encoder of kind bilstm has no token vectors" in babelmill.refused("build", config)


# --- calibrations


@pytest.mark.parametrize("judge", [(), ("--judge", "alignment")], ids=["plain", "judged"])
def test_what_was_calibrated_is_what_is_mined(babelmill, texts, tiny_encoder, calibrated, judge):
    way = ("--margin", "distance", "--retrieval", "union", "-k", 3)
    place, found = calibrated(*way, *judge)
    mine = ("mine", *texts, "--encoder", tiny_encoder)
    own = babelmill.lines(*mine, "--calibration", place)
    assert own == babelmill.lines(*mine, *way, *judge, "--threshold", repr(found["threshold"]["value"]))
    assert own == babelmill.lines(*mine, *way, *judge, "--calibration", place)
    assert own
    free = babelmill.lines(*mine, "--calibration", place, "--threshold", 0, "-k", 5, "--retrieval", "fwd")
    same = ("--margin", "distance", "--retrieval", "forward", "-k", 5)
    assert free == babelmill.lines(*mine, *same, *judge, "--threshold", 0)


def test_a_calibration_that_does_not_hold_is_refused(babelmill, texts, tiny_encoder, calibrated, tmp_path):
    place, found = calibrated()
    mine = ("mine", *texts, "--encoder", tiny_encoder, "--calibration", place)
    for option, value in {"margin": "distance", "retrieval": "fwd", "k": 5, "judge": "alignment"}.items():
        told = babelmill.refused(*mine, f"--{option}", value)
        assert f"--{option}: the threshold of {place} is for ratio, max, k = 4; leave --{option} out, or give" in told
    told = babelmill.refused("mine", *texts, "--calibration", place)
    assert "--calibration: its threshold is of another encoder than default: name that one by --encoder" in told
    vectors = tmp_path / "vectors.npy"
    np.save(vectors, np.ones((60, 4), np.float32))
    for files in ((vectors, vectors), (*texts, "--src-embeddings", vectors, "--trg-embeddings", vectors)):
        told = babelmill.refused("mine", *files, "--calibration", place)
        assert "--calibration: nothing says which encoder has made the embeddings" in told
        assert f"--threshold {found['threshold']['value']:g} --margin ratio --retrieval max -k 4" in told
    told = babelmill.refused(*mine, "--mode", "score")
    assert "--calibration: --mode score writes every line; leave them out" in told
    (tmp_path / "other.json").write_text("{}")
    assert "other.json is no calibration" in babelmill.refused(*mine[:-1], tmp_path / "other.json")
    assert "there is no file at" in babelmill.refused(*mine[:-1], tmp_path / "none.json")
    kept = json.loads(Path(place).read_bytes())
    kept["calibration"]["judge"] = {"kind": "encoder", "encoder": "default"}
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    assert "has an encoder as its judge, which only builds" in babelmill.refused(*mine[:-1], tmp_path / "kept.json")
