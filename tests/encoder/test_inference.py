from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder.architectures import Model
from encoder.bilstm import BiLstmConfig, BiLstmModel, draw_weights
from encoder.checkpoint import pack_model, unpack
from encoder.inference import Encoder, SentenceEncoder, fingerprint_at, unit_rows
from encoder.static import StaticConfig, StaticModel
from encoder.transformer import TransformerConfig, TransformerModel
from encoder.vocabulary import Vocabulary

MIXED = "The dog собака 狗は קאַץ ہے 🐕‍🦺 \u202eנהפוך\u202c e\u0301te\u0301 \x00 end"
TEXTS = st.lists(
    st.one_of(
        st.text(alphabet="abcdehiknorstuw ", max_size=60),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        st.sampled_from(["", "  ", "the old dog sees a new cat", "the " * 70, MIXED]),
    ),
    min_size=1,
    max_size=20,
)
ENCODERS = [
    ("static", "float32"),
    ("bilstm", "float32"),
    ("bilstm", "int8"),
    ("odd", "bfloat16"),
    ("odd", "float32"),
    ("odd", "int8"),
    ("cls", "float32"),
    ("mean", "float32"),
    ("mean", "bfloat16"),
]
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def model(kind: str, size: int) -> Model:
    """Random weights, of sizes that reach the kernels that large ones use, or of sizes that no vector is."""
    generator = torch.Generator().manual_seed(3)
    if kind == "static":
        return StaticModel.initial(StaticConfig(dimension=200), size, 3)
    if kind in {"bilstm", "odd"}:
        config = BiLstmConfig(layers=2, hidden=33, embedding=17)
        lstm = BiLstmModel(config if kind == "odd" else BiLstmConfig(layers=1, hidden=128, embedding=96), size)
        draw_weights(lstm, generator)
        return lstm
    made = TransformerModel(TransformerConfig(layers=2, width=96, heads=3, feed_forward=200, pooling=kind), size)
    made.draw(generator)
    return made


@pytest.fixture(scope="module", params=ENCODERS, ids="-".join)
def encoder(request: pytest.FixtureRequest, vocabulary: Vocabulary) -> Encoder:
    kind, precision = request.param
    exact = unpack(pack_model(model(kind, vocabulary.size), vocabulary, max_tokens=40))
    try:
        return exact.at(precision, "cpu")
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, seed=st.integers(0, 100), threads=st.sampled_from([1, 2, 3]))
def test_a_vector_depends_on_its_sentence_alone(encoder: Encoder, texts: list[str], seed: int, threads: int) -> None:
    torch.set_num_threads(1)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    order = np.random.default_rng(seed).permutation(len(texts) * 3) % len(texts)
    torch.set_num_threads(threads)
    together = encoder.encode([texts[row] for row in order])
    assert together.tobytes() == alone[order].tobytes()
    assert torch.get_num_threads() == threads


def test_large_batches_give_the_bits_of_small_ones(encoder: Encoder, held_out: tuple[list[str], list[str]]) -> None:
    texts = [*held_out[0], *held_out[1]][:130]
    whole = encoder.encode(texts)
    for size in (3, 40):
        parts = [encoder.encode(texts[begin : begin + size]) for begin in range(0, 40, size)]
        assert np.concatenate(parts)[:40].tobytes() == whole[:40].tobytes()


def test_rows_have_length_one_and_blank_sentences_are_zero(encoder: Encoder) -> None:
    vectors = encoder.encode(["the dog", "", " \t\n", "a cat"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0, 1], atol=1e-6)
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert not encoder.encode(["", " "]).any()


def test_a_sentence_is_cut_after_max_tokens(encoder: Encoder) -> None:
    long, longer = "dog " * 60, "dog " * 60 + "and the cat"
    assert encoder.encode([long]).tobytes() == encoder.encode([longer]).tobytes()
    assert encoder.encode(["dog " * 200_000]).tobytes() == encoder.encode([long]).tobytes()


def test_any_script_has_a_vector(encoder: Encoder) -> None:
    vectors = encoder.encode([MIXED, MIXED * 300, "\u0378", "a" * 10_000])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_low_precision_is_close_to_the_exact_vector(encoder: Encoder, held_out: tuple[list[str], list[str]]) -> None:
    exact, found = encoder.at("float32", "cpu").encode(held_out[0]), encoder.encode(held_out[0])
    assert float((exact * found).sum(1).min()) > (0.999_999 if encoder.precision == "float32" else 0.999)


def test_a_precision_has_a_fingerprint_of_its_own_and_float32_has_none(encoder: Encoder) -> None:
    assert encoder.at("float32", "cpu").fingerprint == encoder.identity
    assert (encoder.fingerprint == encoder.identity) == (encoder.precision == "float32")
    assert fingerprint_at("x", "int8") != fingerprint_at("x", "bfloat16") != fingerprint_at("x", "float32") == "x"


def test_an_encoder_travels_without_what_was_made_ready(encoder: Encoder) -> None:
    encoder.encode(["the dog"])
    copy = pickle.loads(pickle.dumps(encoder))
    assert "_runner" not in vars(copy)
    assert (copy.fingerprint, copy.precision) == (encoder.fingerprint, encoder.precision)
    assert copy.encode(["the dog"]).tobytes() == encoder.encode(["the dog"]).tobytes()


@pytest.mark.parametrize(
    ("kind", "precision", "message"),
    [
        ("static", "bfloat16", "static .* offers float32$"),
        ("bilstm", "float16", "bilstm .* cpu .* offers float32, .*int8$"),
        ("cls", "int8", "transformer .* cpu .* offers float32"),
        ("bilstm", "float64", "float64"),
    ],
)
def test_a_precision_that_is_not_offered_is_refused_by_name(
    vocabulary: Vocabulary, kind: str, precision: str, message: str
) -> None:
    exact = Encoder(model(kind, vocabulary.size), vocabulary, 40, "")
    with pytest.raises(ValueError, match=message):
        exact.at(precision, "cpu")


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(vocabulary: Vocabulary, device: str) -> None:
    exact = Encoder(model("bilstm", vocabulary.size), vocabulary, 40, "")
    with pytest.raises(ValueError, match=f"no device '{device}'"):
        exact.at("float32", device)


@NEEDS_CUDA
@pytest.mark.parametrize("kind", ["bilstm", "cls", "mean"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_the_vectors_of_the_cpu(
    vocabulary: Vocabulary, held_out: tuple[list[str], list[str]], kind: str, precision: str
) -> None:
    exact = Encoder(model(kind, vocabulary.size), vocabulary, 40, "")
    there = exact.at(precision, "cuda")
    texts = [*held_out[0], "", "dog " * 60]
    found, wanted = there.encode(texts), exact.at("float32", "cpu").encode(texts)
    filled = wanted.any(axis=1)
    assert float((found * wanted).sum(1)[filled].min()) > (0.99999 if precision == "float32" else 0.999)
    assert there.encode(texts[:3]).tobytes() == found[:3].tobytes()


def test_an_encoder_is_a_sentence_encoder(encoder: Encoder) -> None:
    assert isinstance(encoder, SentenceEncoder)


def test_unit_rows_leaves_zeros() -> None:
    np.testing.assert_array_equal(
        unit_rows(np.array([[0, 0], [3, 4]], np.float32)), np.array([[0, 0], [0.6, 0.8]], np.float32)
    )
