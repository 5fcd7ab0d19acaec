"""The recipes that come with the library: valid, as published where they say so, and able to train."""

from __future__ import annotations

import math
from importlib.resources import files

import pytest
import torch
import yaml

from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext
from encoder.checkpoint import pack, unpack
from encoder.decoder import DecoderConfig
from encoder.objectives import Translation, TranslationRanking
from encoder.training import TrainingConfig, learning_rate, train
from encoder.vocabulary import Vocabulary, VocabularyConfig, train_vocabulary

FOLDER = files("encoder") / "recipes"
NAMES = sorted(file.name.removesuffix(".yaml") for file in FOLDER.iterdir() if file.name.endswith(".yaml"))


def recipe(name: str) -> tuple[VocabularyConfig, TrainingConfig]:
    values = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))
    assert set(values) == {"vocabulary", "training"}
    return VocabularyConfig.model_validate(values["vocabulary"]), TrainingConfig.model_validate(values["training"])


def shrunk(config: TrainingConfig) -> TrainingConfig:
    """The same objectives, batches, schedule and precision (float16 wants a GPU) with sizes for a test."""
    values = config.model_dump()
    small = {"hidden": 16, "embedding": 16, "out_embedding": 16, "language": 4, "dimension": 32}
    parts = [values["architecture"], *(one["decoder"] for one in values["objectives"] if "decoder" in one)]
    for part in parts:
        part |= {name: size for name, size in small.items() if name in part}
    few = {"languages": 2, "pairs": 32, "tokens": 600, "window": 500}
    values["batches"] |= {name: size for name, size in few.items() if name in values["batches"]}
    values["validation"] |= {"pairs": 20, "every": 2}
    if config.precision == "float16":
        values["precision"] = "float32"
    return TrainingConfig.model_validate(values | {"steps": 4, "warmup": min(1, config.warmup), "forward_tokens": 300})


def test_the_recipes_are_those_that_people_are_told_of() -> None:
    assert NAMES == ["base", "laser", "small", "static"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    vocabulary, config = recipe(name)
    assert vocabulary.size >= 16_000
    assert config.validation.pairs
    assert config.steps % config.validation.every == 0
    assert (FOLDER / f"{name}.yaml").read_text("utf-8").startswith("# ")


def test_laser_is_as_published() -> None:
    """Artetxe & Schwenk 2019, section 3, and the command of fairseq's examples/laser."""
    vocabulary, config = recipe("laser")
    assert vocabulary.size == 50_000
    encoder = config.architecture
    assert isinstance(encoder, BiLstmConfig)
    assert (encoder.layers, encoder.hidden, encoder.embedding, encoder.dropout) == (5, 512, 320, 0.1)
    (objective,) = config.objectives
    assert isinstance(objective, Translation)
    assert objective.target_languages == ("eng_Latn", "spa_Latn")
    assert objective.decoder == DecoderConfig(hidden=2048, embedding=320, language=32, out_embedding=512)
    assert (config.batches.kind, config.batches.order, config.batches.tokens) == ("lengths", "least_consumed", 128_000)
    assert (config.learning_rate, config.clip, config.precision) == (0.001, 5, "float16")
    rates = [learning_rate(config, step) for step in (0, 89_999, 4 * 90_000 - 1)]
    assert rates == pytest.approx([0.001, 0.001, 0.0005])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_when_its_sizes_are_small(name: str, bitext: list[Bitext]) -> None:
    torch.set_num_threads(1)
    sizes, published = recipe(name)
    config = shrunk(published)
    assert [one.kind for one in config.objectives] == [one.kind for one in published.objectives]
    assert config.batches.kind == published.batches.kind
    texts = [*bitext[0].sources[:400], *bitext[0].targets[:400]]
    sizes = sizes.model_copy(update={"size": 120, "finer": 60 if sizes.finer else 0})
    vocabulary: Vocabulary = train_vocabulary(texts, sizes)
    spanish = Bitext("xaa_Latn", "spa_Latn", *(list(side)[:300] for side in (bitext[0].sources, bitext[0].sources)))
    training = train(config, vocabulary, [bitext[0], spanish])
    steps = list(training)
    assert len(steps) == 4
    assert all(math.isfinite(step.loss) for step in steps)
    assert set(steps[0].losses) == {one.kind for one in config.objectives}
    assert [step.step for step in steps if step.validation] == [2, 4]
    vectors = unpack(pack(training.encoder())).encode(texts[:3])
    assert vectors.shape == (3, config.architecture.dimension if name == "static" else 32)


def test_ranking_recipes_rank_within_large_batches() -> None:
    for name in ("small", "base"):
        _, config = recipe(name)
        assert isinstance(config.objectives[0], TranslationRanking)
        assert config.objectives[0].negatives == "batch"
