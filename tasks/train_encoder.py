"""bitext + vocabulary -> encoder (artifact)"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from encoder.bitext import Bitext
from encoder.checkpoint import FINER, VOCABULARY, pack
from encoder.material import Portion
from encoder.objectives import Distillation, TranslationRanking
from encoder.parallel import run
from encoder.registry import load_encoder
from encoder.training import Step, Training, TrainingConfig
from encoder.vocabulary import Vocabulary
from encoder.world import World
from storage.errors import ConfigError
from storage.fingerprint import Settings
from storage.handles import Files, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.planning import is_planned
from storage.scratch import Scratch
from storage.store import Store
from tasks import stage

VERSION = 2
STATE, CURVE = "training.safetensors", "training.json"
_POINTS = 200
_REPORT_SECONDS = 10.0
_STRIPE = 4_096  # rows that go to one portion; the next so many go to the next

_logger = logging.getLogger(__name__)


class Point(Settings):
    """What was seen at a step: the loss is the mean since the point before."""

    step: int
    loss: float
    held_out_loss: float | None = None
    held_out_xsim: float | None = None


class Curve(Settings):
    """How training went, in at most some hundred points."""

    points: list[Point] = []
    losses: list[float] = []  # since the last point

    def add(self, step: Step) -> None:
        """Look at a step."""
        self.losses.append(step.loss)
        seen = step.validation
        if seen or step.step == step.steps or len(self.losses) >= max(1, step.steps // _POINTS):
            loss = sum(self.losses) / len(self.losses)
            self.points.append(
                Point(
                    step=step.step,
                    loss=round(loss, 5),
                    held_out_loss=round(seen.loss, 5) if seen else None,
                    held_out_xsim=round(seen.xsim, 5) if seen else None,
                )
            )
            self.losses.clear()


@stage(task_run_name="train-encoder-{name}")
def train_encoder(  # noqa: PLR0913 - what is learnt, from what and how, and how often that is kept
    store: Store,
    name: str,
    bitext: list[Dataset],
    vocabulary: Artifact,
    config: TrainingConfig,
    *,
    keep_seconds: float = 120.0,
) -> Artifact:
    """Train a sentence encoder on all cores of this machine, or its GPUs; a run that was killed goes on where it was.

    Args:
        store: where all of it is.
        name: what the encoder is called.
        bitext: what it learns from.
        vocabulary: its subwords.
        config: how it learns.
        keep_seconds: how often the state of the training is kept; so much work is lost at most.

    Raises:
        ConfigError: if no pair of the bitext is of use to the objectives, or an encoder that they name is not there.
    """
    frozen = tuple(_fingerprint(encoder) for encoder in frozen_encoders(config))
    slot = Slot("encoder", name)
    job = Job("train_encoder", VERSION, config, (vocabulary, tuple(bitext), *frozen), (slot,), _train, need="gpu")
    scratch = Scratch(store.bare(), job.folder(slot), STATE, keep_seconds)
    encoder = store.make(replace(job, compute=partial(_train, scratch)))
    if not is_planned(encoder):
        scratch.clear()  # only now: storage that fails while the encoder is written must not cost the training
    return encoder


def frozen_encoders(config: TrainingConfig) -> Iterator[str]:
    """Name the encoders that teach or look for hard negatives."""
    for objective in config.objectives:
        if isinstance(objective, Distillation):
            yield objective.teacher
        elif isinstance(objective, TranslationRanking) and objective.hard_negatives:
            yield objective.miner


def _fingerprint(encoder: str) -> str:
    try:
        return load_encoder(encoder).fingerprint
    except ValueError as error:
        raise ConfigError(f"recipe.training.objectives: {error}") from error


def _train(
    scratch: Scratch, _: Tally, config: TrainingConfig, vocabulary: Files, bitext: list[Rows], *__: str
) -> Iterator[tuple[str, list[bytes]]]:
    if config.precision == "float16" and config.architecture.kind != "static" and not torch.cuda.is_available():
        raise ConfigError("recipe.training.precision: float16 needs a GPU; bfloat16 and float32 do with a CPU")
    files = vocabulary.read()
    words = Vocabulary(files[VOCABULARY], files.get(FINER))
    prepare = partial(Training, config, words, portions_of(bitext, config.resident_pairs))
    told = time.monotonic()
    for one in run(partial(_steps, prepare, scratch), config.processes):
        if not isinstance(one, Step):
            yield from ((file, [data]) for file, data in one.items())
        elif one.done == 1 or one.validation or time.monotonic() - told > _REPORT_SECONDS:
            told = time.monotonic()
            _logger.info("train encoder: %s", describe(one))


def _steps(
    prepare: Callable[[str, World], Training], scratch: Scratch, device: str, world: World
) -> Iterator[Step | dict[str, bytes]]:
    """Yield the steps and then the encoder's files, keeping the state of the training now and then."""
    try:
        training = prepare(device, world)
    except ValueError as error:
        raise ConfigError(f"recipe.training: {error}") from error
    curve = _go_on(training, scratch)
    kept = time.monotonic()
    try:
        for step in training:
            curve.add(step)
            yield step
            if world.rank == 0 and time.monotonic() - kept >= scratch.seconds:
                scratch.write(training.state({CURVE: curve.model_dump_json()}))
                kept = time.monotonic()
    except ValueError as error:
        raise ConfigError(f"bitext: {error}") from error
    if world.rank == 0:
        yield pack(training.encoder()) | {CURVE: curve.model_dump_json(indent=1).encode()}


def _go_on(training: Training, scratch: Scratch) -> Curve:
    """Bring a training to where a run before this one left it, and return what that one saw."""
    state = scratch.read()
    if state is None:
        return Curve()
    try:
        curve = Curve.model_validate_json(training.resume(state)[CURVE])
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{error}; remove {scratch.url} to begin anew") from error
    _logger.info("train encoder: goes on after step %s", f"{training.step:,}")
    return curve


def portions_of(bitext: list[Rows], pairs: int) -> list[Portion]:
    """Cut bitext into as few portions as hold `pairs` pairs each, or little more; together they are all of it."""
    count = max(1, -(-sum(part.dataset.rows for part in bitext) // pairs))
    return [partial(read_portion, bitext, place, count, min(_STRIPE, pairs)) for place in range(count)]


def read_portion(bitext: list[Rows], place: int, count: int, stripe: int) -> list[Bitext]:
    """Read every `count`-th stripe of so many rows, from the `place`-th on, of all sources end to end."""
    begin, kept = 0, []
    for part in bitext:
        for table in part.batches(rows=_STRIPE):
            stripes = np.arange(begin, begin + table.num_rows) // stripe
            kept.append(table.filter(pa.array(stripes % count == place)))
            begin += table.num_rows
    return list(by_languages(pa.concat_tables(kept))) if kept else []


def by_languages(pairs: pa.Table) -> Iterator[Bitext]:
    """Cut a table of the `bitext` schema into one part per language pair, in the order of their labels."""
    labels = pairs.select(["source_language", "target_language"]).group_by(["source_language", "target_language"])
    for row in sorted(labels.aggregate([]).to_pylist(), key=lambda row: tuple(row.values())):
        source, target = row["source_language"], row["target_language"]
        mask = pc.and_(pc.equal(pairs["source_language"], source), pc.equal(pairs["target_language"], target))
        part = pairs.filter(mask)
        yield Bitext(source, target, part["source"], part["target"])


def describe(step: Step) -> str:
    """Say in one line how far training is."""
    seconds = max(step.seconds, 1e-9)
    parts = [f"step {step.step:,} of {step.steps:,}", f"loss {step.loss:.3f}"]
    if len(step.losses) > 1:
        parts[1] += " (" + ", ".join(f"{kind} {loss:.3f}" for kind, loss in step.losses.items()) + ")"
    if step.validation:
        parts += [f"held-out loss {step.validation.loss:.3f}, xsim {100 * step.validation.xsim:.1f}"]
    parts += [f"{step.tokens / seconds:,.0f} tokens/s", f"{step.waited / seconds:.0%} of the time waiting for data"]
    left = seconds / max(step.done, 1) * (step.steps - step.step)
    return ", ".join([*parts, f"{left:,.0f} s left"])
