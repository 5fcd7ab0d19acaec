"""Bitext in, the steps of training out, and at their end an encoder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import Field, model_validator

from encoder.architectures import Architecture
from encoder.batching import Batch, LanguageBatches, LengthBatches, language_batches, length_batches
from encoder.bitext import Bitext
from encoder.bodies import Body, NeuralBody, StaticBody
from encoder.checkpoint import pack_model, unpack
from encoder.inference import Encoder
from encoder.learners import Learner, LearningConfig, make_decoder
from encoder.material import Loader, Material, Portion, visits
from encoder.objectives import Objective, TranslationRanking
from encoder.static import StaticConfig
from encoder.validation import Validation, ValidationConfig, hold_out, validate
from encoder.vocabulary import Vocabulary
from encoder.world import World


class TrainingConfig(LearningConfig):
    """What is trained, how, and for how many steps."""

    architecture: Architecture = StaticConfig()
    objectives: Annotated[
        tuple[Objective, ...], Field(min_length=1, description="Losses whose weighted sum is made small")
    ] = (TranslationRanking(),)
    batches: Annotated[
        LanguageBatches | LengthBatches, Field(discriminator="kind", description="What goes in a step")
    ] = LanguageBatches()
    steps: Annotated[int, Field(ge=1, description="Number of batches")] = 5_000
    learning_rate: Annotated[float, Field(gt=0, description="Of Adam, at its highest")] = 0.01
    schedule: Annotated[
        Literal["constant", "linear", "inverse_sqrt"],
        Field(description="After the warm-up: stay, fall in a line to zero, or fall with the root of the step"),
    ] = "linear"
    warmup: Annotated[int, Field(ge=0, description="Steps of a rise in a line")] = 0
    warmup_rate: Annotated[
        float, Field(ge=0, description="Where the rise begins; LASER begins where it ends, and so stays for 90,000")
    ] = 0.0
    exponent: Annotated[
        float, Field(ge=0, le=1, description="A language pair of n pairs is drawn in proportion to n to this power")
    ] = 0.6
    max_tokens: Annotated[int, Field(ge=1, le=4096, description="Tokens after which a sentence is cut")] = 128
    resident_pairs: Annotated[
        int, Field(ge=1, description="Pairs in memory at once; more are read in portions, one after the other")
    ] = 20_000_000
    validation: ValidationConfig = ValidationConfig()
    processes: Annotated[
        int,
        Field(ge=1, le=1024, description="Processes that train together, each on a GPU of its own if there are any"),
    ] = 1
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of all chance in training")] = 1

    @model_validator(mode="after")
    def _each_objective_once(self) -> Self:
        kinds = [objective.kind for objective in self.objectives]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"objectives: {', '.join(kinds)}; name each kind once, and give it a weight")
        if self.validation.patience and not self.validation.pairs:
            raise ValueError("validation.patience needs validation.pairs to look at")
        return self


@dataclass(frozen=True)
class Step:
    """How far training is; losses are those of this step, pairs, tokens and seconds those of this process."""

    step: int
    steps: int
    done: int  # steps of this process
    loss: float
    losses: Mapping[str, float]
    learning_rate: float
    pairs: int
    tokens: int
    seconds: float
    waited: float  # of the seconds, those in which the next batch was not there yet
    validation: Validation | None = None


@dataclass
class _Progress:
    step: int = 0
    visit: int = 0  # number of portions begun before this one
    within: int = 0  # batches of this portion that were used
    best: float = math.inf
    looks: int = 0  # since the best


@dataclass
class _Counts:
    pairs: int = 0
    tokens: int = 0
    waited: float = 0.0
    begun: float = field(default_factory=time.perf_counter)


class Training:
    """A run of training: iterate over it for its steps, then ask it for the encoder."""

    def __init__(
        self,
        config: TrainingConfig,
        vocabulary: Vocabulary,
        portions: Sequence[Portion],
        device: str = "cpu",
        world: World | None = None,
    ) -> None:
        """Draw the first weights; ValueError if a setting asks for what cannot be."""
        self._config, self._vocabulary, self._portions = config, vocabulary, portions
        self._loader = Loader(config.objectives, vocabulary, config.max_tokens)
        body = _body(config, vocabulary.size, device, world or World())
        dimension = body.model().dimension
        _check(config, dimension, self._loader)
        decoder = make_decoder(config.objectives, dimension, vocabulary.size, config.seed)
        if decoder is not None:
            decoder.to(body.device)
        self._learner = Learner(body, decoder, config.objectives, world or World()).configure(config, config.seed)
        self._progress = _Progress()
        self._best: dict[str, torch.Tensor] | None = None

    def __iter__(self) -> Iterator[Step]:
        """Train from where it is to the last step; the caller decides what to log, and how often."""
        config, progress, counts = self._config, self._progress, _Counts()
        begun, stream = progress.step, self._stream()
        while progress.step < config.steps and not self._has_waited:
            asked = time.perf_counter()
            material, batch, held_out = next(stream)
            counts.waited += time.perf_counter() - asked
            rate = learning_rate(config, progress.step)
            losses = self._learner.step(material, batch, progress.step, rate)
            progress.step, progress.within = progress.step + 1, progress.within + 1
            counts.pairs, counts.tokens = counts.pairs + len(batch.rows), counts.tokens + losses.tokens
            looks = held_out and (progress.step % config.validation.every == 0 or progress.step == config.steps)
            seen = self._judge(held_out) if held_out and looks else None
            yield Step(
                progress.step, config.steps, progress.step - begun, losses.total, losses.by_kind, rate,
                counts.pairs, counts.tokens, time.perf_counter() - counts.begun, counts.waited, seen,
            )  # fmt: skip

    @property
    def step(self) -> int:
        """Steps done so far, by all processes that this run of training ever had."""
        return self._progress.step

    def encoder(self) -> Encoder:
        """Make the encoder as it is now (at its best, if it may stop early), as its checkpoint can hold it."""
        if self._best is not None:
            now = {name: value.clone() for name, value in self._learner.body.tensors().items()}
            self._learner.body.load(self._best)
            model = self._learner.body.model()
            self._learner.body.load(now)
        else:
            model = self._learner.body.model()
        return unpack(pack_model(model, self._vocabulary, self._config.max_tokens))

    def state(self, notes: Mapping[str, str] | None = None) -> bytes:
        """All that `resume` needs to go on, as a safetensors file with the caller's notes; nothing in it can run."""
        tensors = self._learner.tensors()
        tensors |= {f"best.{name}": value for name, value in (self._best or {}).items()}
        kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        return safetensors.torch.save(kept, {**(notes or {}), "progress": json.dumps(vars(self._progress))})

    def resume(self, state: bytes) -> dict[str, str]:
        """Go on from a state as if nothing had happened, and give back the notes in it.

        ValueError if it is broken or of another training.
        """
        try:
            tensors = safetensors.torch.load(state)
            header = json.loads(state[8 : 8 + int.from_bytes(state[:8], "little")])  # as the format has it
            notes: dict[str, str] = header["__metadata__"]
            progress = _Progress(**json.loads(notes.pop("progress")))
            self._learner.load(tensors)
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            message = f"the state of the training cannot be used: {error}"
            raise ValueError(message) from error
        best = {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}
        self._progress, self._best = progress, best or None
        return notes

    def _stream(self) -> Iterator[tuple[Material, Batch, Material | None]]:
        """Give the batches from where training is; a portion is left when as many pairs were drawn as it holds."""
        progress, several = self._progress, len(self._portions) > 1
        held_out: Material | None = None
        skipped = progress.within
        for visited in visits(self._loader, self._portions, progress.visit):
            material, found = self._held_out(visited, progress.visit)
            held_out = held_out or found
            drawn = 0
            for number, batch in enumerate(_batches(self._config, material, progress.visit)):
                drawn += len(batch.rows)
                if number >= skipped:
                    yield material, batch, held_out
                if several and drawn >= len(material.corpus):
                    break
            progress.visit, progress.within, skipped = progress.visit + 1, 0, 0

    def _held_out(self, material: Material, visit: int) -> tuple[Material, Material | None]:
        """Take the pairs to look at out of the first portion, which is read for them if training goes on elsewhere."""
        config = self._config
        if not config.validation.pairs:
            return material, None
        if visit % len(self._portions) == 0:
            return hold_out(material, config.validation, config.seed)
        if visit == self._progress.visit and self._progress.within:
            return material, hold_out(self._loader.load(self._portions[0]()), config.validation, config.seed)[1]
        return material, None

    @property
    def _has_waited(self) -> bool:
        patience = self._config.validation.patience
        return bool(patience) and self._progress.looks >= patience

    def _judge(self, held_out: Material) -> Validation:
        seen, progress = validate(self._learner, held_out), self._progress
        better = seen.xsim < progress.best
        progress.best, progress.looks = min(seen.xsim, progress.best), 0 if better else progress.looks + 1
        if better and self._config.validation.patience:
            self._best = {name: value.clone() for name, value in self._learner.body.tensors().items()}
        return seen


def train(config: TrainingConfig, vocabulary: Vocabulary, bitext: Sequence[Bitext]) -> Training:
    """Prepare a run of training on bitext in memory; equal arguments and thread counts give equal encoders."""
    return Training(config, vocabulary, [lambda: bitext])


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of a step, counted from zero."""
    if step < config.warmup:
        risen = (step + 1) / config.warmup
        return config.warmup_rate + (config.learning_rate - config.warmup_rate) * risen
    if config.schedule == "linear":
        return config.learning_rate * (config.steps - step) / max(1, config.steps - config.warmup)
    if config.schedule == "inverse_sqrt":
        return config.learning_rate * math.sqrt(max(1, config.warmup) / (step + 1))
    return config.learning_rate


def _batches(config: TrainingConfig, material: Material, visit: int) -> Iterator[Batch]:
    chance = np.random.default_rng([config.seed, 0, visit])
    if isinstance(config.batches, LanguageBatches):
        return language_batches(material.corpus, config.batches, config.exponent, chance)
    return length_batches(material.corpus, config.batches, config.exponent, chance)


def _body(config: TrainingConfig, size: int, device: str, world: World) -> Body:
    if not isinstance(config.architecture, StaticConfig):
        return NeuralBody(config.architecture, size, config.seed, device, config.forward_tokens)
    if world.size > 1:
        message = "a static encoder is trained by one process: its steps cost less than to bring gradients together"
        raise ValueError(message)
    return StaticBody(config.architecture, size, config.seed)


def _check(config: TrainingConfig, dimension: int, loader: Loader) -> None:
    if wrong := [prefix for prefix in config.prefixes if prefix >= dimension]:
        message = f"prefixes: {wrong[0]} is not shorter than the vector, which has {dimension} numbers"
        raise ValueError(message)
    if loader.teacher_dimension not in (None, dimension):
        message = f"the teacher's vectors have {loader.teacher_dimension} numbers, the student's {dimension}"
        raise ValueError(message)
