"""Pages, honest and hostile, and the text that comes out of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.text.html import MAX_ALTERNATES, clean, decode, extract_html, tame, tidy_text

PARAGRAPHS = [
    "The river rises in the mountains and runs slowly through the old town before it meets the sea.",
    "Every spring the water floods the lower meadows, and the farmers move their animals to the hills.",
]
PAGE = """<html lang="en-GB"><head><title>
 The   river </title><script>var a = "<p>script</p>";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/b">Boats</a></li></ul></nav>
<div id="cookie-banner"><p>We use cookies to improve your experience on this site.</p><button>Accept</button></div>
<article><h1>Floods</h1><p>{}</p><p>{}</p><img alt="alternative" src="x"></article>
<form><label>Search</label><input value="typed"><textarea>area</textarea></form>
<div class="comments"><p>A reader wrote this.</p></div>
<footer>Copyright 2020 Imprint</footer></body></html>""".format(*PARAGRAPHS)


@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
def test_only_the_page_itself_is_extracted(extractor: str) -> None:
    page = extract_html(PAGE.encode(), extractor=extractor)
    assert (page.title, page.html_lang, page.reason) == ("The river", "en-GB", None)
    lines = page.text.split("\n")
    assert [line for line in lines if line in PARAGRAPHS] == PARAGRAPHS
    for other in ("Home", "cookies", "Accept", "Copyright", "script", "alternative", "typed", "reader"):
        assert other not in page.text


def test_lists_have_no_bullets() -> None:
    items = "".join(f"<li>{text}</li>" for text in PARAGRAPHS)
    page = f'<body><div id="content"><p>Rivers and meadows.</p><ol>{items}</ol><p>The end.</p></div></body>'
    assert extract_html(page.encode()).text.split("\n") == ["Rivers and meadows.", *PARAGRAPHS, "The end."]


def test_a_class_of_the_body_does_not_hide_the_page() -> None:
    page = PAGE.replace("<body>", '<body class="has-cookie-consent">')
    assert PARAGRAPHS[0] in extract_html(page.encode()).text


@pytest.mark.parametrize(
    ("language", "expected"),
    [("de", "de"), ("pt-BR", "pt-BR"), ("zh_TW", "zh_TW"), ("", None), ("{{lang}}", None), ("x" * 99, None)],
)
def test_declared_languages(language: str, expected: str | None) -> None:
    assert extract_html(f'<html lang="{language}"><p>{PARAGRAPHS[0]}'.encode()).html_lang == expected


def test_addresses_in_other_languages_are_whole_and_on_the_web() -> None:
    links = {
        "/de/x?a=1&amp;b=2": 'rel="alternate" hreflang="de"',
        "../fr": 'rel="nofollow Alternate" hreflang="fr"',
        " https://b.org/ ": 'rel="alternate" hreflang="x-default"',
        "": 'rel="alternate" hreflang="en"',
        "/feed": 'rel="alternate" type="application/rss+xml"',
        "/css": 'rel="stylesheet" hreflang="de"',
        "javascript:alert(1)": 'rel="alternate" hreflang="es"',
        "http://[bad": 'rel="alternate" hreflang="it"',
        f"/{'x' * 2048}": 'rel="alternate" hreflang="pl"',
        "https://b.org/": 'rel="alternate" hreflang="pt"',
    }
    page = "<head>{}</head><p>The text.".format("".join(f'<link {words} href="{to}">' for to, words in links.items()))
    expected = ["http://a.org/de/x?a=1&b=2", "http://a.org/fr", "https://b.org/", "http://a.org/en/x"]
    assert extract_html(page.encode(), url="http://a.org/en/x").alternates == expected
    assert extract_html(page.encode()).alternates == ["https://b.org/"]
    based = page.replace("<head>", '<head><base href="//c.org/d/">')
    assert extract_html(based.encode(), url="http://a.org/en/x").alternates[:2] == [
        *("http://c.org/de/x?a=1&b=2", "http://c.org/fr")
    ]
    assert extract_html(b"<p>The text.", url="http://a.org/").alternates is None
    many = "".join(f'<link rel=alternate hreflang=de href="/{number}">' for number in range(10**4))
    assert len(extract_html(f"<head>{many}</head><p>x".encode(), url="http://a.org").alternates) == MAX_ALTERNATES


def test_titles_are_cut() -> None:
    assert len(extract_html(b"<title>" + b"long " * 10**5 + b"</title><p>x").title) == 499


@pytest.mark.parametrize("body", [b"", b" ", b"<html></html>", b"<script>var a</script>", b"<!--", b"<" * 50])
def test_nothing_gives_a_reason(body: bytes) -> None:
    page = extract_html(body)
    assert (page.text is None) == (page.reason is not None)


TEXTS = {
    "cp1251": "Река начинается в горах и медленно течёт через старый город к морю. ",
    "koi8_r": "Река начинается в горах и медленно течет через старый город к морю. ",
    "shift_jis": "川は山から始まり、古い町をゆっくりと流れて海に出会います。",
    "gb18030": "这条河发源于山区，缓缓流过老城，最后汇入大海。",
    "cp1252": "Der Fluß entspringt in den Bergen und fließt gemächlich durch die schöne Stadt. ",
    "cp1250": "Řeka pramení v horách a pomalu teče starým městem, než se setká s mořem. ",
    "utf-16-le": "The river rises in the mountains; größer. ",
    "iso2022_jp": "川は山から始まり、古い町をゆっくりと流れて海に出会います。",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_declared_character_sets(encoding: str) -> None:
    text = TEXTS[encoding] * 3
    web_name = {"iso2022_jp": "iso-2022-jp", "koi8_r": "koi8-r", "cp1251": "windows-1251"}.get(encoding, encoding)
    web_name = web_name.replace("cp125", "windows-125")
    assert decode(text.encode(encoding), web_name) == text
    if not encoding.startswith("utf-16"):
        meta = f'<meta charset="{web_name}"><p>'.encode()
        assert decode(meta + text.encode(encoding), markup=True) == meta.decode() + text


@pytest.mark.parametrize("encoding", ["cp1251", "koi8_r", "shift_jis", "gb18030", "cp1252", "cp1250"])
def test_undeclared_character_sets_are_detected(encoding: str) -> None:
    assert decode((TEXTS[encoding] * 5).encode(encoding)) == TEXTS[encoding] * 5


@pytest.mark.parametrize(
    "declared", ["iso-8859-1", "windows-1251", "shift_jis", "utf-16", "nonsense", "hex", "", "utf-8"]
)
def test_utf8_is_known_by_its_bytes_whatever_was_declared(declared: str) -> None:
    assert decode(TEXTS["cp1251"].encode(), declared) == TEXTS["cp1251"]
    assert decode(b"plain", declared) == "plain"


def test_wrong_declarations_are_found_out() -> None:
    assert decode((TEXTS["cp1252"] * 5).encode("cp1252"), "utf-8") == TEXTS["cp1252"] * 5
    assert decode((TEXTS["cp1251"] * 5).encode("cp1251"), "iso-8859-1") == TEXTS["cp1251"] * 5
    meta = b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">'
    assert decode(meta + (TEXTS["cp1251"] * 5).encode("cp1251"), "utf-8", markup=True).endswith(TEXTS["cp1251"])


def test_a_page_cut_within_a_character_or_slightly_broken_is_still_utf8() -> None:
    whole = TEXTS["cp1251"].strip(". ").encode()
    assert decode(whole[:-1]) == whole[:-2].decode()
    assert decode(whole * 9 + b"\xff" + whole, "utf-8") == (whole * 9).decode() + "\ufffd" + whole.decode()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding: str) -> None:
    assert decode(TEXTS["cp1251"].encode(encoding), "iso-8859-1") == TEXTS["cp1251"]


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300),
    st.none() | st.sampled_from(["utf-8", "utf-16", "gbk", "big5", "iso-2022-jp", "latin1", "x"]),
)
def test_any_bytes_give_clean_text_or_a_reason(body: bytes, charset: str | None) -> None:
    page = extract_html(b"<main><p>" + body, charset)
    assert (page.text is None) == (page.reason is not None)
    for value in page[:3]:
        assert value is None or (value == clean(value) and value == value.encode().decode())


@settings(max_examples=50, deadline=None)
@given(st.text(), st.integers(1, 50))
def test_tidying_twice_changes_nothing(text: str, max_chars: int) -> None:
    once = tidy_text(text, max_chars)
    assert tidy_text(once, max_chars) == once
    assert len(once) <= max_chars


def test_ordinary_pages_are_left_as_they_are() -> None:
    for times in (1, 200, 3000):
        page = "".join(f'<div class="a b c"><p>{text}</p></div>' for text in PARAGRAPHS * times).encode()
        assert tame(page) is page


def test_data_in_scripts_does_not_cost_a_page_its_attributes() -> None:
    page = b"<script>" + b'"words of data", ' * 50_000 + b'</script><p class="kept">x</p>'
    assert tame(page) == b'</script><p class="kept">x</p>'


MANY = " ".join(f"a{n}" for n in range(60_000))
HOSTILE = {
    "nested": "<div>" * 100_000 + "x",
    "nested and closed": "<div>" * 20_000 + "x" + "</div>" * 20_000,
    "wide below deep": "<div>" * 1000 + "<div>x</div>" * 50_000,
    "closing what is not open": "<div></b>" * 50_000,
    "closing another name": "<article></articles>" * 30_000,
    "many attributes": f"<div {MANY}>x",
    "attributes behind a quoted bracket": "<div " + " ".join(f'a{n}=">"' for n in range(60_000)) + ">x",
    "attributes behind brackets in names": "<div " + " ".join(f"a{n}<" for n in range(60_000)) + ">x",
    "attributes behind a comment": f"<!--<script>--><div {MANY}>x",
    "attributes apart by slashes": f"<div/{MANY.replace(' ', '/')}>x",
    "attributes apart by quotes": "<div " + "".join(f'a{n}="x"' for n in range(60_000)) + ">x",
    "one long attribute": f'<div a="{"x" * 5_000_000}">x',
    "brackets": "<" * 1_000_000,
    "comments": "<!--" * 300_000,
    "tables": "<table>" * 50_000,
    "formatting": "<b><i></b></i>" * 30_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("extractor", ["resiliparse", "trafilatura"])
def test_hostile_pages_end_soon(name: str, extractor: str) -> None:
    started = time.process_time()
    page = extract_html(HOSTILE[name].encode(), extractor=extractor)
    assert (page.text is None) == (page.reason is not None)
    assert time.process_time() - started < 8  # without the limits minutes; on an idle core under one second
