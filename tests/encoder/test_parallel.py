from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from encoder.batching import LengthBatches
from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext
from encoder.decoder import DecoderConfig
from encoder.objectives import Translation, TranslationRanking
from encoder.parallel import run
from encoder.static import StaticConfig
from encoder.training import Training, TrainingConfig
from encoder.vocabulary import Vocabulary
from encoder.world import World

CONFIG = TrainingConfig(
    architecture=BiLstmConfig(layers=1, hidden=24, embedding=16, dropout=0),
    objectives=(
        TranslationRanking(),
        Translation(
            target_languages=("eng_Latn",), decoder=DecoderConfig(hidden=24, embedding=16, language=4, out_embedding=16)
        ),
    ),
    batches=LengthBatches(tokens=300, window=200),
    steps=4,
    learning_rate=0.01,
)


def losses(
    config: TrainingConfig, vocabulary: Vocabulary, bitext: list[Bitext], device: str, world: World
) -> Iterator[float]:
    for step in Training(config, vocabulary, [partial(list, bitext)], device, world):
        yield step.loss


@pytest.mark.parametrize("tokens", [300, 1])  # 1: a batch is one pair, of which one process has no share
def test_two_processes_learn_what_one_does(tokens: int, vocabulary: Vocabulary, bitext: list[Bitext]) -> None:
    sides = [[str(text) for text in side] for side in (bitext[0].sources, bitext[0].targets)]
    config = CONFIG.model_copy(update={"batches": LengthBatches(tokens=tokens, window=200)})
    work = partial(losses, config, vocabulary, [Bitext("xaa_Latn", "eng_Latn", *sides)])
    assert list(run(work, 2)) == pytest.approx(list(run(work, 1)), rel=1e-4)


def test_a_failure_in_a_process_is_told(vocabulary: Vocabulary) -> None:
    static = CONFIG.model_copy(update={"architecture": StaticConfig(), "objectives": (TranslationRanking(),)})
    with pytest.raises(ValueError, match="a static encoder is trained by one process"):
        list(run(partial(losses, static, vocabulary, []), 2))
