from __future__ import annotations

import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.similarity.document_addresses import LONGEST_URL, neutral_addresses


def address(url, language):
    return neutral_addresses(pl.Series([url], dtype=pl.String), language)["address"][0]


def site(url, language="deu_Latn"):
    return neutral_addresses(pl.Series([url], dtype=pl.String), language)["site"][0]


@pytest.mark.parametrize(
    ("german", "english"),
    [
        ("https://de.example.org/a", "https://en.example.org/a"),
        ("https://www.example.org/de/a", "http://example.org/a/"),
        ("https://example.org/de-AT/a", "https://example.org/en_us/a"),
        ("https://example.org/a/de", "https://example.org/a/en"),
        ("https://example.org/deu/german/a", "https://example.org/eng/English/a"),
        ("https://example.org/a_de.html", "https://example.org/a_en.html"),
        ("https://example.org/a.html.de", "https://example.org/a.html.en"),
        ("https://example.org/a-de-ch.pdf", "https://example.org/a.pdf"),
        ("https://example.org/a?x=1&lang=de", "https://example.org/a?hl=en-GB&x=1"),
        ("https://example.org:8080/de/a?b=2&a=1#top", "https://user@EXAMPLE.org.:8080/en/a?a=1&b=2"),
        ("//example.org/de?lang=de", "https://example.org:443"),
    ],
)
def test_addresses_that_differ_in_the_language_alone_become_equal(german, english):
    assert address(german, "deu_Latn") == address(english, "eng_Latn") is not None


@pytest.mark.parametrize(
    ("german", "english"),
    [
        ("https://example.de/a", "https://example.com/a"),
        ("https://example.org/de/a", "https://example.org/en/b"),
        ("https://example.org/defacto/a", "https://example.org/a"),
        ("https://de.co.uk/a", "https://en.co.uk/a"),
        ("https://de.org/a", "https://en.org/a"),
        ("https://example.org/a?x=de", "https://example.org/a?x=en"),
        ("https://example.org:81/a", "https://example.org:82/a"),
        ("https://example.org/fr/a", "https://example.org/en/a"),
    ],
)
def test_addresses_that_differ_otherwise_stay_different(german, english):
    assert address(german, "deu_Latn") != address(english, "eng_Latn")


def test_only_the_language_of_the_page_is_taken_out():
    assert address("https://example.org/de/a", "eng_Latn") != address("https://example.org/a", "eng_Latn")
    assert address("https://example.org/zh-hans/a", "zho_Hans") == address("https://example.org/cn/a", "zho_Hans")
    assert address("https://example.org/no/a", "nob_Latn") == address("https://example.org/nb-NO/a", "nob_Latn")


def test_the_site_is_the_host_without_its_language():
    assert site("https://www.Example.org/de/a") == "example.org"
    assert site("https://de.example.org:8443/a") == "example.org:8443"
    assert site("https://de.co.uk/a") == "de.co.uk"


@pytest.mark.parametrize(
    "url", [None, "", "example.org/de", "ftp://example.org/a", "https:///a", "https://[::1]/", "mailto:a@b.org"]
)
def test_what_is_no_web_address_has_none(url):
    assert address(url, "deu_Latn") is None
    assert site(url) is None


def test_hostile_addresses_cost_little():
    nested = [
        "/de" * 600,
        "/de-de" * 300,
        "?lang=de" + "&lang=de" * 200,
        "/" * 2000,
        "." * 2000,
        "-de" * 600,
        "&" * 2000,
    ]
    urls = pl.Series([f"https://example.org{rest}"[:LONGEST_URL] for rest in nested] * 200)
    begun = time.process_time()
    found = neutral_addresses(urls, "deu_Latn")
    assert time.process_time() - begun < 5
    assert found["site"].null_count() == 0 or set(found["site"].drop_nulls()) == {"example.org"}
    longer = neutral_addresses(pl.Series(["https://example.org/" + "a" * LONGEST_URL]), "deu_Latn")
    assert longer.null_count().row(0) == (1, 1)


@given(st.text(max_size=200))
def test_any_text_has_an_address_or_none(text):
    for url in (text, f"https://example.org/{text}", f"https://{text}/a"):
        found = neutral_addresses(pl.Series([url]), "deu_Latn").row(0)
        assert (found[0] is None) == (found[1] is None)
        assert found[1] is None or found[1].startswith(found[0])


@given(st.lists(st.sampled_from(["de", "en", "a", "b.html", "a_de", "x-de.html", "de-at"]), max_size=5))
def test_taking_the_language_out_twice_is_taking_it_out_once(parts):
    once = address("https://de.example.org/" + "/".join(parts), "deu_Latn")
    assert address(f"https://{once}", "deu_Latn") == once or "_de" in once or "-de" in once
