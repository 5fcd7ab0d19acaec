from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.text.normalisation import clean_text, mojibake_share, sentence_key

NASTY = st.text(
    alphabet="aÅé\u0301\u0338İΣςßǰJ\u030c \t\n\r\x00\x85\u00ad\u200b\u200c\u200d\u2028\ufeffمक्ﬁＡ👨"
    "\u064b\u093c\u0995\u1b05\u1b35\u3099",  # marks of several scripts, Balinese letters
    max_size=12,
)
TEXTS = st.one_of(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20), NASTY)


def clean(text: str) -> str:
    return clean_text(pl.Series([text])).item()


def key(text: str) -> str:
    return sentence_key(pl.Series([text])).item()


@settings(max_examples=150)
@given(TEXTS)
@example("A\u0300\u200c0")
@example("\u1b05\u200d\u1b35\u200d0")
@example("\u0995\u200d\u094d\u3099")
@example("\u0995\u200d\u094d\u200d\u0338")
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "  " not in once
    assert once == once.strip()


@settings(max_examples=150)
@given(TEXTS)
def test_the_key_of_a_key_is_itself(text: str) -> None:
    once = key(text)
    assert key(once) == once


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a\u0301\u200b  b\r\n\r\n c\td ", "á b\nc d"),
        ("soft\u00adhyphen \ufeffbom", "softhyphen bom"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("a\u200cb \u200dc", "ab c"),
        ("می\u200c خواهم", "می خواهم"),
        ("x\x00y\x1bz", "xyz"),
        ("\u202eabc\u202c", "abc"),
        ("e\u200c\u0301", "é"),
        ("line\u2028next\x0bmore", "line\nnext\nmore"),
    ],
)
def test_clean_text(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("one", "other"),
    [("Straße", "STRASSE"), ("ΟΔΟΣ", "οδος"), ("ﬁne", "FINE"), ("Ａ  ｂ", "a b"), ("J\u030c", "ǰ"), ("a\nb ", "A b")],
)
def test_equal_sentences_have_equal_keys(one: str, other: str) -> None:
    assert key(one) == key(other)
    assert key(one) != key(one + "x")


@pytest.mark.parametrize("original", ["café über naïve", "it’s “so”", "привет", "σήμερα", "مرحبا"])
def test_wrongly_decoded_utf8_is_seen(original: str) -> None:
    wrong = original.encode().decode("cp1252", errors="replace")
    shares = mojibake_share(pl.Series([wrong, original]))
    assert shares[0] > 0.1
    assert shares[1] == 0


def test_accented_text_is_not_mojibake() -> None:
    texts = ["São Ñandú À É Â Ã ÃO Ðað Þór Øre Ünal", "Dès qu’à Âge «Ça»", "ÅÄÖ åäö", ""]
    assert mojibake_share(pl.Series(texts)).tolist() == [0, 0, 0, 0]
