from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from storage.ids import content_ids
from storage.schemas import check
from tasks.text.language import (
    Guesses,
    Identifier,
    IdentifyConfig,
    SentenceLanguageConfig,
    identify_documents,
    identify_sentences,
    load_identifier,
)

ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised by that."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund, und niemand im Dorf war darüber erstaunt."
CHINESE = "这是一个用简体中文写的句子，我们希望模型能够认出来。"
SERBIAN = "Ово је реченица на српском језику коју модел треба да препозна."


class Recorder:
    """A model that is sure of English for everything, and keeps what it was asked."""

    def __init__(self, probability: float = 1.00001) -> None:
        self.asked: list[str] = []
        self.probability = probability

    def predict(self, text: list[str], k: int) -> tuple[list[list[str]], list[np.ndarray]]:
        self.asked += text
        found = [["__label__en", "__label__de"][:k] for _ in text]
        return found, [np.array([self.probability, 0.2], np.float32) for _ in text]


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return load_identifier()


def test_the_bundled_model_knows_languages_and_scripts(identifier: Identifier) -> None:
    found = identifier.identify([ENGLISH, GERMAN, CHINESE, SERBIAN])
    assert found["label"].to_pylist() == ["eng_Latn", "deu_Latn", "zho_Hans", "srp_Cyrl"]
    assert all(0.5 < confidence <= 1 for confidence in found["confidence"].to_pylist())
    assert all(label not in found["label"].to_pylist()[:1] for label in found["runner_up"].to_pylist()[:1])


@pytest.mark.parametrize(
    "text", ["", "  \n", "12345 !?", "https://example.org/the-english-words", "a@example.org", "#hashtag"]
)
def test_nothing_to_go_by_is_undetermined(identifier: Identifier, text: str) -> None:
    row = identifier.identify([text, ENGLISH]).to_pylist()[0]
    assert row == {"label": "und_Zyyy", "confidence": 0, "runner_up": "und_Zyyy", "runner_up_confidence": 0}


def test_company_changes_nothing(identifier: Identifier) -> None:
    texts = [GERMAN, "", CHINESE, ENGLISH]
    together = identifier.identify(texts).to_pylist()
    assert together == [identifier.identify([text]).to_pylist()[0] for text in texts]
    assert identifier.identify([]).num_rows == 0


def test_newlines_addresses_and_numbers_are_not_asked_about() -> None:
    model = Recorder()
    Identifier(model).identify(["a\nb  c\x00d", "see https://x.org/y?z and www.x.org #tag @name 12 me@x.org now"])
    assert model.asked == ["a b c d", "see and now"]


def test_confidence_is_never_above_one() -> None:
    assert Identifier(Recorder()).identify(["text"])["confidence"].to_pylist() == [1]


def test_a_model_is_loaded_once() -> None:
    assert load_identifier() is load_identifier()


def test_documents_become_the_languages_table(identifier: Identifier) -> None:
    texts = [GERMAN, None, "", SERBIAN]
    documents = pa.table({"doc_id": content_ids("abcd"), "text": pa.array(texts, pa.string())})
    languages = check("languages", identify_documents(documents, identifier, IdentifyConfig()))
    assert languages["language"].to_pylist() == ["deu_Latn", "und_Zyyy", "und_Zyyy", "srp_Cyrl"]
    assert languages["confidence"].to_pylist()[1:3] == [0, 0]
    assert languages["doc_id"].to_pylist() == documents["doc_id"].to_pylist()


def test_only_the_start_of_a_document_is_looked_at() -> None:
    model = Recorder()
    documents = pa.table({"doc_id": content_ids("a"), "text": ["word " * 1000]})
    identify_documents(documents, Identifier(model), IdentifyConfig(max_chars=50))
    assert [len(text) for text in model.asked] == [49]


def test_a_sure_sentence_outweighs_its_document(identifier: Identifier) -> None:
    texts = pl.Series([ENGLISH, GERMAN, "Yes, of course.", "Ja", ""])
    languages, confidences = identify_sentences(texts, ["deu_Latn"] * 5, identifier, SentenceLanguageConfig())
    assert languages.tolist() == ["eng_Latn", "deu_Latn", "deu_Latn", "deu_Latn", "deu_Latn"]
    assert confidences.dtype == np.float32
    assert confidences[0] > 0.9
    assert confidences[2] < 0.5  # the model's probability of German, not of English
    assert confidences[4] == 0


@pytest.mark.parametrize(("letters", "probability", "filed"), [
    (19, 1.0, "fra_Latn"), (20, 0.89, "fra_Latn"), (20, 0.91, "eng_Latn"),
    (59, 0.89, "fra_Latn"), (60, 0.69, "fra_Latn"), (60, 0.71, "eng_Latn"),
])  # fmt: skip
def test_the_threshold_goes_by_length(letters: int, probability: float, filed: str) -> None:
    identifier = Identifier(Recorder(probability))
    [language], [confidence] = identify_sentences(
        pl.Series(["x" * letters]), ["fra_Latn"], identifier, SentenceLanguageConfig()
    )
    assert language == filed
    assert confidence == (pytest.approx(probability) if filed == "eng_Latn" else 0)


def test_confidence_in_a_label_among_the_guesses() -> None:
    guesses = Guesses(np.array([["a", "b"], ["a", "b"]]), np.array([[0.6, 0.3], [0.5, 0.4]], np.float32))
    assert guesses.confidence_in(np.array(["b", "c"])).tolist() == pytest.approx([0.3, 0])
