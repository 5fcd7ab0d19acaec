"""bitext + vocabulary -> encoder (artifact)"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from encoder.bitext import Bitext
from encoder.checkpoint import pack
from encoder.training import Step, TrainingConfig, train
from encoder.vocabulary import Vocabulary
from storage.errors import ConfigError
from storage.handles import Files, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks import stage

VERSION = 1
_REPORT_SECONDS = 10.0

_logger = logging.getLogger(__name__)


@stage(task_run_name="train-encoder-{name}")
def train_encoder(
    store: Store, name: str, bitext: list[Dataset], vocabulary: Artifact, config: TrainingConfig
) -> Artifact:
    """Train a sentence encoder on all cores of this machine.

    Raises:
        ConfigError: if no pair of the bitext is of use to this objective.
    """
    inputs = (vocabulary, tuple(bitext))
    job = Job("train_encoder", VERSION, config, inputs, (Slot("encoder", name),), _train, need="gpu")
    return store.make(job)


def _train(
    _: Tally, config: TrainingConfig, vocabulary: Files, bitext: list[Rows]
) -> Iterator[tuple[str, list[bytes]]]:
    words = Vocabulary(vocabulary.read()["vocabulary.model"])
    pairs = pa.concat_tables(part.read() for part in bitext)
    try:
        training = train(config, words, list(by_languages(pairs)))
    except ValueError as error:
        raise ConfigError(f"bitext: {error}") from error
    told = time.monotonic()
    for step in training:
        if step.step in (1, step.steps) or time.monotonic() - told > _REPORT_SECONDS:
            told = time.monotonic()
            _report(step)
    for file, data in pack(training.encoder()).items():
        yield file, [data]


def by_languages(pairs: pa.Table) -> Iterator[Bitext]:
    """Cut a table of the `bitext` schema into one part per language pair, in the order of their labels."""
    labels = pairs.select(["source_language", "target_language"]).group_by(["source_language", "target_language"])
    for row in sorted(labels.aggregate([]).to_pylist(), key=lambda row: tuple(row.values())):
        source, target = row["source_language"], row["target_language"]
        mask = pc.and_(pc.equal(pairs["source_language"], source), pc.equal(pairs["target_language"], target))
        part = pairs.filter(mask)
        yield Bitext(source, target, part["source"], part["target"])


def _report(step: Step) -> None:
    rate = step.tokens / max(step.seconds, 1e-9)
    left = step.seconds / step.step * (step.steps - step.step)
    _logger.info(
        "train encoder: step %s of %s, loss %.3f, %s tokens/s, %.0f s left",
        f"{step.step:,}", f"{step.steps:,}", step.loss, f"{rate:,.0f}", left,
    )  # fmt: skip
