from __future__ import annotations

import hashlib

import numpy as np
import polars as pl
import pytest

from encoder.inference import unit_rows
from storage.errors import ConfigError
from storage.planning import PlanningStore
from tasks.calibrate_threshold import CalibrateConfig, calibrate_threshold, calibration_of
from tasks.collect_bitext import collect_bitext
from tasks.formats.bitext import BitextSource
from tasks.similarity.judging import AlignmentJudge, EncoderJudge

PAIR = ("deu_Latn", "eng_Latn")


class Hashes:
    """Gives every number a direction and every text a little noise: what has the same number is a translation."""

    dimension = 32

    def __init__(self, noise=0.3, name="hashes"):
        self.noise, self.fingerprint, self.calls = noise, name, 0

    def load(self, store):
        return self

    def encode(self, sentences):
        self.calls += 1
        exact = np.stack([direction(sentence.rpartition(" ")[2], self.dimension) for sentence in sentences])
        noise = np.stack([direction(sentence, self.dimension) for sentence in sentences])
        return unit_rows((exact + self.noise * noise).astype(np.float32))


def direction(text, dimension):
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    values = np.random.default_rng(seed).normal(size=dimension)
    return values / np.linalg.norm(values)


@pytest.fixture
def bitext(store, tmp_path):
    """Make parallel text of some languages; numbers as long as they are asked for."""

    def collect(rows, pair=PAIR, name="text"):
        path = tmp_path / f"{name}.tsv"
        frame = {
            "source": [f"{pair[0]} {row}" for row in range(rows)],
            "target": [f"{pair[1]} {row}" for row in range(rows)],
        }
        labels = {"source_language": pl.lit(pair[0]), "target_language": pl.lit(pair[1])}
        pl.DataFrame(frame).with_columns(**labels).write_csv(path, separator="\t")
        return collect_bitext.fn(store, name, BitextSource(path=str(path)))

    return collect


class Tokens(Hashes):
    """Has a token for the number and one for the language, which hardly matters."""

    def token_vectors(self, sentences):
        self.calls += 1
        parts = [sentence.rpartition(" ")[::2] for sentence in sentences]
        vectors = [
            direction(part, self.dimension) * length
            for pair in parts
            for part, length in zip(pair, (0.1, 1), strict=True)
        ]
        return np.array(vectors, np.float32), np.arange(len(sentences) + 1) * 2


ALIGNED, BETTER = {"kind": "alignment"}, {"kind": "encoder", "encoder": "better"}


def calibrated(store, bitext, encoder=None, partner=None, pair=PAIR, by=None, **settings):
    encoder = encoder or Hashes()
    config = CalibrateConfig(**{"samples": 100} | settings)
    return calibrate_threshold.fn(store, pair, (encoder, partner or encoder), [bitext], config, by)


def test_hidden_translations_decide_the_threshold(store, bitext):
    found = calibration_of(store, calibrated(store, bitext(1_000)))
    assert (found.pair, found.encoders) == (PAIR, ("hashes", "hashes"))
    assert (found.margin, found.retrieval, found.k, found.target) == ("ratio", "max", 4, "f1")
    assert found.gold == 53
    assert found.gold / (found.gold + found.distractors) == pytest.approx(0.1, abs=0.002)
    assert found.f1.value > 0.98
    assert 1.1 < found.threshold.value < 2
    assert found.threshold.low <= found.threshold.value <= found.threshold.high


def test_more_gold_is_a_lower_threshold_and_a_better_f1(store, bitext):
    rows, encoder = bitext(2_000), Hashes(noise=1.5)
    few, many = (calibration_of(store, calibrated(store, rows, encoder, gold_share=share)) for share in (0.05, 0.5))
    assert few.gold < many.gold
    assert few.f1.value < many.f1.value
    assert few.threshold.value > many.threshold.value


@pytest.mark.parametrize("retrieval", ["forward", "backward", "intersection", "max"])
@pytest.mark.parametrize("margin", ["ratio", "distance", "absolute"])
def test_every_way_of_mining_has_its_own_threshold(store, bitext, margin, retrieval):
    found = calibration_of(store, calibrated(store, bitext(600), margin=margin, retrieval=retrieval, k=2))
    assert (found.margin, found.retrieval, found.k) == (margin, retrieval, 2)
    assert found.f1.value > 0.9


def test_another_target_mines_nothing_anew(store, bitext):
    rows, encoder = bitext(1_000), Hashes(noise=0.6)
    first = calibration_of(store, calibrated(store, rows, encoder))
    calls = encoder.calls
    precise = calibration_of(store, calibrated(store, rows, encoder, precision=0.8))
    assert encoder.calls == calls
    assert (precise.gold, precise.distractors) == (first.gold, first.distractors)
    assert (precise.target, precise.confident) == (0.8, True)
    assert precise.precision.low >= 0.8
    again = calibrated(store, rows, encoder, precision=0.8)
    assert calibration_of(store, again) == precise


def test_what_changes_the_search_makes_another_calibration(store, bitext):
    rows = bitext(600)
    made = [
        calibrated(store, rows),
        calibrated(store, rows, Hashes(name="other")),
        calibrated(store, rows, Hashes(), Hashes(name="other")),
        calibrated(store, rows, k=2),
        calibrated(store, rows, margin="distance"),
        calibrated(store, rows, retrieval="forward"),
        calibrated(store, rows, gold_share=0.2),
        calibrated(store, rows, seed=1),
        calibrated(store, bitext(601)),
    ]
    assert len({one.fingerprint for one in made}) == len(made)
    assert calibrated(store, rows).fingerprint == made[0].fingerprint


def test_a_judge_makes_the_margins(store, bitext):
    rows, encoder = bitext(1_000), Tokens(noise=1.5)
    alone = calibration_of(store, calibrated(store, rows, encoder))
    aligned = calibration_of(store, calibrated(store, rows, encoder, judge=ALIGNED))
    by_better = calibration_of(store, calibrated(store, rows, encoder, judge=BETTER, by=Hashes(0.3, "better")))
    assert (alone.judge, alone.judge_encoder) == (None, None)
    assert (aligned.judge, aligned.judge_encoder) == (AlignmentJudge(), None)
    assert (by_better.judge, by_better.judge_encoder) == (EncoderJudge(encoder="better"), "better")
    assert alone.gold == aligned.gold == by_better.gold
    assert alone.f1.value < min(aligned.f1.value, by_better.f1.value) - 0.02
    with pytest.raises(ConfigError, match="0 of 53 hidden translations among 0 mined pairs are too few"):
        calibrated(store, rows, encoder, judge=ALIGNED | {"plausible": 99.0})


def test_another_judge_is_another_calibration_and_another_target_judges_nothing_anew(store, bitext):
    rows, encoder = bitext(1_000), Tokens(noise=0.6)
    made = [
        calibrated(store, rows, encoder),
        calibrated(store, rows, encoder, judge=ALIGNED),
        calibrated(store, rows, encoder, judge=ALIGNED | {"plausible": 1.2}),
        calibrated(store, rows, encoder, judge=BETTER, by=Hashes(name="better")),
        calibrated(store, rows, encoder, judge=BETTER, by=Hashes(name="other")),
    ]
    assert len({one.fingerprint for one in made}) == len(made)
    calls = encoder.calls
    precise = calibration_of(store, calibrated(store, rows, encoder, judge=ALIGNED, precision=0.8))
    assert precise.precision.low >= 0.8
    assert encoder.calls == calls


def test_a_judge_that_cannot_judge_is_told(store, bitext):
    rows = bitext(600)
    with pytest.raises(ConfigError, match=r"calibration\.judge: an encoder of kind Hashes has no token vectors"):
        calibrated(store, rows, judge=ALIGNED)
    for wrong in ({"judge": BETTER}, {"judge": ALIGNED, "by": Hashes()}, {"by": Hashes()}):
        with pytest.raises(ValueError, match="goes with a judge of kind encoder"):
            calibrated(store, rows, **wrong)


def test_a_plan_knows_what_would_be_done(store, bitext):
    rows = bitext(600)
    plan = PlanningStore.of(store)
    calibrated(plan, rows)
    assert [(step.job.stage, step.done) for step in plan.steps] == [
        ("mine_held_out", False),
        ("calibrate_threshold", False),
    ]


def test_text_may_name_its_languages_the_other_way_round(store, bitext):
    turned = calibration_of(store, calibrated(store, bitext(600, PAIR[::-1])))
    assert turned.pair == PAIR
    assert turned.f1.value > 0.98


def test_other_languages_are_passed_over_and_named_if_there_is_nothing_else(store, bitext):
    german, french = bitext(600), bitext(900, ("fra_Latn", "eng_Latn"), "french")
    both = calibrate_threshold.fn(store, PAIR, (Hashes(), Hashes()), [german, french], CalibrateConfig(samples=100))
    found = calibration_of(store, both)
    assert found == calibration_of(store, calibrated(store, german))
    with pytest.raises(ConfigError, match="there is no pair of deu_Latn-eng_Latn, but of fra_Latn-eng_Latn"):
        calibrated(store, french)


def test_copies_and_repeated_sentences_are_no_translations(store, tmp_path):
    lines = [f"deu {row}\teng {row}" for row in range(600)]
    lines += [f"copy {row}\tcopy {row}" for row in range(300)] + lines[:300] + ["deu 0\teng 1"]
    path = tmp_path / "text.tsv"
    path.write_text("\n".join(["source\ttarget", *lines]) + "\n")
    labels = {"source_language": PAIR[0], "target_language": PAIR[1]}
    rows = collect_bitext.fn(store, "text", BitextSource(path=str(path), **labels))
    found = calibration_of(store, calibrated(store, rows))
    assert found.gold + 2 * found.distractors in (598, 599)  # "deu 0" and "eng 1" hang together


def test_no_more_pairs_are_used_than_was_asked_for(store, bitext):
    found = calibration_of(store, calibrated(store, bitext(900), pairs=400))
    assert found.gold + 2 * found.distractors in (399, 400)


def test_what_cannot_be_calibrated_is_told(store, bitext):
    with pytest.raises(ConfigError, match=r"150 different pairs .* too few: a share of 0\.1 are 8 hidden translations"):
        calibrated(store, bitext(150))
    rows = bitext(600)
    with pytest.raises(ConfigError, match=r"calibrate deu_Latn-eng_Latn: no threshold reaches a precision of 0\.99"):
        calibrated(store, rows, Hashes(noise=1.5), precision=0.99)
    wide = Hashes(name="wide")
    wide.dimension = 64
    with pytest.raises(ConfigError, match="vectors of 32 and of 64 dimensions"):
        calibrated(store, rows, Hashes(), wide)
