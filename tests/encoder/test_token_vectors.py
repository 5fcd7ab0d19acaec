from __future__ import annotations

import itertools

import numpy as np
import pytest

from encoder.inference import Encoder, unit_rows
from encoder.registry import load_encoder
from encoder.static import StaticConfig, StaticModel
from encoder.token_vectors import TokenEncoder, token_encoder
from encoder.vocabulary import Vocabulary

SENTENCES = ["the old dog sees a new house", "", "the king finds a bird", "ship"]


@pytest.fixture
def static(vocabulary: Vocabulary) -> Encoder:
    return Encoder(StaticModel.initial(StaticConfig(dimension=24), vocabulary.size, 1), vocabulary, 40, "static")


def test_the_sum_of_the_tokens_is_the_sentence(static: Encoder) -> None:
    values, offsets = token_encoder(static).token_vectors(SENTENCES)
    assert offsets[0] == 0
    assert offsets[2] == offsets[1]
    assert values.shape == (offsets[-1], 24)
    sums = np.stack([values[begin:end].sum(axis=0) for begin, end in itertools.pairwise(offsets)])
    np.testing.assert_allclose(unit_rows(sums.astype(np.float32)), static.encode(SENTENCES), atol=1e-5)


def test_a_sentence_has_the_same_tokens_in_any_company_and_no_more_than_its_vector(static: Encoder) -> None:
    tokens = token_encoder(static)
    values, offsets = tokens.token_vectors(SENTENCES)
    alone, _ = tokens.token_vectors(SENTENCES[2:3])
    assert alone.tobytes() == values[offsets[2] : offsets[3]].tobytes()
    assert list(tokens.token_vectors(["dog " * 100])[1]) == [0, static.max_tokens]


def test_of_two_vocabularies_the_first_cuts() -> None:
    encoder = load_encoder("default")
    assert isinstance(encoder, Encoder)
    assert encoder.vocabulary.finer is not None
    _, offsets = token_encoder(encoder).token_vectors(["The station is by the river."])
    both = encoder.vocabulary.encode(["The station is by the river."])
    coarse = Vocabulary(encoder.vocabulary.model).encode(["The station is by the river."])
    assert list(offsets) == list(coarse.offsets)
    assert len(both.ids) > len(coarse.ids) > 0


def test_who_has_token_vectors_gives_them(static: Encoder) -> None:
    tokens = token_encoder(static)
    assert isinstance(tokens, TokenEncoder)
    assert token_encoder(tokens) is tokens  # type: ignore[arg-type]


def test_who_has_none_is_told(encoder: Encoder) -> None:
    if encoder.model.config.kind == "bilstm":
        with pytest.raises(ValueError, match="of kind bilstm has no token vectors"):
            token_encoder(encoder)
