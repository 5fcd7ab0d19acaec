"""Calibrated thresholds, as they are typed, kept with a corpus and found again by its builds."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

from flows.calibrate_threshold import CalibrateThresholdConfig, labelled, measures
from flows.calibrations import (
    Kept,
    keep_calibration,
    load_calibrations,
    read_calibration,
    resolve,
    threshold_for,
    way,
)
from flows.drawing_calibration import calibration_plot
from flows.loading import parse_config
from flows.opening import named_encoder
from flows.pictures import picture
from storage.errors import ConfigError
from storage.fingerprint import digest
from storage.manifest import Artifact
from tasks.formats.bitext import BitextSource
from tasks.mine_pairs import ALIGNED_THRESHOLDS, MinePairsConfig
from tasks.similarity.calibration import Calibration
from tasks.similarity.retrieval import DEFAULT_THRESHOLDS

SAMPLES = Path(__file__).parents[2] / "samples"
SEED = SAMPLES / "seed" / "seed.tsv"
PAIR, ENCODERS = ("deu_Latn", "eng_Latn"), ("first", "first")
ARTIFACT = Artifact(name="calibration", partition="deu_Latn-eng_Latn", fingerprint="f", content="c")


def calibration(threshold=1.2, target="f1", **told):
    estimate = {"value": 0.9, "low": 0.85, "high": 0.95}
    curve = [
        {"threshold": 1 + step / 100, "precision": step / 50, "recall": 1 - step / 50, "f1": 0.5} for step in range(50)
    ]
    values = {
        "pair": PAIR,
        "encoders": ENCODERS,
        "margin": "ratio",
        "retrieval": "max",
        "k": 4,
        "gold": 1_000,
        "distractors": 9_000,
        "target": target,
        "confident": target != "f1",
        "threshold": {"value": threshold, "low": threshold - 0.01, "high": threshold + 0.02},
        "precision": estimate,
        "recall": estimate,
        "f1": estimate,
        "curve": curve,
    }
    return Calibration.model_validate(values | told)


def keep(store, *calibrations, corpus="news"):
    return [keep_calibration(store, corpus, one, ARTIFACT) for one in calibrations]


# --- kept and found again


def test_a_calibration_is_found_by_the_corpus_and_the_mining_that_it_holds_for(store):
    keep(store, calibration())
    known = load_calibrations(store, "news")
    find = partial(threshold_for, known)
    assert find(PAIR, ENCODERS, MinePairsConfig()) == calibration()
    assert find(PAIR, ENCODERS, MinePairsConfig(maximum=1.5)) == calibration()
    for other in ({"k": 5}, {"margin": "distance"}, {"retrieval": "forward"}):
        assert find(PAIR, ENCODERS, MinePairsConfig(**other)) is None
    assert find(PAIR, ("second", "second"), MinePairsConfig()) is None
    assert find(PAIR, ("first", "second"), MinePairsConfig()) is None
    assert find(("deu_Latn", "fra_Latn"), ENCODERS, MinePairsConfig()) is None
    assert load_calibrations(store, "other") == {}


def test_several_encoders_and_ways_live_side_by_side_and_the_newest_of_each_counts(store):
    second = {"encoders": ("second", "second")}
    places = keep(
        store, calibration(1.1), calibration(1.3, **second), calibration(1.4, k=8), calibration(1.2, retrieval="union")
    )
    assert len(set(places)) == 4
    assert {Path(place).parent.relative_to(store.root) for place in places} == {
        Path("calibrations/news/deu_Latn-eng_Latn")
    }
    assert keep(store, calibration(1.25, target=0.9)) == places[:1]
    known = load_calibrations(store, "news")
    assert len(known) == 4

    def threshold(encoders=ENCODERS, **way):
        return threshold_for(known, PAIR, encoders, MinePairsConfig(**way)).threshold.value

    assert (threshold(), threshold(("second", "second")), threshold(k=8)) == (1.25, 1.3, 1.4)
    assert threshold(retrieval="union") == 1.2
    kept = Kept.model_validate_json(Path(places[0]).read_bytes())
    assert (kept.corpus, kept.run, kept.artifact.fingerprint) == ("news", store.run, "f")


def test_a_pair_may_be_mined_the_other_way_round(store):
    one = calibration(encoders=("first", "second"), retrieval="forward")
    keep(store, one)
    known = load_calibrations(store, "news")
    turned = PAIR[::-1]
    assert threshold_for(known, turned, ("second", "first"), MinePairsConfig(retrieval="backward")) == one
    assert threshold_for(known, turned, ("second", "first"), MinePairsConfig(retrieval="forward")) is None
    assert threshold_for(known, turned, ("first", "second"), MinePairsConfig(retrieval="backward")) is None


def test_a_build_uses_the_settings_then_what_was_calibrated_then_the_default(store, caplog):
    keep(store, calibration(1.2345, target=0.9))
    known = load_calibrations(store, "news")
    with caplog.at_level(logging.INFO, "flows.calibrations"):
        assert resolve(MinePairsConfig(threshold=1.1), known, PAIR, ENCODERS) == MinePairsConfig(threshold=1.1)
        assert resolve(MinePairsConfig(), known, PAIR, ENCODERS) == MinePairsConfig(threshold=1.2345)
        for margin, default in DEFAULT_THRESHOLDS.items():
            found = resolve(MinePairsConfig(margin=margin, k=8), known, PAIR, ENCODERS)
            assert found == MinePairsConfig(margin=margin, k=8, threshold=default)
    told = [record.getMessage() for record in caplog.records]
    assert told[0].endswith("deu_Latn-eng_Latn: 1.1000, from the settings")
    assert told[1].endswith("deu_Latn-eng_Latn: 1.2345, calibrated for a precision of 0.9 with 95 % confidence")
    assert "1.1500, the default; none is calibrated for this encoder (ratio, max, k = 8)" in told[2]
    assert len(told) == 5


ALIGNED, CHEAP = {"kind": "alignment"}, {"kind": "encoder", "encoder": "better", "plausible": 1.1}


def test_a_judge_has_calibrations_of_its_own(store, caplog):
    told = [calibration(1.1), calibration(1.2, judge=ALIGNED), calibration(1.3, judge=CHEAP, judge_encoder="b")]
    assert len(set(keep(store, *told))) == 3
    known = load_calibrations(store, "news")

    def threshold(judge, encoder=None, pair=PAIR):
        found = threshold_for(known, pair, ENCODERS, MinePairsConfig(judge=judge), encoder)
        return found and found.threshold.value

    assert threshold(None) == threshold(None, "any") == 1.1
    assert threshold(ALIGNED) == threshold(ALIGNED, "any") == threshold(ALIGNED | {"plausible": 1.05}) == 1.2
    assert threshold(ALIGNED, pair=PAIR[::-1]) == 1.2
    assert threshold(ALIGNED | {"plausible": 1.1}) is None
    assert threshold(CHEAP, "b") == threshold(CHEAP | {"encoder": "the same by another name"}, "b") == 1.3
    assert threshold(CHEAP, "c") is threshold(CHEAP | {"plausible": 1.2}, "b") is None
    with caplog.at_level(logging.INFO, "flows.calibrations"):
        found = resolve(MinePairsConfig(k=8, judge=ALIGNED), known, PAIR, ENCODERS)
    assert found.threshold == ALIGNED_THRESHOLDS["ratio"]
    assert "none is calibrated for this encoder (ratio, max, k = 8, judge alignment)" in caplog.text
    assert keep(store, calibration(1.25, judge=ALIGNED | {"plausible": 1.05})) == keep(store, told[1])
    assert way(told[2]) == "ratio, max, k = 4, judge encoder better (plausible: 1.1)"


def test_a_calibration_older_than_judges_is_found_and_replaced(store):
    [place] = keep(store, calibration(1.1))
    assert Path(place).name == digest(json.dumps([PAIR, ENCODERS, "ratio", "max", 4]).encode())[:16] + ".json"
    kept = json.loads(Path(place).read_bytes())
    for name in ("judge", "judge_encoder"):
        assert kept["calibration"].pop(name) is None
    Path(place).write_text(json.dumps(kept))
    found = threshold_for(load_calibrations(store, "news"), PAIR, ENCODERS, MinePairsConfig())
    assert found == calibration(1.1)
    assert keep(store, calibration(1.2)) == [place]


def test_a_calibration_can_be_read_alone(store, tmp_path):
    [place] = keep(store, calibration())
    assert read_calibration(place) == calibration()
    with pytest.raises(ConfigError, match="there is no file at"):
        read_calibration(str(tmp_path / "none.json"))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"other\.json is no calibration; `babelmill calibrate` says where"):
        read_calibration(str(tmp_path / "other.json"))


def test_a_damaged_calibration_is_no_missing_one(store):
    [place] = keep(store, calibration())
    Path(place).write_text("{}")
    with pytest.raises(ConfigError, match=r"is no calibration: remove it, and calibrate again"):
        load_calibrations(store, "news")


# --- shown


def words(draw):
    return [one.text for one in ET.fromstring(picture(draw)).iter("{http://www.w3.org/2000/svg}text")]


def test_the_curve_is_drawn_with_the_threshold():
    draw = partial(calibration_plot, calibration(1.2345))
    found = words(draw)
    for text in ("precision", "recall", "F1", "threshold 1.2345", "threshold (ratio, max, k = 4)"):
        assert text in found
    assert "deu_Latn-eng_Latn: 1,000 translations among 9,000 other sentences a side" in found
    assert "wanted precision" not in found
    assert "wanted precision" in words(partial(calibration_plot, calibration(target=0.9)))
    assert picture(draw) == picture(draw)
    (axes,) = calibration_plot(calibration()).axes
    assert list(axes.lines[0].get_ydata()) == pytest.approx([2.0 * step for step in range(50)])


def test_a_table_has_the_intervals():
    assert measures(calibration(1.2))[:2] == [
        {"measure": "threshold", "value": "1.2000", "95 % interval": "1.1900 to 1.2200"},
        {"measure": "precision, percent", "value": "90.0", "95 % interval": "85.0 to 95.0"},
    ]


# --- parallel text


def test_text_without_languages_is_of_the_pair(store, tmp_path):
    (tmp_path / "plain.tsv").write_text("source\ttarget\na\tb\n")
    (tmp_path / "named.tsv").write_text("source_language\ttarget_language\tsource\ttarget\nx\ty\na\tb\n")
    pq.write_table(pa.table({"source": ["a"], "target": ["b"]}), tmp_path / "plain.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "damaged.tsv.gz").write_bytes(b"source\ttarget\n")

    def labels(name, **settings):
        part = labelled(store, BitextSource(path=str(tmp_path / name), **settings), PAIR)
        return part.source_language, part.target_language

    for name in ("plain.tsv", "plain.parquet", "damaged.parquet", "damaged.tsv.gz"):
        assert labels(name) == PAIR, name
    assert labels("named.tsv") == (None, None)
    given = {"source_language": "fra_Latn", "target_language": "eng_Latn"}
    assert labels("plain.tsv", **given) == ("fra_Latn", "eng_Latn")


def test_a_pair_is_two_languages():
    values = {"pair": ["de", "deu_Latn"], "bitext": [{"path": "x.tsv"}]}
    with pytest.raises(ConfigError, match="deu_Latn cannot be paired with itself"):
        parse_config(values, CalibrateThresholdConfig, "calibrate")


# --- as it is typed


@pytest.fixture(scope="module")
def german(tmp_path_factory):
    """Three hundred German sentences with their translations, in two files."""
    rows = [line.split("\t") for line in SEED.read_text("utf-8").splitlines()]
    folder = tmp_path_factory.mktemp("german")
    files = [folder / "text.de", folder / "text.en"]
    for side, file in enumerate(files, 2):
        file.write_text("".join(f"{row[side]}\n" for row in rows if row[0] == "deu_Latn"), "utf-8")
    return files


def artifacts(key):
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        (found,) = client.read_latest_artifacts(artifact_filter=wanted)
    return found


def test_a_threshold_is_calibrated_for_a_build_and_found_by_it(babelmill, build_config, tiny_encoder, german, tmp_path):
    root = tmp_path / "root"
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump(build_config(root, mine={"k": 3, "retrieval": "intersection"})))
    curve = tmp_path / "curve.png"
    asked = ["--languages", "deu_Latn-eng_Latn", "--config", config, "--gold-share", 0.3, "-o", curve]
    told = "\n".join(babelmill.lines("calibrate", *german, *asked))
    assert "deu_Latn-eng_Latn: threshold for the best F1" in told
    assert "53 translations hidden among 123 other sentences a side (30.1%); ratio, intersection, k = 3" in told
    assert "Builds of tiny with this encoder (ratio, intersection, k = 3) use it where mine.threshold is null." in told
    assert "goes before" not in told
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert artifacts("calibration-deu-latn-eng-latn-curve").data.startswith("data:image/svg+xml")
    assert json.loads(artifacts("calibration-deu-latn-eng-latn").data)[0]["measure"] == "threshold"

    from storage.store import Store

    known = load_calibrations(Store(str(root)), "tiny")
    (found,) = known.values()
    own = named_encoder(tiny_encoder).fingerprint
    mine = MinePairsConfig(k=3, retrieval="intersection")
    assert resolve(mine, known, PAIR, (own, own)).threshold == found.threshold.value
    assert f"{found.threshold.value:.4f}" in told

    # a table that names its languages, for another target; and a build whose settings fix the threshold
    config.write_text(yaml.safe_dump(build_config(root, mine={"k": 3, "retrieval": "intersection", "threshold": 1.1})))
    precise = ["--precision", 0.5, "--no-confident", *asked[:-2]]
    told = "\n".join(babelmill.lines("calibrate", SEED, *precise))
    assert "threshold for a precision of 0.5" in told
    assert "mine.threshold is 1.1 in the settings, which goes before; set it to null." in told
    (found,) = load_calibrations(Store(str(root)), "tiny").values()
    assert found.target == 0.5

    told = babelmill("calibrate", SEED, *precise, "--precision", 0.99999, "--confident")
    assert told.exit_code == 2
    assert "no threshold reaches a precision of 0.99999 with 95% confidence; the best is" in told.stderr


@pytest.mark.parametrize(
    "judge", [ALIGNED, {"kind": "encoder", "encoder": "default", "plausible": 0.5}], ids=["alignment", "encoder"]
)
def test_a_build_with_a_judge_finds_what_was_calibrated_with_it(
    babelmill, build_config, build, german, tmp_path, judge
):
    from storage.store import Store

    root, mine, kind = tmp_path / "root", {"k": 3, "judge": judge}, judge["kind"]
    config = tmp_path / "build.yaml"
    config.write_text(yaml.safe_dump(build_config(root, mine=mine)))
    asked = ["--languages", "deu_Latn-eng_Latn", "--config", config, "--gold-share", 0.3, "--judge", kind]
    told = "\n".join(babelmill.lines("calibrate", *german, *asked))
    assert f"ratio, max, k = 3, judge {kind}" in told
    (found,) = load_calibrations(Store(str(root)), "tiny").values()
    assert found.judge.model_dump(exclude_none=True) == judge
    assert found.judge_encoder == (named_encoder("default").fingerprint if kind == "encoder" else None)
    built = build(root, ("2024-10",), mine=mine, languages=list(PAIR))
    (manifest,) = built.manifests("pairs").values()
    assert manifest.settings["threshold"] == found.threshold.value


def test_an_encoder_without_tokens_cannot_be_calibrated_with_alignments(babelmill, neural_encoder, german, tmp_path):
    asked = [
        "--languages",
        "deu_Latn-eng_Latn",
        "--encoder",
        neural_encoder,
        "--root",
        tmp_path,
        "--judge",
        "alignment",
    ]
    told = babelmill.refused("calibrate", *german, *asked)
    assert "calibration.judge: an encoder of kind bilstm has no token vectors" in told
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("text.de", "text.en", "--languages", "deu_Latn"), "write two labels"),
        (("text.de", "--languages", "deu_Latn-eng_Latn"), "two text files"),
        (("none.tsv", "--languages", "deu_Latn-eng_Latn"), "bitext.path: there is no file at none.tsv"),
        (("{path: [", "--languages", "deu_Latn-eng_Latn"), "no YAML mapping"),
        (("{pth: x}", "--languages", "deu_Latn-eng_Latn"), "bitext.0.pth: there is no such setting"),
        (("text.tsv", "--languages", "deu_Latn-eng_Latn", "--precision", "95"), "calibration.precision: "),
        (("text.tsv", "--languages", "deu_Latn-eng_Latn", "--encoder", "none"), "encoder: "),
        (("text.tsv", "--languages", "deu_Latn-eng_Latn", "--corpus", "../up"), "corpus: "),
        (("text.tsv", "--languages", "deu_Latn-eng_Latn", "--margin", "cosine"), "calibration.margin: "),
        (("text.tsv", "--languages", "deu_Latn-eng_Latn", "--judge", "encoder"), "calibration.judge.encoder.encoder: "),
        (("text.tsv", "--languages", "deu_Latn-eng_Latn", "--config", "none.yaml"), "cannot read none.yaml"),
    ],
)
def test_what_is_asked_wrongly_is_refused_before_any_work(babelmill, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    for name in ("text.de", "text.en"):
        Path(name).write_text("a\n", "utf-8")
    Path("text.tsv").write_text("source\ttarget\na\tb\n", "utf-8")
    assert told in babelmill.refused("calibrate", *arguments)
    assert not list(Path().glob("runs/artifacts"))
