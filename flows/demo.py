"""The sample web in, the demo's settings and its scores against the gold out."""

from __future__ import annotations

import csv
from collections import defaultdict
from importlib.resources import as_file, files
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from flows.config import CorpusConfig
from flows.loading import load_config
from flows.report import BuildReport
from flows.terminal import say, show_table
from storage.errors import ConfigError
from tasks.similarity.scoring import Scores, scores
from tasks.text.normalisation import clean_text, sentence_key

GoldPairs = dict[str, set[tuple[str, str]]]


def samples() -> Path:
    """Return the folder of the sample web: beside the packages in a checkout, inside them when installed.

    Raises:
        ConfigError: if neither is there.
    """
    with as_file(files("flows")) as package:
        for folder in (package / "samples", package.parent / "samples"):
            if (folder / "demo.yaml").exists():
                return folder
    raise ConfigError("the sample web is not part of this installation")


def demo_config(root: str) -> CorpusConfig:
    """Return the settings of the demo: both sample crawls, all five languages, the default encoder."""
    folder = samples()
    config = load_config(folder / "demo.yaml", CorpusConfig, variables={"SAMPLES": str(folder)})
    return config.model_copy(update={"root": root})


def show_gold_scores(report: BuildReport) -> None:
    """Print precision, recall and F1 of the mined pairs against the gold, per language pair and over all."""
    gold = gold_pairs(samples() / "gold" / "pairs.tsv")
    lines, right, found, true = [], 0, 0, 0
    for pair in report.pairs:
        mined = mined_pairs(Path(report.release) / "bilingual" / f"{pair}.parquet")
        known = gold[pair]
        score = scores(len(mined & known), len(mined), len(known))
        lines.append(_line(pair, len(known), len(mined), score))
        right, found, true = right + len(mined & known), found + len(mined), true + len(known)
    lines.append(_line("all", true, found, scores(right, found, true)))
    least = ", ".join(f"{threshold:g}" for threshold in sorted(set(report.thresholds.values())))
    show_table(f"Mined pairs against the gold, margin at least {least}", lines)
    say("The encoder has never seen these pages.")


def gold_pairs(path: Path) -> GoldPairs:
    """Return the gold's pairs as sentence keys, per language pair such as deu_Latn-eng_Latn, in sorted order."""
    gold: GoldPairs = defaultdict(set)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            sides = sorted((row[f"{side}_language"], row[side]) for side in ("source", "target"))
            keys = folded([text for _, text in sides])
            gold["-".join(label for label, _ in sides)].add((keys[0], keys[1]))
    return gold


def mined_pairs(path: Path) -> set[tuple[str, str]]:
    """Return a release's pairs as sentence keys."""
    table = pq.read_table(path, columns=["source", "target"])
    sides = [folded(table[side].to_pylist()) for side in ("source", "target")]
    return set(zip(*sides, strict=True))


def folded(texts: list[str]) -> list[str]:
    """Return what makes two sentences equal."""
    return sentence_key(clean_text(pl.Series(values=texts, dtype=pl.String))).to_list()


def _line(pair: str, gold: int, found: int, score: Scores) -> dict[str, object]:
    percents = {"precision": score.precision, "recall": score.recall, "F1": score.f1}
    return {"pair": pair, "gold": gold, "found": found} | {name: f"{100 * x:.1f}" for name, x in percents.items()}
