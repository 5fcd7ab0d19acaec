from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder.inference import Encoder, SentenceEncoder, unit_rows

TEXTS = st.lists(
    st.one_of(
        st.text(alphabet="abcdehiknorstuw ", max_size=60),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(["", "  ", "the old dog sees a new cat", "the " * 70]),
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, seed=st.integers(0, 100), threads=st.sampled_from([1, 2, 3]))
def test_a_vector_depends_on_its_sentence_alone(encoder: Encoder, texts: list[str], seed: int, threads: int) -> None:
    torch.set_num_threads(1)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    order = np.random.default_rng(seed).permutation(len(texts) * 3) % len(texts)
    torch.set_num_threads(threads)
    together = encoder.encode([texts[row] for row in order])
    assert together.tobytes() == alone[order].tobytes()


def test_large_batches_give_the_bits_of_small_ones(encoder: Encoder, held_out: tuple[list[str], list[str]]) -> None:
    texts = [*held_out[0], *held_out[1]]
    whole = encoder.encode(texts)
    for size in (1, 7, 64):
        parts = [encoder.encode(texts[begin : begin + size]) for begin in range(0, 100, size)]
        assert np.concatenate(parts)[:100].tobytes() == whole[:100].tobytes()


def test_rows_have_length_one_and_blank_sentences_are_zero(encoder: Encoder) -> None:
    vectors = encoder.encode(["the dog", "", " \t\n", "a cat"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0, 1], atol=1e-6)
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_a_sentence_is_cut_after_max_tokens(encoder: Encoder) -> None:
    long, longer = "dog " * 60, "dog " * 60 + "and the cat"
    assert encoder.encode([long]).tobytes() == encoder.encode([longer]).tobytes()


def test_an_encoder_is_a_sentence_encoder(encoder: Encoder) -> None:
    assert isinstance(encoder, SentenceEncoder)


def test_unit_rows_leaves_zeros() -> None:
    np.testing.assert_array_equal(
        unit_rows(np.array([[0, 0], [3, 4]], np.float32)), np.array([[0, 0], [0.6, 0.8]], np.float32)
    )
