"""A training of some seconds, which keeps its state after every step: `python small_training.py ROOT` begins or goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from encoder.batching import LengthBatches
from encoder.bilstm import BiLstmConfig
from encoder.decoder import DecoderConfig
from encoder.objectives import Translation, TranslationRanking
from encoder.training import TrainingConfig
from encoder.validation import ValidationConfig
from encoder.vocabulary import VocabularyConfig
from storage.manifest import Artifact
from storage.store import Store
from tasks.collect_bitext import collect_bitext
from tasks.formats.bitext import BitextSource
from tasks.train_encoder import train_encoder
from tasks.train_vocabulary import train_vocabulary

WORDS = ("dog", "cat", "house", "river", "stone", "bird", "tree", "child", "sees", "finds", "takes", "likes")
CONFIG = TrainingConfig(
    architecture=BiLstmConfig(layers=1, hidden=16, embedding=16, dropout=0.1),
    objectives=(
        TranslationRanking(),
        Translation(target_languages=("eng_Latn",), decoder=DecoderConfig(hidden=16, embedding=16, language=4)),
    ),
    batches=LengthBatches(tokens=300, window=400),
    learning_rate=0.01,
    token_dropout=0.1,
    steps=40,
    validation=ValidationConfig(pairs=40, every=7, patience=100),
)


def sentences(count: int, seed: int = 1) -> list[str]:
    """English-like sentences of four to eight words."""
    chance = np.random.default_rng(seed)
    return [" ".join(chance.choice(WORDS, chance.integers(4, 9))) for _ in range(count)]


def translated(english: str) -> str:
    """The same in a made-up language, with the words turned round."""
    return " ".join(word[::-1] + "o" for word in english.split())


def write_tsv(path: Path, count: int = 500, seed: int = 1) -> BitextSource:
    """Write a file of parallel text, and say how to read it."""
    rows = [f"{translated(one)}\t{one}\n" for one in sentences(count, seed)]
    path.write_text("".join(["source\ttarget\n", *rows]), "utf-8")
    return BitextSource(path=str(path), source_language="xaa_Latn", target_language="eng_Latn")


def train(store: Store, file: Path, config: TrainingConfig = CONFIG, keep_seconds: float = 0.0) -> Artifact:
    """Make the encoder, or what of it is not there yet."""
    bitext = [collect_bitext.fn(store, "seed", write_tsv(file))]
    vocabulary = train_vocabulary.fn(store, "small", bitext, VocabularyConfig(size=100))
    encoder: Artifact = train_encoder.fn(store, "small", bitext, vocabulary, config, keep_seconds=keep_seconds)
    return encoder


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Store(sys.argv[1]), Path(sys.argv[1]).with_suffix(".tsv"))
