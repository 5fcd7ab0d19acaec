from __future__ import annotations

import pickle
from time import perf_counter

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import check, empty, schema_of
from tasks.text.removals import (
    Removals,
    matches,
    matches_by_kind,
    normal_urls,
    personal_digest,
    text_digest,
    withhold,
)


def documents_of(*rows):
    """A table of the `documents` schema; what a row does not say is null, its doc_id is its number."""
    full = [{"doc_id": number.to_bytes(16), "crawl": "c", **row} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=schema_of("documents"))


def named(removals, *rows):
    return matches(documents_of(*rows), removals).to_pylist()


def urls_named(removals, *urls):
    return named(removals, *({"url": url} for url in urls))


def doc(number):
    return number.to_bytes(16).hex()


ADDRESSES = ["http://a.org/", "https://a.org/x?y", "http://b.a.org:8080/", "c.org/z", "nonsense", "http://[", ""]
TEXTS = ["Some text.", "Write to Me@b.org or you@c.org.", "Call +44 (0)20 7946 0958.", "At 8.8.8.8, me@b.org", ""]
PERSONS = ["me@B.org", "+442079460958", "8.8.8.8"]
REMOVALS = st.builds(
    Removals,
    documents=st.lists(st.integers(0, 5).map(doc), max_size=2),
    urls=st.lists(st.sampled_from(ADDRESSES[:3]), max_size=2),
    hosts=st.lists(st.sampled_from(["a.org", "b.a.org", "c.org"]), max_size=1),
    texts=st.lists(st.sampled_from(TEXTS).map(text_digest), max_size=1),
    personal=st.lists(st.sampled_from(PERSONS).map(personal_digest), max_size=2),
)
ROWS = st.fixed_dictionaries(
    {
        "url": st.none() | st.sampled_from(ADDRESSES),
        "title": st.none() | st.sampled_from(["A title", "Mail you@c.org"]),
        "html_lang": st.none() | st.just("en"),
        "alternates": st.none() | st.just(["https://a.org/de"]),
        "text": st.none() | st.sampled_from(TEXTS),
        "offset": st.integers(0, 9),
    }
).map(lambda row: row | {"reason": "empty" if row["text"] is None else None})
TABLES = st.lists(ROWS, max_size=6).map(lambda rows: documents_of(*rows))


@settings(max_examples=60)
@given(TABLES, REMOVALS, REMOVALS)
def test_withholding_two_sets_is_withholding_their_union(documents, one, other):
    assert withhold(withhold(documents, one), other).equals(withhold(documents, one | other), check_metadata=True)


@settings(max_examples=60)
@given(TABLES, REMOVALS)
def test_only_what_is_named_changes_and_only_once(documents, removals):
    after = check("documents", withhold(documents, removals))
    assert withhold(after, removals).equals(after)
    assert withhold(documents, Removals()) is documents
    gone = {"title": None, "html_lang": None, "alternates": None, "text": None, "reason": "withheld"}
    hit = matches(documents, removals).to_pylist()
    expected = [row | (gone if is_named else {}) for row, is_named in zip(documents.to_pylist(), hit, strict=True)]
    assert after.to_pylist() == expected
    assert any(hit) or after is documents


@settings(max_examples=60)
@given(TABLES, REMOVALS, st.integers(0, 6))
def test_rows_do_not_depend_on_each_other(documents, removals, cut):
    chunks = [documents.slice(0, cut), documents.slice(cut)]
    parts = [matches(part, removals).to_pylist() for part in chunks]
    assert parts[0] + parts[1] == matches(documents, removals).to_pylist()
    assert matches(pa.concat_tables(chunks), removals).to_pylist() == parts[0] + parts[1]


@settings(max_examples=60)
@given(TABLES, REMOVALS)
def test_the_kinds_together_are_what_is_named(documents, removals):
    kinds = matches_by_kind(documents, removals)
    assert set(kinds) == {kind for kind in Removals.model_fields if getattr(removals, kind)}
    together = np.logical_or.reduce([np.zeros(documents.num_rows, bool), *kinds.values()])
    assert together.tolist() == matches(documents, removals).to_pylist()


@settings(max_examples=40)
@given(REMOVALS, REMOVALS, REMOVALS)
def test_removals_are_sets(a, b, c):
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a == a | Removals()
    assert (a | b) - b <= a <= a | b
    assert (a - b) | (a - (a - b)) == a
    assert not a - a
    assert (a <= b) == (a | b == b)
    assert bool(a) == (a != Removals())
    assert Removals(**{kind: list(reversed(values)) * 2 for kind, values in a.model_dump().items()}) == a
    assert Removals.model_validate_json(a.model_dump_json()) == pickle.loads(pickle.dumps(a)) == a


def test_addresses_are_compared_in_one_form():
    removals = Removals(urls=[" HTTP://Example.ORG:80#top ", "https://u:P@b.org:8443?Q", "http://M\u00fcnchen.de/A"])
    assert removals.urls == ["http://example.org/", "http://xn--mnchen-3ya.de/A", "https://u:P@b.org:8443/?Q"]
    assert (
        urls_named(
            removals,
            "http://example.org",
            "http://EXAMPLE.org./#x\ny",
            "http://xn--mnchen-3ya.DE:80/A",
            "https://u:P@b.org:8443/?Q",
        )
        == [True] * 4
    )
    assert urls_named(
        removals, "https://example.org/", "http://example.org/#/a?b", "http://example.org/?", "http://example.org:81/",
        "http://m\u00fcnchen.de/a", "https://u:p@b.org:8443/?Q", "https://b.org:8443/?Q", None,
    ) == [False, True] + [False] * 6  # fmt: skip


ODD = "aZ\u00fc\u0130\u03a3\uff1a\uff0f\u3002\uff0e\u2026 \n:/?#@[]\\.-80%"


@given(st.text(ODD, max_size=12).flatmap(lambda rest: st.sampled_from([rest, f"//{rest}", f"hTTp://{rest}"])))
def test_the_form_of_an_address_is_its_own(url):
    once = normal_urls(pl.Series([url]))
    assert normal_urls(once).to_list() == once.to_list()
    documents = documents_of({"url": url})
    assert matches(documents, Removals(hosts=["a.org"], urls=["http://a.org"])).to_pylist() == [False]


def test_hosts_stand_for_their_subdomains():
    removals = Removals(hosts=["Example.ORG.", "a.b.co.uk", "b\u00fccher.de", "1.2.3.4"])
    assert removals.hosts == ["1.2.3.4", "a.b.co.uk", "example.org", "xn--bcher-kva.de"]
    urls = [
        "http://example.org", "https://www.example.org:81/x", "//u@x.EXAMPLE.org?y", "example.org/x//y", "example.org.",
        "http://a.b.co.uk/", "http://c.a.b.co.uk/", "http://www.B\u00fccher.de/", "ftp://1.2.3.4/x",
        "http://www.example.org#@other.net",
    ]  # fmt: skip
    assert urls_named(removals, *urls) == [True] * len(urls)
    others = [
        "http://anexample.org/", "http://example.org.net/", "http://b.co.uk/", "http://org/", "http://example.com/example.org",
        "http://example.com?http://example.org", "http://example.org@example.com/", "http://[::1]/", "http://[", "http://",
        "http://example.org:x/", "example", "", None,
    ]  # fmt: skip
    assert urls_named(removals, *others) == [False] * len(others)


def test_texts_and_persons():
    personal = [personal_digest(value) for value in ("Jane.Doe@Example.org ", "+44 (0)20 7946 0958", "8.8.8.8")]
    removals = Removals(texts=[text_digest("The whole text.")], personal=personal)
    texts = [
        "The whole text.", "the whole text.", "The whole text. ", "Ask jane.doe@EXAMPLE.org!", "xjane.doe@example.org",
        "Tel. +442079460958 today", "Tel. +44 20 7946 0959", "IP 8.8.8.8", "IP 8.8.4.4", "jane doe at example.org", None,
    ]  # fmt: skip
    assert named(removals, *({"text": text} for text in texts)) == [
        True, False, False, True, False, True, False, True, False, False, False,
    ]  # fmt: skip
    assert named(removals, {"title": "jane.doe@example.org", "reason": "empty"}) == [True]
    assert len({*personal, *removals.texts, text_digest("8.8.8.8")}) == 5


@pytest.mark.parametrize(
    "phone", ["+44 20 7946 0958", "+442079460958", "+44 (0)20 7946-0958", "+44.20.7946.0958", "44 20\u00a07946 0958"]
)
def test_a_phone_number_is_its_digits(phone):
    assert personal_digest(phone) == personal_digest("+44 20 79460958")
    assert personal_digest(phone) != personal_digest("020 7946 0958")


@pytest.mark.parametrize("value", ["", "Jane Doe", "12345", "1234567890123456", "1234567 x", "example.org"])
def test_what_is_no_personal_datum_has_no_digest(value):
    with pytest.raises(ValueError, match="no e-mail address, IPv4 address or phone number"):
        personal_digest(value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"documents": ["abc"]}, "'abc' is not 32 hexadecimal digits"),
        ({"texts": ["g" * 32]}, "is not 32 hexadecimal digits"),
        ({"personal": ["me@b.org"]}, "'me@b.org' is not 32 hexadecimal digits"),
        ({"urls": ["example.org/page"]}, "'example.org/page' is not an address such as https://"),
        ({"urls": [""]}, "'' is not an address"),
        ({"hosts": ["http://example.org"]}, "'http://example.org' is not a host such as example.org, without scheme"),
        ({"hosts": ["*.example.org"]}, "asterisk"),
        ({"hosts": ["org"]}, "'org' is not a host"),
        ({"hosts": ["a..org"]}, "is not a host"),
        ({"hosts": ["a.org:80"]}, "without scheme, port"),
        ({"hosts": [f"{'a' * 64}.org"]}, "is not a host"),
        ({"people": []}, "Extra inputs"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(wrong, message):
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        Removals(**wrong)


def test_entries_are_sorted_distinct_and_in_small_letters():
    removals = Removals(documents=["F" * 32, f" {'0' * 32}", "f" * 32])
    assert removals.documents == ["0" * 32, "f" * 32]


def test_no_rows_and_no_chunks():
    everything = Removals(
        documents=[doc(1)],
        urls=["http://a.org"],
        hosts=["a.org"],
        texts=[text_digest("")],
        personal=[personal_digest("8.8.8.8")],
    )
    assert matches(empty("documents"), everything).equals(pa.array([], pa.bool_()))
    assert withhold(empty("documents"), everything).equals(empty("documents"))


def test_hostile_addresses_take_no_time():
    letters = "".join(chr(0x4E00 + number) for number in range(8000))
    urls = [
        f"http://{'a.' * 4000}org/",
        f"http://{letters}.org/",
        f"http://{'@' * 8000}",
        f"//{':' * 8000}",
        "http://" + "[" * 8000,
    ]
    started = perf_counter()
    assert (
        urls_named(Removals(hosts=["b.a.org", ".".join("a" * 100)], urls=["http://a.org"]), *urls * 10) == [False] * 50
    )
    assert perf_counter() - started < 2
