"""How well `babelmill mine` finds translations in real news: pairs hidden among ten times as many other sentences.

    python benchmarks/mining_quality.py WMT_NEWS.parquet [--encoder default] [--languages deu rus cmn ces]

The Parquet file has columns source (test set), lang, eng and text. For each language 2,000 pairs of one year are hidden
among 20,000 sentences of other years on each side. The distractors of the two sides are no translations of each other:
an English sentence that stands beside a sentence of that language anywhere in the file is not used. `babelmill mine` is
run as a user would, with no threshold; the table shows precision, recall and F1 at the threshold with the best F1, as
BUCC tunes it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from tasks.similarity.scoring import Scores, best_threshold

PAIRS, DISTRACTORS, SEED = 2_000, 20_000, 1
GOLD_YEARS = {"cmn": "2019"}  # the file has no Chinese of 2016
VARIANTS = [("absolute", "max"), ("distance", "max")]
VARIANTS += [("ratio", retrieval) for retrieval in ("forward", "backward", "intersection", "union", "max")]
NO_THRESHOLD = "-1000"


def hidden_pairs(news: pl.DataFrame, language: str) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Return the gold pairs (text, eng), and the shuffled sentences of both sides with the gold among them."""
    rows = news.filter(pl.col("lang") == language)
    in_gold_year = pl.col("source").str.contains(GOLD_YEARS.get(language, "2016"))
    gold = (
        rows.filter(in_gold_year)
        .sort("text", "eng")
        .unique("text", keep="first")
        .sort("eng")
        .unique("eng", keep="first")
        .sort("text")
        .sample(PAIRS, seed=SEED, shuffle=True)
    )
    others = rows.filter(~in_gold_year).select("text").unique().join(gold, on="text", how="anti").sort("text")
    english = news.filter(~in_gold_year & (pl.col("lang") != language)).select("eng").unique()
    english = english.join(rows, on="eng", how="anti").sort("eng")
    sides = []
    for own, pool in ((gold["text"], others["text"]), (gold["eng"], english["eng"])):
        distractors = pool.sample(min(DISTRACTORS, len(pool)), seed=SEED, shuffle=True)
        sides.append(pl.concat([own, distractors]).sample(fraction=1, seed=SEED, shuffle=True).to_list())
    return gold, sides[0], sides[1]


def mine(folder: Path, encoder: str, margin: str, retrieval: str) -> tuple[pl.DataFrame, float]:
    """Run the command and return its pairs and its seconds."""
    output = folder / "pairs.tsv"
    command = [sys.executable, "-m", "flows.cli", "mine", str(folder / "source.txt"), str(folder / "target.txt")]
    options = ["--encoder", encoder, "--margin", margin, "--retrieval", retrieval, "--threshold", NO_THRESHOLD]
    begun = time.perf_counter()
    subprocess.run([*command, *options, "--output", str(output)], check=True, stdout=subprocess.DEVNULL)
    columns = ["margin", "text", "eng"]
    pairs = pl.read_csv(output, separator="\t", has_header=False, new_columns=columns, quote_char=None)
    return pairs, time.perf_counter() - begun


def score(pairs: pl.DataFrame, gold: pl.DataFrame) -> Scores:
    """Return the scores at the best threshold."""
    marked = gold.select("text", "eng", right=True)
    right = pairs.join(marked, on=["text", "eng"], how="left", maintain_order="left")["right"].fill_null(value=False)
    return best_threshold(pairs["margin"].to_numpy().astype(np.float32), right.to_numpy(), gold.height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("news", type=Path)
    parser.add_argument("--encoder", default="default")
    parser.add_argument("--languages", nargs="+", default=["deu", "rus", "cmn", "ces"])
    arguments = parser.parse_args()
    lines = pl.col("text", "eng").str.replace_all(r"\s+", " ").str.strip_chars()
    news = pl.read_parquet(arguments.news).with_columns(lines)
    print("| pair | margin | retrieval | sentences a side | precision | recall | F1 | threshold | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for language in arguments.languages:
        gold, sources, targets = hidden_pairs(news, language)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "source.txt").write_text("\n".join(sources) + "\n", "utf-8")
            (folder / "target.txt").write_text("\n".join(targets) + "\n", "utf-8")
            for margin, retrieval in VARIANTS:
                pairs, seconds = mine(folder, arguments.encoder, margin, retrieval)
                best = score(pairs, gold)
                percents = " | ".join(f"{100 * value:.1f}" for value in best[:3])
                sizes = f"{len(sources):,} x {len(targets):,}"
                cells = (
                    f"{language}-eng",
                    margin,
                    retrieval,
                    sizes,
                    percents,
                    f"{best.threshold:.4f}",
                    f"{seconds:.0f}",
                )
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
