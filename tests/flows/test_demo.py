"""The demo, with the encoder that is shipped: what the README shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.build_corpus import build_corpus
from flows.demo import demo_config, gold_pairs, mined_pairs, samples, show_gold_scores
from tasks.similarity.scoring import scores


@pytest.fixture(scope="module")
def demo(in_process, tmp_path_factory):
    config = demo_config(str(tmp_path_factory.mktemp("demo")))
    config = config.model_copy(update={"publish": config.publish.model_copy(update={"formats": ["tsv"]})})
    return config, build_corpus(config)


def test_most_pairs_of_the_gold_are_found(demo, capsys):
    _, report = demo
    gold = gold_pairs(samples() / "gold" / "pairs.tsv")
    mined = {pair: mined_pairs(Path(report.release) / "bilingual" / f"{pair}.parquet") for pair in report.pairs}
    assert set(mined) == set(gold)
    right = sum(len(mined[pair] & gold[pair]) for pair in gold)
    overall = scores(right, sum(map(len, mined.values())), sum(map(len, gold.values())))
    assert overall.precision > 0.8
    assert overall.recall > 0.7
    show_gold_scores(report)
    assert f"{100 * overall.f1:.1f}" in capsys.readouterr().out


def test_tsv_has_a_line_per_pair(demo):
    _, report = demo
    for pair, rows in report.pairs.items():
        lines = (Path(report.release) / "bilingual" / f"{pair}.tsv").read_text("utf-8").splitlines()
        assert len(lines) == rows
        assert all(line.count("\t") == 4 for line in lines)
