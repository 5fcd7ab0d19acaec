from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from encoder.batching import LanguageBatches, LengthBatches
from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext
from encoder.checkpoint import pack
from encoder.evaluation import retrieval_accuracy
from encoder.objectives import Translation, TranslationRanking
from encoder.static import StaticConfig
from encoder.training import TrainingConfig, learning_rate, train
from encoder.vocabulary import Vocabulary, VocabularyConfig, train_vocabulary

NOUNS = ("dog", "cat", "house", "river", "stone", "bird", "tree", "child", "king", "ship", "bread", "moon")
VERBS = ("sees", "finds", "takes", "likes", "hears", "wants", "follows", "forgets")
STATIC = TrainingConfig(
    architecture=StaticConfig(dimension=48),
    batches=LanguageBatches(languages=2, pairs=64),
    steps=60,
    learning_rate=0.02,
)
SMALL = BiLstmConfig(
    layers=1, hidden=48, embedding=32, decoder_hidden=96, decoder_out_embedding=48, language_embedding=4
)
RANKED = TrainingConfig(
    architecture=SMALL, batches=LengthBatches(tokens=600, window=500), steps=50, learning_rate=0.01, token_dropout=0
)
TRANSLATED = RANKED.model_copy(
    update={
        "objective": Translation(target_languages=("eng_Latn",)),
        "batches": LengthBatches(tokens=400, window=500),
        "steps": 250,
        "learning_rate": 0.015,
    }
)


@pytest.mark.parametrize("config", [STATIC, RANKED], ids=["static", "bilstm"])
def test_ranking_learns_to_find_translations(
    config: TrainingConfig, vocabulary: Vocabulary, bitext: list[Bitext], held_out: tuple[list[str], list[str]]
) -> None:
    training = train(config, vocabulary, bitext)
    before = retrieval_accuracy(*map(training.encoder().encode, held_out)).mean
    steps = list(training)
    assert np.mean([step.loss for step in steps[-5:]]) < 0.5 * steps[0].loss
    assert [step.step for step in steps] == list(range(1, config.steps + 1))
    assert retrieval_accuracy(*map(training.encoder().encode, held_out)).mean > 0.9 > 0.3 > before


def test_translating_into_one_language_brings_its_sources_together() -> None:
    english = [" ".join(words) for words in product(NOUNS, VERBS, NOUNS)]
    first = [" ".join(word[::-1] + "o" for word in sentence.split()) for sentence in english]
    second = [" ".join("k" + word[1:] + word[0] for word in sentence.split()) for sentence in english]
    vocabulary = Vocabulary(train_vocabulary(english + first + second, VocabularyConfig(size=150)))
    order = np.random.default_rng(1).permutation(len(english))
    seen, unseen = order[100:], order[:100]
    pick = lambda texts, rows: [texts[row] for row in rows]  # noqa: E731
    bitext = [
        Bitext(language, "eng_Latn", pick(texts, seen), pick(english, seen))
        for language, texts in (("xaa_Latn", first), ("xbb_Latn", second))
    ]
    training = train(TRANSLATED, vocabulary, bitext)
    losses = [step.loss for step in training]
    assert np.mean(losses[-5:]) < 0.4 * losses[0]
    vectors = [training.encoder().encode(pick(texts, unseen)) for texts in (first, second)]
    assert retrieval_accuracy(vectors[0], vectors[1]).mean > 0.1  # by chance 0.01


@pytest.mark.parametrize("config", [STATIC, RANKED, TRANSLATED], ids=["static", "ranking", "translation"])
def test_equal_runs_give_equal_bytes_whatever_else_draws_numbers(
    config: TrainingConfig, vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    config = config.model_copy(update={"steps": 3, "token_dropout": 0.1})
    packed = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        training = train(config, vocabulary, bitext)
        losses = [step.loss for step in training]
        assert torch.equal(state, torch.get_rng_state())
        packed.append((losses, pack(training.encoder())))
    assert packed[0] == packed[1]
    other = train(config.model_copy(update={"seed": 9}), vocabulary, bitext)
    assert [step.loss for step in other] != packed[0][0]


def test_the_trained_encoder_is_the_one_that_is_shipped(vocabulary: Vocabulary, bitext: list[Bitext]) -> None:
    training = train(STATIC.model_copy(update={"steps": 2}), vocabulary, bitext)
    list(training)
    assert training.encoder().fingerprint == training.encoder().fingerprint
    assert pack(training.encoder()) == pack(training.encoder())


def test_a_subword_never_seen_says_nothing(vocabulary: Vocabulary) -> None:
    training = train(
        STATIC.model_copy(update={"steps": 2}),
        vocabulary,
        [Bitext("xaa_Latn", "eng_Latn", ["god", "tac"], ["dog", "cat"])],
    )
    list(training)
    vectors = training.encoder().encode(["dog", "k"])
    assert vectors[0].any()
    assert not vectors[1].any()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (STATIC.model_copy(update={"objective": Translation(target_languages=("eng_Latn",))}), "no decoder"),
        (RANKED.model_copy(update={"objective": Translation(target_languages=("spa_Latn",))}), "spa_Latn"),
    ],
)
def test_impossible_settings_are_a_value_error(
    config: TrainingConfig, message: str, vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    with pytest.raises(ValueError, match=message):
        train(config, vocabulary, bitext)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [("constant", [0.5, 1, 1, 1]), ("linear", [0.5, 1, 1, 0.5]), ("inverse_sqrt", [0.5, 1, 0.8165, 0.7071])],
)
def test_learning_rate(schedule: str, wanted: list[float]) -> None:
    config = TrainingConfig(steps=4, warmup=2, learning_rate=1, schedule=schedule, objective=TranslationRanking())
    np.testing.assert_allclose([learning_rate(config, step) for step in range(4)], wanted, atol=1e-4)
