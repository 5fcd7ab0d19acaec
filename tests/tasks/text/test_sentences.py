from __future__ import annotations

import pyarrow as pa
import pytest

from storage.ids import content_id, content_ids
from storage.schemas import check, schema_of
from tasks.text.language import Identifier, load_identifier
from tasks.text.sentences import SentenceConfig, SentenceTables, document_sentences

GERMAN = "Der alte Leuchtturm steht seit mehr als hundert Jahren auf der kleinen Insel. Nein! Er ist rot und weiß gestrichen."
ENGLISH = "The lighthouse keeper wrote a long letter to his sister every single week of the winter."
JAPANESE = "灯台は小さな島に百年以上立っています。赤と白に塗られています。"


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return load_identifier()


def kept(*documents: tuple[str, str]) -> pa.Table:
    languages, texts = zip(*documents, strict=True) if documents else ((), ())
    rows = len(texts)
    columns = {
        "doc_id": content_ids(map(str, range(rows))),
        "language": languages,
        "confidence": [0.9] * rows,
        "url": ["u"] * rows,
        "alternates": [None] * rows,
        "title": ["t"] * rows,
        "text": texts,
    }
    return pa.table(columns, schema=schema_of("kept_documents"))


def split(identifier: Identifier, *documents: tuple[str, str], **settings: float) -> SentenceTables:
    return document_sentences(kept(*documents), identifier, SentenceConfig.model_validate(settings))


def test_sentences_are_filed_by_language(identifier: Identifier) -> None:
    found = split(identifier, ("deu_Latn", f"{GERMAN}\n{ENGLISH}"), ("jpn_Jpan", JAPANESE))
    assert list(found.tables) == ["deu_Latn", "eng_Latn", "jpn_Jpan"]
    assert all(check("sentences", table) for table in found.tables.values())
    german, english, japanese = found.tables.values()
    assert german["position"].to_pylist() == [0, 2]
    assert english["position"].to_pylist() == [3]
    assert english["text"].to_pylist() == [ENGLISH]
    assert japanese["text"].to_pylist() == ["灯台は小さな島に百年以上立っています。", "赤と白に塗られています。"]
    assert japanese["doc_id"].to_pylist() == [content_id("1")] * 2
    assert found.dropped == {"too_short": 1}


def test_the_id_is_of_language_and_key(identifier: Identifier) -> None:
    table = split(identifier, ("eng_Latn", f"{ENGLISH}\n{ENGLISH.upper()}")).tables["eng_Latn"]
    assert table["sentence_id"].to_pylist() == [content_id("eng_Latn", ENGLISH.lower())] * 2


def test_documents_do_not_depend_on_their_company(identifier: Identifier) -> None:
    documents = [
        ("deu_Latn", GERMAN),
        ("eng_Latn", ENGLISH),
        ("jpn_Jpan", JAPANESE),
        ("deu_Latn", f"{ENGLISH} {GERMAN}"),
    ]
    together = split(identifier, *documents)
    for label, table in together.tables.items():
        rows = [row | {"doc_id": b""} for row in table.to_pylist()]
        alone = (split(identifier, document).tables.get(label) for document in documents)
        assert rows == [row | {"doc_id": b""} for part in alone if part is not None for row in part.to_pylist()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Too few.", "too_short"),
        ("word " * 120 + "end.", "too_long"),
        ("1234 --- 5678 --- 91011", "no_letters"),
        ("Home | Help >> News >> (Shop) [Login] ***", "punctuation"),
        ("Tel 12345 Fax 67890 and room 11", "digits"),
        ("oneverylongwordwithoutanyspaces.", "spaces"),
        ("a b c d e f g h i j k l m n", "spaces"),
        ("This is " + "so" + "o" * 25 + " good that I laughed a lot.", "repeated_character"),
        ("The cafÃ© is closed on Sundays and on Mondays.", "mojibake"),
        ("Привет, как дела у вас?", "script"),
    ],
)
def test_reasons(identifier: Identifier, text: str, reason: str) -> None:
    found = split(identifier, ("eng_Latn", text))
    assert found.tables == {}
    assert found.dropped == {reason: 1}


@pytest.mark.parametrize(
    ("label", "text"), [("zho_Hans", "我走了。"), ("tha_Thai", "ผมไปตลาดเมื่อวานนี้"), ("kor_Hang", "안녕하세요 여러분.")]
)
def test_dense_scripts_may_be_short_and_need_no_spaces(identifier: Identifier, label: str, text: str) -> None:
    found = split(identifier, (label, text))
    assert [table["text"].to_pylist() for table in found.tables.values()] == [[text]]


def test_limits_are_settings(identifier: Identifier) -> None:
    assert split(identifier, ("eng_Latn", "Too few."), min_chars=3).dropped == {}


def test_undetermined_sentences_are_dropped(identifier: Identifier) -> None:
    assert split(identifier, ("und_Zyyy", "Hello my friends.")).dropped == {"script": 1}


def test_personal_data_is_marked_in_the_cleaned_text(identifier: Identifier) -> None:
    text = "Please  write to the keeper at\u200b keeper@example.org before the end of the month."
    [row] = split(identifier, ("eng_Latn", text)).tables["eng_Latn"].to_pylist()
    [span] = row["pii"]
    assert row["text"][span["start"] : span["end"]] == "keeper@example.org"


def test_nothing_in_is_nothing_out(identifier: Identifier) -> None:
    assert split(identifier) == SentenceTables({}, {})
    assert split(identifier, ("eng_Latn", "")) == SentenceTables({}, {})
