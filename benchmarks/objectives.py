"""Architectures and objectives side by side: the same pairs, the same subwords, the same seconds of one core each.

    python benchmarks/objectives.py recipes/default_static.yaml --tatoeba DIR --flores FILE --seconds 150

The recipe names the bitext; its vocabulary and training are not used. Of every language pair at most --pairs are read.
Prints a Markdown table, a line as soon as it is known.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from encoder.batching import LanguageBatches, LengthBatches
from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext
from encoder.checkpoint import pack
from encoder.decoder import DecoderConfig
from encoder.objectives import Translation, TranslationRanking
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
from tasks.evaluation.results import Outcome
from tasks.evaluation.sets import MultiWay, Tatoeba
from tasks.train_encoder import read_portion
from tasks.train_vocabulary import train_vocabulary

# the languages of FLORES-200 with the most speakers or web text
# fmt: off
LARGE = [
    "arb_Arab", "ben_Beng", "ces_Latn", "deu_Latn", "ell_Grek", "fin_Latn", "fra_Latn", "heb_Hebr", "hin_Deva",
    "hun_Latn", "ind_Latn", "ita_Latn", "jpn_Jpan", "kor_Hang", "nld_Latn", "pes_Arab", "pol_Latn", "por_Latn",
    "ron_Latn", "rus_Cyrl", "spa_Latn", "swe_Latn", "tur_Latn", "ukr_Cyrl", "vie_Latn", "zho_Hans",
]
# fmt: on
ARCHITECTURES: dict[str, Any] = {
    "static": StaticConfig(dimension=256),
    "bilstm": BiLstmConfig(layers=1, hidden=128, embedding=192),
    "transformer": TransformerConfig(layers=2, width=256, heads=4, feed_forward=512, pooling="mean"),
}
TRANSLATION = Translation(
    target_languages=("eng",), decoder=DecoderConfig(hidden=192, embedding=128, language=8, out_embedding=128)
)
OBJECTIVES = {
    "ranking": (TranslationRanking(negatives="batch"),),
    "translation": (TRANSLATION,),
    "both": (TranslationRanking(negatives="batch"), TRANSLATION.model_copy(update={"weight": 0.25})),
}


def settings(architecture: str, objective: str) -> TrainingConfig:
    """What is trained: batches as each architecture likes them."""
    is_static, is_alone = architecture == "static", objective == "ranking"
    return TrainingConfig(
        architecture=ARCHITECTURES[architecture],
        objectives=OBJECTIVES[objective],
        batches=LanguageBatches(languages=4, pairs=256 if is_alone else 16)
        if is_static
        else LengthBatches(tokens=2000),
        forward_tokens=2000,
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
        sides = (side.take(list(range(0, len(side), step))[:pairs]) for side in (one.sources, one.targets))
        parts.append(Bitext(one.source_language, one.target_language, *sides))
    return parts


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--tatoeba", required=True)
    parser.add_argument("--flores", required=True)
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    recipe: EncoderRecipe = load_config(arguments.recipe, TrainEncoderConfig).recipe
    with TemporaryDirectory() as folder:
        store = Store(folder)
        parts = [collect_bitext.fn(store, f"all/{place:03d}", part) for place, part in enumerate(recipe.bitext)]
        config = recipe.vocabulary.model_copy(update={"size": arguments.vocabulary, "finer": 0})
        artifact = train_vocabulary.fn(store, "all", parts, config)
        words = Vocabulary(store.files(artifact).read()["vocabulary.model"])
        bitext = sampled(read_portion([store.rows(part) for part in parts], 0, 1, 4096), arguments.pairs)
        sets = (Tatoeba(path=arguments.tatoeba), MultiWay(path=arguments.flores, languages=[*LARGE, "eng_Latn"]))
        print(f"{sum(len(one.sources) for one in bitext):,} pairs, {arguments.seconds:g} s of CPU time each\n")
        print("| architecture | objective | steps | CPU s | MiB | Tatoeba cosine | margin | FLORES xsim |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for architecture in ARCHITECTURES:
            for objective in OBJECTIVES:
                begun = time.process_time()
                training, steps = trained(settings(architecture, objective), words, bitext, arguments.seconds)
                spent = time.process_time() - begun
                place = Path(folder) / architecture / objective
                place.mkdir(parents=True)
                for name, data in pack(training.encoder()).items():
                    (place / name).write_bytes(data)
                scores = partial(scored, store, str(place), f"{architecture}-{objective}")
                tatoeba, flores = (scores(one) for one in sets)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(
                    f"| {architecture} | {objective} | {steps:,} | {spent:.0f} | {peak:,.0f} | "
                    f"{tatoeba['accuracy_cosine']:.1f} | {tatoeba['accuracy_margin']:.1f} | {flores['xsim']:.1f} |",
                    flush=True,
                )


def scored(store: Store, encoder: str, name: str, tests: Any) -> dict[str, float]:
    """Means over languages, percent."""
    artifact = evaluate_encoder.fn(store, name, encoder_reference(store, encoder), tests)
    return Outcome.read(store.files(artifact).read()).evaluation.means


if __name__ == "__main__":
    main()
