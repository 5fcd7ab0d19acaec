from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import sentencepiece
import torch
from torch import nn

from encoder.inference import Encoder
from encoder.laser2 import Laser2Vocabulary, read_laser2
from encoder.punctuation import plain
from encoder.registry import load_encoder
from encoder.vocabulary import PAD, UNKNOWN

ENGLISH = "Some birds build their nests high above the river , while others hide them well between old stones ."
SENTENCES = [
    "Some birds — “old” ones — build nests.",
    "a",
    "ZEBRA ʘ quiz ʘ",
    "The river\u200bhides\tthem.",
    "stones " * 9,
    "日本 語ʘʘ",
    ENGLISH,
]


def subwords() -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([ENGLISH.lower()] * 20),
        model_writer=model,
        vocab_size=60,
        model_type="unigram",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


SUBWORDS = subwords()


def dictionary() -> dict[str, int]:
    """Numbers in another order than SentencePiece's, without some of its pieces, with a word that it does not know."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=SUBWORDS)
    pieces = sorted(map(processor.id_to_piece, range(3, processor.get_piece_size())))
    words = ["<s>", "<pad>", "</s>", "<unk>", *pieces[:-4], "ʘ"]
    return {word: number for number, word in enumerate(words)}


class Published(nn.Module):
    """LASER2's encoder as Meta describes it: embeddings, a packed LSTM, the maximum over time."""

    def __init__(self, layers: int, hidden: int, embedding: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(len(dictionary()), embedding, padding_idx=1)
        self.lstm = nn.LSTM(embedding, hidden, layers, bidirectional=True)
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.1, 0.1)
        self.eval()

    @torch.inference_mode()
    def vectors(self, sentences: list[str]) -> np.ndarray:
        processor = sentencepiece.SentencePieceProcessor(model_proto=SUBWORDS)
        rows = [" ".join(processor.encode(plain(sentence), out_type=str)).split() for sentence in sentences]
        numbers = [torch.tensor([*(dictionary().get(word, 3) for word in row), 2]) for row in rows]
        embedded = [self.embed_tokens(row) for row in numbers]
        packed = nn.utils.rnn.pack_sequence(embedded, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], padding_value=-torch.inf)
        return states.amax(0).numpy()


def published(layers: int = 1, hidden: int = 12, embedding: int = 10) -> Published:
    torch.manual_seed(layers)
    return Published(layers, hidden, embedding)


def checkpoint(made: Published, **changes: Any) -> bytes:
    params = {
        "num_embeddings": made.embed_tokens.num_embeddings,
        "padding_idx": 1,
        "embed_dim": made.embed_tokens.embedding_dim,
        "hidden_size": made.lstm.hidden_size,
        "num_layers": made.lstm.num_layers,
        "bidirectional": True,
        "left_pad": True,
        "padding_value": 0.0,
    }
    parts = {"params": params, "model": made.state_dict(), "dictionary": dictionary()}
    content = io.BytesIO()
    torch.save(parts | changes, content)
    return content.getvalue()


@pytest.fixture(scope="module")
def laser2() -> Encoder:
    return read_laser2(checkpoint(published()), SUBWORDS)


@pytest.mark.parametrize("shape", [(1, 8, 6), (3, 40, 20)])
def test_vectors_are_those_of_the_published_model(shape: tuple[int, int, int]) -> None:
    model = published(*shape)
    assert_equal(read_laser2(checkpoint(model), SUBWORDS), model.vectors(SENTENCES), SENTENCES)


def test_the_published_size_is_no_less_exact() -> None:
    model, short = published(5, 512, 320), ["a bird", "Old stones…"]
    ours = read_laser2(checkpoint(model), SUBWORDS)
    np.testing.assert_allclose(ours.encode(short), units(model.vectors(short)), rtol=0, atol=1e-5)


def assert_equal(ours: Encoder, wanted: np.ndarray, sentences: list[str]) -> None:
    np.testing.assert_allclose(ours.model.embed(ours.vocabulary.encode(sentences)), wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.encode(sentences), units(wanted), rtol=0, atol=1e-5)


def units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_vectors_are_those_of_laser_encoders(tmp_path: Path) -> None:
    models = pytest.importorskip("laser_encoders.models", exc_type=ImportError)
    (tmp_path / "laser2.pt").write_bytes(checkpoint(published()))
    (tmp_path / "laser2.spm").write_bytes(SUBWORDS)
    theirs = models.SentenceEncoder(
        str(tmp_path / "laser2.pt"), max_tokens=12_000, spm_model=str(tmp_path / "laser2.spm"), cpu=True
    )
    assert_equal(load_encoder(f"laser2:{tmp_path}"), theirs(SENTENCES), SENTENCES)


def test_words_that_only_the_dictionary_knows_are_not_unknown(laser2: Encoder) -> None:
    known, unknown = laser2.vocabulary.encode(["ʘ", "語"]).take(np.array([0]), 9), laser2.vocabulary.encode(["語"])
    assert dictionary()["ʘ"] in known.ids
    assert dictionary()["ʘ"] not in unknown.ids
    assert UNKNOWN in unknown.ids
    assert PAD not in unknown.ids


def test_a_vector_depends_on_its_sentence_alone(laser2: Encoder) -> None:
    alone = np.concatenate([laser2.encode([sentence]) for sentence in SENTENCES])
    assert laser2.encode(SENTENCES[::-1] * 3)[: len(SENTENCES)].tobytes() == alone[::-1].tobytes()


def test_blank_and_endless_sentences(laser2: Encoder) -> None:
    vectors = laser2.encode(["", " \u200b", "stones " * 5000, "stones " * 5001])
    assert not vectors[:2].any()
    assert vectors[2].tobytes() == vectors[3].tobytes()
    assert laser2.encode([]).shape == (0, laser2.dimension)


def test_the_fingerprint_is_of_what_the_files_hold_and_of_the_precision(laser2: Encoder) -> None:
    content = checkpoint(published())
    assert read_laser2(content, SUBWORDS).fingerprint == laser2.fingerprint
    others = {read_laser2(checkpoint(published(3)), SUBWORDS).fingerprint, laser2.at("int8", "cpu").fingerprint}
    assert len(others | {laser2.fingerprint}) == 3


def test_it_travels_to_other_processes(laser2: Encoder) -> None:
    words = pickle.loads(pickle.dumps(laser2.vocabulary))
    assert isinstance(words, Laser2Vocabulary)
    assert words.size == laser2.model.size
    assert words.encode(SENTENCES).ids.tobytes() == laser2.vocabulary.encode(SENTENCES).ids.tobytes()


def test_it_is_loaded_by_name_from_a_folder_a_file_and_a_url(laser2: Encoder, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name, data in (("pt", checkpoint(published())), ("spm", SUBWORDS)):
        (tmp_path / f"laser2.{name}").write_bytes(data)
        memory.pipe(f"/{tmp_path.name}/other.{name}", data)
    for place in (str(tmp_path), f"{tmp_path}/laser2.pt", f"memory://{tmp_path.name}/other.pt"):
        assert load_encoder(f"laser2:{place}").fingerprint == laser2.fingerprint
    (tmp_path / "laser2.spm").unlink()
    with pytest.raises(ValueError, match=r"encoder 'laser2:.*there is no .*laser2\.spm"):
        load_encoder(f"laser2:{tmp_path}")


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    for place in ("dictionary", "model", "other"):
        with pytest.raises(ValueError, match="plain values alone"):
            read_laser2(checkpoint(published(), **{place: Attack(trace)}), SUBWORDS)
    with pytest.raises(ValueError, match="plain values alone"):
        read_laser2(pickle.dumps(Attack(trace), protocol=2), SUBWORDS)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "cut short"),
        (lambda _: b"", "cut short"),
        (lambda _: checkpoint(published(), params={"num_layers": 1}), "not bidirectional"),
        (lambda _: checkpoint(published(), params=None), "LASER3"),
        (lambda _: checkpoint(published(), model={"embed_tokens.weight": torch.zeros(80, 10)}), "lacks"),
        (lambda _: checkpoint(published(), model={"embed_tokens.weight": 1}), "other things than tensors"),
        (lambda _: checkpoint(published(), dictionary={"a": "b"}), "does not give numbers"),
        (lambda _: checkpoint(published(), dictionary={"a": 10**6}), "numbers up to 1000000"),
        (lambda _: checkpoint(published(), dictionary={"a": -1}), "numbers up to"),
    ],
)
def test_broken_checkpoints_are_value_errors(broken: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_laser2(broken(checkpoint(published())), SUBWORDS)


def test_weights_of_other_shapes_and_broken_subwords_are_value_errors() -> None:
    model = published()
    weights = model.state_dict() | {"lstm.weight_hh_l0": torch.zeros(3, 3)}
    with pytest.raises(ValueError, match="shapes"):
        read_laser2(checkpoint(model, model=weights), SUBWORDS)
    with pytest.raises(ValueError, match="not a SentencePiece model"):
        read_laser2(checkpoint(model), SUBWORDS[:50])
