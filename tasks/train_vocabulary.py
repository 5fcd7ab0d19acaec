"""bitext -> vocabulary (artifact)"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from encoder.checkpoint import FINER, VOCABULARY
from encoder.vocabulary import VocabularyConfig, balanced_quota
from encoder.vocabulary import train_vocabulary as train
from storage.errors import ConfigError
from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks import stage
from tasks.text.sampling import balanced_sample

VERSION = 1


@stage(task_run_name="train-vocabulary-{name}")
def train_vocabulary(store: Store, name: str, bitext: list[Dataset], config: VocabularyConfig) -> Artifact:
    """Learn the subwords that all languages share, from a sample in which small languages weigh more.

    Raises:
        ConfigError: if the bitext cannot give that many subwords.
    """
    job = Job("train_vocabulary", VERSION, config, (tuple(bitext),), (Slot("vocabulary", name),), _train)
    return store.make(job)


def _train(_: Tally, config: VocabularyConfig, bitext: list[Rows]) -> Iterator[tuple[str, list[bytes]]]:
    quota = partial(balanced_quota, total=config.sample_sentences, exponent=config.exponent)
    sample = balanced_sample(pa.concat_tables(part.read() for part in bitext), quota)
    sentences = (str(text) for text in sample["text"])
    try:
        vocabulary = train(sentences, config)
    except ValueError as error:
        raise ConfigError(f"vocabulary.size: {error}; ask for another size, or give more bitext") from error
    yield VOCABULARY, [vocabulary.model]
    if vocabulary.finer is not None:
        yield FINER, [vocabulary.finer]
