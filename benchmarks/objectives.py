"""Architectures and objectives side by side: the same pairs, the same subwords, the same seconds of one core each.

    python benchmarks/objectives.py recipes/default_static.yaml --tatoeba DIR --flores FILE --sib FILE --news FILE \
        --seconds 150 --keep DIR --only static/translation static/both

The recipe names the bitext; its vocabulary and training are not used. Of every language pair at most --pairs are read.
Of the news, 2,000 sentences a language and their translations are hidden among --distractors others on each side: fewer
than `babelmill evaluate` takes, which bounds the time of a slow encoder and makes F1 higher. --keep is a store in which
a second call finds the bitext, the vocabulary and the scores. Prints a Markdown table, a line as soon as it is known.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from encoder.batching import LanguageBatches, LengthBatches
from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext
from encoder.checkpoint import pack
from encoder.decoder import DecoderConfig
from encoder.objectives import Objective, Translation, TranslationRanking
from encoder.static import StaticConfig
from encoder.training import Training, TrainingConfig
from encoder.transformer import TransformerConfig
from encoder.vocabulary import Vocabulary
from flows.config import EncoderRecipe, TrainEncoderConfig
from flows.loading import load_config
from flows.opening import encoder_reference
from storage.store import Store
from tasks.collect_bitext import collect_bitext
from tasks.evaluate_encoder import evaluate_encoder
from tasks.evaluation.results import Evaluation, Outcome
from tasks.evaluation.sets import Bucc, Classification, EvaluationSet, MultiWay, Tatoeba
from tasks.train_encoder import read_portion
from tasks.train_vocabulary import train_vocabulary

# the languages of FLORES-200 with the most speakers or web text
# fmt: off
LARGE = [
    "arb_Arab", "ben_Beng", "ces_Latn", "deu_Latn", "ell_Grek", "fin_Latn", "fra_Latn", "heb_Hebr", "hin_Deva",
    "hun_Latn", "ind_Latn", "ita_Latn", "jpn_Jpan", "kor_Hang", "nld_Latn", "pes_Arab", "pol_Latn", "por_Latn",
    "ron_Latn", "rus_Cyrl", "spa_Latn", "swe_Latn", "tur_Latn", "ukr_Cyrl", "vie_Latn", "zho_Hans",
]
NEWS = ["deu", "rus", "cmn", "ces"]  # those of the BUCC tasks, with Czech in the place of French
# fmt: on
ARCHITECTURES: dict[str, Any] = {
    "static": StaticConfig(dimension=256),
    "bilstm": BiLstmConfig(layers=1, hidden=128, embedding=192),
    "transformer": TransformerConfig(layers=2, width=256, heads=4, feed_forward=512, pooling="mean"),
}
TRANSLATION = Translation(
    target_languages=("eng",), decoder=DecoderConfig(hidden=192, embedding=128, language=8, out_embedding=128)
)
OBJECTIVES: dict[str, tuple[Objective, ...]] = {
    "ranking": (TranslationRanking(negatives="batch"),),
    "translation": (TRANSLATION,),
    "both": (TranslationRanking(negatives="batch"), TRANSLATION.model_copy(update={"weight": 0.25})),
}

ROWS = [f"{architecture}/{objective}" for architecture in ARCHITECTURES for objective in OBJECTIVES]
COLUMNS = ["architecture", "objective", "steps", "CPU s", "MiB so far", "Tatoeba cosine", "margin", "FLORES xsim"]
COLUMNS += ["SIB-200", "news F1", *NEWS]


class Bench(NamedTuple):
    """What every row is made with."""

    store: Store
    words: Vocabulary
    bitext: list[Bitext]
    seconds: float
    sets: tuple[EvaluationSet, ...]


def settings(architecture: str, objective: str) -> TrainingConfig:
    """What is trained: batches as each architecture likes them.

    A static encoder has no use for long products, so its decoder reads 200 tokens at once: their scores of 32,000
    subwords (26 MB) are memory that malloc gives again, and a step takes half the time that it takes with 2,000.
    """
    is_static, is_alone = architecture == "static", objective == "ranking"
    languages = LanguageBatches(languages=4, pairs=256 if is_alone else 16)
    return TrainingConfig(
        architecture=ARCHITECTURES[architecture],
        objectives=OBJECTIVES[objective],
        batches=languages if is_static else LengthBatches(tokens=2000),
        forward_tokens=200 if is_static else 2000,
        learning_rate=0.01 if is_static else 0.002,
        schedule="inverse_sqrt",
        warmup=50,
        token_dropout=0.1,
        max_tokens=100,
        steps=1_000_000,
    )


def trained(config: TrainingConfig, words: Vocabulary, bitext: list[Bitext], seconds: float) -> tuple[Training, int]:
    """Train for so many seconds of CPU time, after the first step has read the text, and say in how many steps."""
    training, begun = Training(config, words, [lambda: bitext]), None
    for step in training:
        begun = begun or time.process_time()
        if time.process_time() - begun > seconds:
            return training, step.step
    return training, config.steps


def sampled(bitext: list[Bitext], pairs: int) -> list[Bitext]:
    """Keep the evenly spread part of every language pair that is large."""
    parts = []
    for one in bitext:
        step = max(1, len(one.sources) // pairs)
        sides = (side[::step][:pairs] for side in (one.sources, one.targets))
        parts.append(Bitext(one.source_language, one.target_language, *sides))
    return parts


def main() -> None:
    """Run what the command line asks for."""
    arguments = parsed()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    with nullcontext(arguments.keep) if arguments.keep else TemporaryDirectory() as folder:
        bench = prepared(arguments, Store(folder))
        pairs = sum(len(one.sources) for one in bench.bitext)
        print(f"{pairs:,} pairs, {arguments.seconds:g} s of CPU time each\n")
        print(f"| {' | '.join(COLUMNS)} |")
        print("|---" * len(COLUMNS) + "|", flush=True)
        for row in arguments.only or ROWS:
            print(f"| {' | '.join(measured(bench, row))} |", flush=True)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--tatoeba", required=True, help="folder of LASER's files")
    parser.add_argument("--flores", required=True, help="Parquet with idx, lang and text")
    parser.add_argument("--sib", required=True, help="Parquet with lang, split, category and text")
    parser.add_argument("--news", required=True, help="Parquet with lang, text and eng")
    parser.add_argument("--distractors", type=int, default=4_000, help="other sentences of the news on each side")
    parser.add_argument("--seconds", type=float, default=150.0, help="of CPU time for each row")
    parser.add_argument("--pairs", type=int, default=10_000, help="of a language pair, at most")
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--keep", help="folder of the store; without it, a temporary one")
    return parser.parse_args()


def prepared(arguments: argparse.Namespace, store: Store) -> Bench:
    """Collect the bitext and train the vocabulary, unless the store has them, and name the sets."""
    recipe: EncoderRecipe = load_config(arguments.recipe, TrainEncoderConfig).recipe
    parts = [collect_bitext.fn(store, f"all/{place:03d}", part) for place, part in enumerate(recipe.bitext)]
    config = recipe.vocabulary.model_copy(update={"size": arguments.vocabulary, "finer": 0})
    artifact = train_vocabulary.fn(store, "all", parts, config)
    words = Vocabulary(store.files(artifact).read()["vocabulary.model"])
    bitext = sampled(read_portion([store.rows(part) for part in parts], 0, 1, 4096), arguments.pairs)
    sets = (
        Tatoeba(path=arguments.tatoeba),
        MultiWay(path=arguments.flores, languages=[*LARGE, "eng_Latn"]),
        Classification(path=arguments.sib, label_column="category"),
        Bucc(path=arguments.news, pivot_column="eng", languages=NEWS, distractors=arguments.distractors),
    )
    return Bench(store, words, bitext, arguments.seconds, sets)


def measured(bench: Bench, row: str) -> list[str]:
    """Train and score one row of the table."""
    architecture, objective = row.split("/")
    begun = time.process_time()
    training, steps = trained(settings(architecture, objective), bench.words, bench.bitext, bench.seconds)
    spent = time.process_time() - begun
    with TemporaryDirectory() as place:
        for name, data in pack(training.encoder()).items():
            (Path(place) / name).write_bytes(data)
        scores = partial(scored, bench.store, place, f"{architecture}-{objective}")
        tatoeba, flores, sib, news = (scores(one) for one in bench.sets)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    f1 = {one["language"]: one["f1"] for one in news.results}
    accuracies = [tatoeba.means["accuracy_cosine"], tatoeba.means["accuracy_margin"]]
    percents = [*accuracies, flores.means["xsim"], sib.means["accuracy"], news.means["f1"], *(f1[one] for one in NEWS)]
    return [architecture, objective, f"{steps:,}", f"{spent:.0f}", f"{peak:,.0f}", *(f"{one:.1f}" for one in percents)]


def scored(store: Store, encoder: str, name: str, tests: EvaluationSet) -> Evaluation:
    """What a set says of an encoder, in percent."""
    artifact = evaluate_encoder.fn(store, name, encoder_reference(store, encoder), tests)
    return Outcome.read(store.files(artifact).read()).evaluation


if __name__ == "__main__":
    main()
