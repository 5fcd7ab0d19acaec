from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.punctuation import plain

MARKS = st.text(
    alphabet="()  %:;.!?,'`\"„“”–—´‘’‚…«»\u00a0nºCcm019aÉİ\u0663\r\n\t\u200b\u2028\u3000\ue000", max_size=20
)


@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        ("  The Cat ", "the cat"),
        ("word( inside )after", "word (inside) after"),
        ("(so) , 5 % or a : b ;", "(so), 5% or a: b;"),
        ("„Gut“, sagt’s – er…", '"gut," sagt\'s - er...'),
        ("x—y", "x - y"),
        ("''a'' `b´ ‘c’ it‘s", '" a " \'b\' "c" it\'s'),
        ("«\u00a0oui\u00a0» : non\u00a0!", '"oui": non!'),
        ("10\u00a0000 m, 3\u00a0%, 4\u00a0ºC, 5\u00a0cm", "10.000 m, 3%, 4 ºc, 5 cm"),
        ('He said "no".', 'he said "no."'),
        ("a\u200bb\x07c\ud800d\U000e0001e", "a b c d e"),
        ("東京。ÀÉ", "東京。àé"),
    ],
)
def test_marks_become_those_of_ascii(sentence: str, wanted: str) -> None:
    assert plain(sentence) == wanted


@given(st.one_of(st.text(max_size=30), MARKS))
def test_nothing_that_cannot_be_printed_is_left(sentence: str) -> None:
    result = plain(sentence)
    assert not any(unicodedata.category(sign).startswith("C") for sign in result)
    assert result == result.strip()


@given(MARKS)
def test_the_rules_are_those_of_laser_encoders(sentence: str) -> None:
    sacremoses = pytest.importorskip("sacremoses")
    moses = sacremoses.MosesPunctNormalizer("en", perl_parity=True)
    moses.substitutions[21:23] = [("‘", '"'), ("‚", '"')]  # as laser_encoders has it
    printable = "".join(" " if unicodedata.category(sign).startswith("C") else sign for sign in sentence)
    assert plain(sentence) == moses.normalize(printable).lower()
