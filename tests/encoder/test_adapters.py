from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from encoder.adapters import EncoderModule, MtebEncoder, SentenceTransformerLike
from encoder.inference import Encoder, SentenceEncoder

TEXTS = ["the old dog sees a new cat", "", "moon"]


def test_vectors_are_the_encoders_in_the_form_asked_for(encoder: Encoder) -> None:
    model, wanted = SentenceTransformerLike(encoder), encoder.encode(TEXTS)
    array = model.encode(TEXTS, batch_size=1, normalize_embeddings=True, show_progress_bar=False)
    tensor = model.encode(TEXTS, convert_to_tensor=True)
    several = model.encode(TEXTS, convert_to_numpy=False)
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    assert isinstance(several, list)
    assert array.tobytes() == tensor.numpy().tobytes() == torch.stack(several).numpy().tobytes() == wanted.tobytes()
    assert model.get_embedding_dimension() == model.get_sentence_embedding_dimension() == encoder.dimension


def test_one_sentence_gives_one_vector(encoder: Encoder) -> None:
    model, wanted = SentenceTransformerLike(encoder), encoder.encode(TEXTS[:1])[0]
    assert np.array_equal(model.encode(TEXTS[0]), wanted)
    assert torch.equal(model.encode_query(TEXTS[0], convert_to_tensor=True), torch.from_numpy(wanted))
    assert np.array_equal(model.encode_document("dog", prompt="the old "), encoder.encode(["the old dog"])[0])


@pytest.mark.parametrize(
    "unlike", [{"precision": "int8"}, {"output_value": "token_embeddings"}, {"truncate_dim": 8}, {"prompt_name": "q"}]
)
def test_other_vectors_than_the_encoders_are_refused(encoder: Encoder, unlike: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(unlike))):
        SentenceTransformerLike(encoder).encode(TEXTS, **unlike)
    with pytest.raises(TypeError, match="no argument speed"):
        SentenceTransformerLike(encoder).encode(TEXTS, speed=1)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, lambda rows: [torch.tensor(row) for row in rows]])
def test_similarities_are_cosines(encoder: Encoder, kind: Any) -> None:
    model = SentenceTransformerLike(encoder)
    x, y = kind([[3.0, 4.0], [0.0, 0.0]]), kind([[4.0, 3.0], [1.0, 0.0]])
    np.testing.assert_allclose(model.similarity(x, y), [[0.96, 0.6], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(x, y), [0.96, 0], atol=1e-6)
    assert model.similarity(x[0], y).shape == (1, 2)


def test_mteb_gets_the_texts_of_all_batches(encoder: Encoder) -> None:
    model = MtebEncoder(encoder, "me/mine")
    batches = [{"text": TEXTS[:2], "id": ["a", "b"]}, {"text": TEXTS[2:]}]
    assert model.encode(batches, hf_split="test", batch_size=2).tobytes() == encoder.encode(TEXTS).tobytes()
    with pytest.raises(ValueError, match="precision"):
        model.encode(batches, precision="int8")


def test_sentence_transformers_search_with_it(encoder: Encoder, held_out: tuple[list[str], list[str]]) -> None:
    util = pytest.importorskip("sentence_transformers").util
    model = SentenceTransformerLike(encoder)
    texts = held_out[1][:20]
    vectors = model.encode(texts, convert_to_tensor=True)
    hits = util.semantic_search(vectors[:5], vectors, top_k=1)
    assert [found[0]["corpus_id"] for found in hits] == [0, 1, 2, 3, 4]
    pairs = util.paraphrase_mining(model, [*texts, texts[7]], show_progress_bar=False)
    assert sorted(pairs[0][1:]) == [7, 20]


def test_it_is_a_module_of_a_sentence_transformer(encoder: Encoder) -> None:
    package = pytest.importorskip("sentence_transformers")
    model = package.SentenceTransformer(modules=[EncoderModule(encoder)], device="cpu")
    texts = [*TEXTS, *(f"the {word}" for word in "abcdefgh")]
    assert model.encode(texts, batch_size=3).tobytes() == encoder.encode(texts).tobytes()
    assert np.array_equal(model.encode("dog", prompt="the old "), encoder.encode(["the old dog"])[0])
    assert model.get_embedding_dimension() == encoder.dimension
    assert model.similarity(model.encode(texts), model.encode(texts)).shape == (11, 11)


class Oracle:
    """Counts letters, and so finds every word that is written backwards."""

    dimension, fingerprint = 26, "0" * 32

    def encode(self, sentences: list[str]) -> np.ndarray:
        letters = np.array([[text.count(chr(97 + place)) for place in range(26)] for text in sentences], np.float32)
        return letters / np.linalg.norm(letters, axis=1, keepdims=True)


# mteb copies the similarities of its own encoders in this way, too
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")
def test_mteb_runs_a_bitext_mining_task_with_it(held_out: tuple[list[str], list[str]]) -> None:
    mteb = pytest.importorskip("mteb")
    import datasets
    from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining

    words = [f"{first} {second}" for first in ("dog", "bird", "moon") for second in ("jumps", "weeps", "hick")]

    class Backwards(AbsTaskBitextMining):
        metadata = mteb.TaskMetadata(
            name="Backwards",
            description="Words and the same turned round.",
            reference=None,
            dataset={"path": "nowhere/backwards", "revision": "1"},
            type="BitextMining",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="f1",
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

        def load_data(self, **_: Any) -> None:
            sides = {"sentence1": words, "sentence2": [text[::-1] for text in words]}
            self.dataset = datasets.DatasetDict({"test": datasets.Dataset.from_dict(sides)})
            self.data_loaded = True

    oracle = Oracle()
    assert isinstance(oracle, SentenceEncoder)
    model = MtebEncoder(oracle, "babelmill/oracle")
    assert isinstance(model, mteb.models.EncoderProtocol)
    found = mteb.evaluate(model, Backwards(), cache=None, co2_tracker=False, show_progress_bar=False)
    assert found.task_results[0].get_score() == 1
    assert (found.model_name, found.model_revision) == ("babelmill/oracle", oracle.fingerprint)
