"""Bitext in, the steps of training out, and at their end an encoder."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from encoder.batching import LanguageBatches, LengthBatches, language_batches, length_batches
from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext, tokenise
from encoder.checkpoint import pack_model, unpack
from encoder.inference import Encoder
from encoder.learners import BiLstmLearner, Habits, Learner, StaticLearner
from encoder.objectives import Translation, TranslationRanking
from encoder.settings import Settings
from encoder.static import StaticConfig
from encoder.vocabulary import Vocabulary


class TrainingConfig(Settings):
    """What is trained, how, and for how many steps."""

    architecture: Annotated[StaticConfig | BiLstmConfig, Field(discriminator="kind", description="The model")] = (
        StaticConfig()
    )
    objective: Annotated[Translation | TranslationRanking, Field(discriminator="kind", description="The loss")] = (
        TranslationRanking()
    )
    batches: Annotated[
        LanguageBatches | LengthBatches, Field(discriminator="kind", description="What goes in a step")
    ] = LanguageBatches()
    steps: Annotated[int, Field(ge=1, description="Number of batches")] = 5_000
    learning_rate: Annotated[float, Field(gt=0, description="Of Adam, at its highest")] = 0.01
    schedule: Annotated[
        Literal["constant", "linear", "inverse_sqrt"],
        Field(description="After the warm-up: stay, fall in a line to zero, or fall with the root of the step"),
    ] = "linear"
    warmup: Annotated[int, Field(ge=0, description="Steps of a rise in a line from zero")] = 0
    clip: Annotated[float, Field(gt=0, description="Longest gradient of a BiLSTM (LASER: 5)")] = 5.0
    token_dropout: Annotated[float, Field(ge=0, lt=1, description="Share of tokens left out at random")] = 0.1
    exponent: Annotated[
        float, Field(ge=0, le=1, description="A language pair of n pairs is drawn in proportion to n to this power")
    ] = 0.6
    max_tokens: Annotated[int, Field(ge=1, le=4096, description="Tokens after which a sentence is cut")] = 128
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of all chance in training")] = 1


@dataclass(frozen=True)
class Step:
    """How far training is; loss is that of this step, tokens and seconds are since its start."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    pairs: int
    tokens: int
    seconds: float


class Training:
    """A run of training: iterate over it for its steps, then ask it for the encoder."""

    def __init__(self, config: TrainingConfig, vocabulary: Vocabulary, bitext: Sequence[Bitext]) -> None:
        """Tokenise the bitext and draw the first weights; ValueError if no pair is of use."""
        self._config, self._vocabulary = config, vocabulary
        if isinstance(config.objective, Translation):
            bitext = _into(bitext, config.objective.target_languages)
        self._corpus = tokenise(bitext, vocabulary, config.max_tokens)
        self._learner = _learner(config, vocabulary, self._corpus.languages)

    def __iter__(self) -> Iterator[Step]:
        """Train from the first step to the last; the caller decides what to log, and how often."""
        config, corpus = self._config, self._corpus
        chance = np.random.default_rng([config.seed, 0])
        batches = (
            language_batches(corpus, config.batches, config.exponent, chance)
            if isinstance(config.batches, LanguageBatches)
            else length_batches(corpus, config.batches, config.exponent, chance)
        )
        begun, pairs, tokens = time.perf_counter(), 0, 0
        for number, batch in zip(range(config.steps), batches, strict=False):
            rate = learning_rate(config, number)
            loss, used = self._learner.step(corpus, batch, number, rate)
            pairs, tokens = pairs + len(batch.rows), tokens + used
            yield Step(number + 1, config.steps, loss, rate, pairs, tokens, time.perf_counter() - begun)

    def encoder(self) -> Encoder:
        """Make the encoder as it is now, rounded to what its checkpoint can hold."""
        return unpack(pack_model(self._learner.model(), self._vocabulary, self._config.max_tokens))


def train(config: TrainingConfig, vocabulary: Vocabulary, bitext: Sequence[Bitext]) -> Training:
    """Prepare a run of training; equal arguments and numbers of threads give equal encoders."""
    return Training(config, vocabulary, bitext)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of a step, counted from zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "linear":
        return config.learning_rate * (config.steps - step) / max(1, config.steps - config.warmup)
    if config.schedule == "inverse_sqrt":
        return config.learning_rate * math.sqrt(max(1, config.warmup) / (step + 1))
    return config.learning_rate


def _into(bitext: Sequence[Bitext], languages: Sequence[str]) -> list[Bitext]:
    """Every direction that ends in one of the languages."""
    directions = [way for part in bitext for way in (part, part.reversed()) if way.target_language in languages]
    if not directions:
        message = f"no bitext has one of the target languages {', '.join(languages)}"
        raise ValueError(message)
    return directions


def _learner(config: TrainingConfig, vocabulary: Vocabulary, languages: Sequence[tuple[str, str]]) -> Learner:
    habits = Habits(config.token_dropout, config.clip, config.seed)
    if isinstance(config.architecture, BiLstmConfig):
        return BiLstmLearner(config.architecture, config.objective, vocabulary.size, languages, habits)
    if isinstance(config.objective, TranslationRanking):
        return StaticLearner(config.architecture, config.objective, vocabulary.size, habits)
    message = "a static encoder is trained by translation_ranking: it has no decoder"
    raise ValueError(message)
