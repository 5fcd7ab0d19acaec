from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.batching import LanguageBatches, LengthBatches, length_batches, upsampled
from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext, tokenise
from encoder.checkpoint import pack, pack_model, unpack
from encoder.decoder import DecoderConfig
from encoder.evaluation import retrieval_accuracy
from encoder.inference import unit_rows
from encoder.material import Loader, hard_negatives
from encoder.objectives import Distillation, Stack, Translation, TranslationRanking, ranking
from encoder.registry import load_encoder
from encoder.static import StaticConfig, StaticModel
from encoder.training import Training, TrainingConfig, learning_rate, train
from encoder.transformer import TransformerConfig
from encoder.validation import ValidationConfig, hold_out
from encoder.vocabulary import Vocabulary, VocabularyConfig, train_vocabulary

NOUNS = ("dog", "cat", "house", "river", "stone", "bird", "tree", "child", "king", "ship", "bread", "moon")
VERBS = ("sees", "finds", "takes", "likes", "hears", "wants", "follows", "forgets")
STATIC = TrainingConfig(
    architecture=StaticConfig(dimension=48),
    batches=LanguageBatches(languages=2, pairs=64),
    steps=60,
    learning_rate=0.02,
)
SMALL = BiLstmConfig(layers=1, hidden=48, embedding=32)
STUDENT = TransformerConfig(layers=1, width=48, heads=2, feed_forward=96, dimension=96, pooling="mean", dropout=0)
DECODER = DecoderConfig(hidden=96, embedding=32, language=4, out_embedding=48)
RANKED = TrainingConfig(
    architecture=SMALL, batches=LengthBatches(tokens=600, window=500), steps=50, learning_rate=0.01, token_dropout=0
)
TRANSLATED = RANKED.model_copy(
    update={
        "objectives": (Translation(target_languages=("eng_Latn",), decoder=DECODER),),
        "batches": LengthBatches(tokens=400, window=500),
        "steps": 250,
        "learning_rate": 0.015,
    }
)


ATTENTIVE = RANKED.model_copy(update={"architecture": STUDENT, "learning_rate": 0.003, "steps": 80})


@pytest.mark.parametrize("config", [STATIC, RANKED, ATTENTIVE], ids=["static", "bilstm", "transformer"])
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
    vocabulary = train_vocabulary(english + first + second, VocabularyConfig(size=150))
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
        (RANKED.model_copy(update={"objectives": (Translation(target_languages=("spa_Latn",)),)}), "spa_Latn"),
        (RANKED.model_copy(update={"prefixes": (96,)}), "96 is not shorter"),
        (RANKED.model_copy(update={"objectives": (Distillation(),)}), r"have \d+ numbers, the student's 96"),
    ],
)
def test_impossible_settings_are_a_value_error(
    config: TrainingConfig, message: str, vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    with pytest.raises(ValueError, match=message):
        next(iter(train(config, vocabulary, bitext)))


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [("constant", [0.5, 1, 1, 1]), ("linear", [0.5, 1, 1, 0.5]), ("inverse_sqrt", [0.5, 1, 0.8165, 0.7071])],
)
def test_learning_rate(schedule: str, wanted: list[float]) -> None:
    config = TrainingConfig(steps=4, warmup=2, learning_rate=1, schedule=schedule)
    np.testing.assert_allclose([learning_rate(config, step) for step in range(4)], wanted, atol=1e-4)


def test_lasers_rate_stays_and_then_falls() -> None:
    config = TrainingConfig(steps=4, warmup=2, warmup_rate=1, learning_rate=1, schedule="inverse_sqrt")
    np.testing.assert_allclose([learning_rate(config, step) for step in range(4)], [1, 1, 0.8165, 0.7071], atol=1e-4)


EVERYTHING = RANKED.model_copy(
    update={
        "objectives": (
            TranslationRanking(hard_negatives=2),
            Translation(target_languages=("eng_Latn",), decoder=DECODER),
        ),
        "steps": 6,
        "token_dropout": 0.1,
        "prefixes": (16,),
        "validation": ValidationConfig(pairs=50, every=3, patience=5),
    }
)
HALF = EVERYTHING.model_copy(update={"precision": "bfloat16"})


@pytest.mark.parametrize(
    "config",
    [STATIC.model_copy(update={"steps": 6}), EVERYTHING, HALF, ATTENTIVE.model_copy(update={"steps": 6})],
    ids=["static", "everything", "bfloat16", "transformer"],
)
@pytest.mark.parametrize("portions", [1, 3])
def test_a_resumed_run_is_the_uninterrupted_one(
    config: TrainingConfig, portions: int, vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    parts = in_portions(bitext[0], portions)
    whole = Training(config, vocabulary, parts)
    wanted = [(step.loss, step.validation) for step in whole]
    broken = Training(config, vocabulary, parts)
    seen = []
    for step in broken:
        seen.append((step.loss, step.validation))
        if step.step == 4:
            state = broken.state()
            break
    again = Training(config, vocabulary, parts)
    again.resume(state)
    assert seen + [(step.loss, step.validation) for step in again] == wanted
    assert pack(again.encoder()) == pack(whole.encoder())


def in_portions(bitext: Bitext, portions: int) -> list[Callable[[], list[Bitext]]]:
    def portion(place: int) -> list[Bitext]:
        sides = (list(side)[place::portions][:60] for side in (bitext.sources, bitext.targets))
        return [Bitext(bitext.source_language, bitext.target_language, *sides)]

    return [partial(portion, place) for place in range(portions)]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"\x80\x04N.", lambda _: b""])
def test_a_broken_state_is_refused(
    damage: Callable[[bytes], bytes], vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    training = train(STATIC.model_copy(update={"steps": 1}), vocabulary, bitext)
    state = training.state()
    with pytest.raises(ValueError, match="state of the training cannot be used"):
        training.resume(damage(state))


def test_portions_take_turns(vocabulary: Vocabulary, bitext: list[Bitext]) -> None:
    read = []

    def portion(place: int) -> list[Bitext]:
        read.append(place)
        sentences = list(bitext[0].targets[place * 100 : place * 100 + 100])
        return [Bitext("xaa_Latn", "eng_Latn", sentences, sentences)]

    config = STATIC.model_copy(update={"steps": 5, "batches": LanguageBatches(languages=1, pairs=50)})
    assert len(list(Training(config, vocabulary, [partial(portion, 0), partial(portion, 1)]))) == 5
    assert read[:4] == [0, 1, 0, 1]


@pytest.mark.parametrize("config", [RANKED, ATTENTIVE, TRANSLATED], ids=["bilstm", "transformer", "translation"])
def test_cached_gradients_are_those_of_the_whole_batch(
    config: TrainingConfig, vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    exact = {"dropout": 0.0}
    config = config.model_copy(update={"steps": 3, "architecture": config.architecture.model_copy(update=exact)})
    losses = [
        [step.loss for step in train(config.model_copy(update={"forward_tokens": tokens}), vocabulary, bitext)]
        for tokens in (100_000, 100)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_prefix_of_a_matryoshka_is_trained_to_serve_alone(
    vocabulary: Vocabulary, bitext: list[Bitext], held_out: tuple[list[str], list[str]]
) -> None:
    def loss(prefixes: tuple[int, ...]) -> float:
        training = train(STATIC.model_copy(update={"prefixes": prefixes}), vocabulary, bitext)
        list(training)
        units = np.concatenate([unit_rows(training.encoder().encode(side)[:, :8]) for side in held_out])
        pairs = len(units) // 2
        none = np.empty(0, np.int64)
        return ranking(torch.from_numpy(units), Stack(pairs, (0, pairs), (none, none)), TranslationRanking())[0]

    assert loss((8,)) < loss(()) - 0.1


@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_a_student_comes_into_the_teachers_space(
    loss: str, vocabulary: Vocabulary, bitext: list[Bitext], tmp_path: Path
) -> None:
    teacher = StaticModel.initial(StaticConfig(dimension=96, storage="float32"), vocabulary.size, 5)
    for name, data in pack_model(teacher, vocabulary, 64).items():
        (tmp_path / name).write_bytes(data)
    objective = Distillation(teacher=str(tmp_path), loss=loss, sides="source")
    training = train(RANKED.model_copy(update={"objectives": (objective,), "steps": 150}), vocabulary, bitext)
    list(training)
    english = list(bitext[0].targets[:80])
    wanted = load_encoder(str(tmp_path)).encode(english)
    found = training.encoder().encode(list(bitext[0].sources[:80]))
    assert (wanted * found).sum(1).mean() > 0.7  # of untrained students 0.0
    assert retrieval_accuracy(found, wanted).forward > 0.3


def test_held_out_pairs_are_looked_at_and_training_stops_when_they_say_so(
    vocabulary: Vocabulary, bitext: list[Bitext]
) -> None:
    config = STATIC.model_copy(
        update={"steps": 400, "learning_rate": 0.05, "validation": ValidationConfig(pairs=200, every=5, patience=2)}
    )
    training = train(config, vocabulary, bitext)
    steps = list(training)
    seen = [step.validation for step in steps if step.validation]
    assert [step.step for step in steps if step.validation] == list(range(5, len(steps) + 1, 5))
    assert len(steps) < 400
    assert seen[0].xsim > min(one.xsim for one in seen) == seen[-3].xsim
    assert seen[0].loss > seen[-1].loss


def test_held_out_pairs_are_not_learnt_from(vocabulary: Vocabulary, bitext: list[Bitext]) -> None:
    material = Loader((TranslationRanking(),), vocabulary, 64).load(bitext)
    learnt, held = hold_out(material, ValidationConfig(pairs=100), 1)
    pairs = [set(zip(one.corpus.sources, one.corpus.targets, strict=True)) for one in (learnt, held)]
    assert not pairs[0] & pairs[1]
    assert len(held.corpus) == 100


def test_hard_negatives_are_near_and_wrong(vocabulary: Vocabulary) -> None:
    english = ["the old dog sees a cat", "the old dog sees a cat", "the old dog sees a tree", "a ship likes the moon"]
    bitext = [Bitext("xaa_Latn", "eng_Latn", ["a b", "b c", "c d", "d e"], english)]
    corpus = tokenise(bitext, vocabulary, 64)
    model = StaticModel.initial(StaticConfig(dimension=64), vocabulary.size, 5)
    encoder = unpack(pack_model(model, vocabulary, 64))
    found = hard_negatives(corpus, encoder, 2)
    assert found.shape == (4, 2)
    for own, others in zip(corpus.targets.tolist(), found.tolist(), strict=True):
        assert sorted({*others}) == sorted({*corpus.targets.tolist()} - {own})


def test_the_least_consumed_language_comes_next(vocabulary: Vocabulary, bitext: list[Bitext]) -> None:
    sentences = list(bitext[0].targets)
    parts = [
        Bitext("xaa_Latn", "eng_Latn", sentences[:900], sentences[:900]),
        Bitext("xbb_Latn", "eng_Latn", sentences[900:1200], sentences[900:1200]),
    ]
    corpus = tokenise(parts, vocabulary, 64)
    settings = LengthBatches(tokens=300, order="least_consumed")
    used = np.zeros(2)
    for _, batch in zip(range(200), length_batches(corpus, settings, 1.0, np.random.default_rng(1)), strict=False):
        used[batch.group] += len(batch.rows)
    assert used[0] / used[1] == pytest.approx(3, rel=0.1)
    assert upsampled(corpus.bounds, 0.0).tolist() == [900, 900]
