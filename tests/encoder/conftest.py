from __future__ import annotations

import numpy as np
import pytest
import torch

from encoder.bilstm import BiLstmConfig, BiLstmModel, draw_weights
from encoder.bitext import Bitext
from encoder.checkpoint import pack_model, unpack
from encoder.inference import Encoder
from encoder.static import StaticConfig, StaticModel
from encoder.vocabulary import Vocabulary, VocabularyConfig, train_vocabulary

NOUNS = ("dog", "cat", "house", "river", "stone", "bird", "tree", "child", "king", "ship", "bread", "moon")
VERBS = ("sees", "finds", "takes", "likes", "hears", "wants", "follows", "forgets")
_TRANSLATION = {word: word[::-1] + "o" for word in (*NOUNS, *VERBS, "the", "a", "old", "new")}


def sentences(number: int, seed: int) -> list[str]:
    """Short English-like sentences, no two the same unless chance has it so."""
    chance = np.random.default_rng(seed)
    pick = lambda words: str(chance.choice(words))  # noqa: E731
    return [
        f"the {pick(('old', 'new'))} {pick(NOUNS)} {pick(VERBS)} a {pick(('old', 'new'))} {pick(NOUNS)}"
        for _ in range(number)
    ]


def translated(english: list[str]) -> list[str]:
    """The same in a made-up language with the words turned round and the order kept."""
    return [" ".join(_TRANSLATION[word] for word in sentence.split()) for sentence in english]


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    english = sentences(500, 0)
    return train_vocabulary(english + translated(english), VocabularyConfig(size=120))


@pytest.fixture(scope="session")
def bitext() -> list[Bitext]:
    english = sentences(2000, 1)
    return [Bitext("xaa_Latn", "eng_Latn", translated(english), english)]


@pytest.fixture(scope="session")
def held_out() -> tuple[list[str], list[str]]:
    english = sorted(set(sentences(150, 2)))
    return translated(english), english


@pytest.fixture(scope="session", params=["static", "bilstm"])
def encoder(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> Encoder:
    """An encoder with random weights, of sizes that reach the kernels that large ones use."""
    if request.param == "static":
        model: StaticModel | BiLstmModel = StaticModel.initial(StaticConfig(dimension=200), vocabulary.size, 3)
    else:
        model = BiLstmModel(BiLstmConfig(layers=1, hidden=256, embedding=256), vocabulary.size)
        draw_weights(model, torch.Generator().manual_seed(3))
    return unpack(pack_model(model, vocabulary, max_tokens=40))
