"""Addresses of pages in, the same without what in them names the page's language out."""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from tasks.text.language_codes import ALIASES, TWO_LETTERS

LONGEST_URL = 2048  # bytes; what is longer is no page that a reader was meant to remember

# Names of languages as addresses have them, in English and in the language itself; and codes of countries that sites
# use in the place of a language's.
_NAMES = {
    "arb": "arabic",
    "bul": "bulgarian",
    "cat": "catalan catala",
    "ces": "cz czech cesky cestina",
    "dan": "dk danish dansk",
    "deu": "at german deutsch",
    "ell": "gr greek ellinika",
    "eng": "english gb uk us",
    "est": "ee estonian eesti",
    "eus": "basque euskara",
    "fin": "finnish suomi",
    "fra": "french francais",
    "gle": "irish gaeilge",
    "glg": "galician galego",
    "heb": "hebrew",
    "hin": "hindi",
    "hrv": "croatian hrvatski",
    "hun": "hungarian magyar",
    "ind": "indonesian indonesia",
    "isl": "icelandic islenska",
    "ita": "italian italiano",
    "jpn": "jp japanese",
    "kor": "kr korean",
    "lit": "lithuanian lietuviu",
    "lvs": "latvian latviesu",
    "nld": "dutch nederlands",
    "nob": "norwegian norsk",
    "pes": "persian farsi",
    "pol": "polish polski",
    "por": "br portuguese portugues",
    "ron": "romanian romana",
    "rus": "russian russkij",
    "slk": "slovak slovensky",
    "slv": "si slovenian slovenski",
    "spa": "spanish espanol castellano",
    "srp": "rs serbian srpski",
    "swe": "swedish svenska",
    "tur": "turkish turkce",
    "ukr": "ua ukrainian",
    "vie": "vn vietnamese",
    "zho": "cn tw chinese",
}

# The engine of these expressions takes time linear in the text, whatever the text is.
_ADDRESS = (
    r"^(?i:https?:)?//(?:[^/?#@\\]*@)?(?<host>[^/?#@:\\\[\]]+)(?::(?<port>[0-9]{0,5}))?"
    r"(?<path>/[^?#]*)?(?:\?(?<query>[^#]*))?(?:#|$)"
)
_VARIANT = r"(?:[-_](?:[a-z]{2}|[0-9]{3}|latn|cyrl|arab|hans|hant)){0,2}"  # de-AT, es_419, zh-Hans-CN
_QUERY_NAMES = "hl|l|lan|lang|langue|language|lc|lg|lng|locale|setlang|sl|sprache|idioma|ui_?lang|uselang"
_REGISTRY = r"^(?:ac|co|com|edu|go|gob|gouv|gov|ne|net|nom|or|org)\.[a-z]{2}$"  # co.uk: below it are strangers


def neutral_addresses(urls: pl.Series, language: str) -> pl.DataFrame:
    """Host (site) and whole address of each URL without what names this language in host, path and query.

    de.example.org/a, example.org/de-at/a, example.org/a_de.html and example.org/a?lang=de lose their German, but only
    if the page is German. A page without a mark stands for itself: often one language has none. Scheme, www, user,
    fragment and a final slash do not count. Both are null for what is no web address, or longer than LONGEST_URL.
    """
    codes = _codes(language)
    parts = (
        urls.to_frame("url")
        .select(pl.when(pl.col("url").str.len_bytes() <= LONGEST_URL).then("url"))
        .to_series()
        .str.extract_groups(_ADDRESS)
        .struct.unnest()
    )
    host = pl.col("host").str.to_lowercase().str.strip_chars_end(".").str.replace(r"^www\.", "")
    bare = host.str.replace(rf"^(?:{codes}){_VARIANT}\.(.+\..+)$", "${1}")
    port = (
        pl.when(pl.col("port").fill_null("").is_in(["", "80", "443"])).then(pl.lit("")).otherwise(":" + pl.col("port"))
    )
    # doubled, so that each piece between them has its own two, and a mark can be taken out whatever stands beside it
    path = ("/" + pl.col("path").fill_null("") + "/").str.replace_all("/", "//", literal=True)
    plain_path = (
        path.str.replace_all(rf"(?i)/(?:{codes}){_VARIANT}/", "/")
        .str.replace_all(rf"(?i)[._-](?:{codes}){_VARIANT}(\.[a-z0-9]{{1,8}})?/", "${1}/")
        .str.replace_all("/+", "/")
        .str.strip_chars_end("/")
    )
    query = ("&" + pl.col("query").fill_null("") + "&").str.replace_all("&", "&&", literal=True)
    plain_query = (
        query.str.replace_all(rf"(?i)&(?:{_QUERY_NAMES})=(?:{codes}){_VARIANT}&", "&")
        .str.split("&")
        .list.eval(pl.element().filter(pl.element() != ""))
        .list.sort()
        .list.join("&")
    )
    site = pl.when(bare.str.contains(_REGISTRY)).then(host).otherwise(bare) + port
    return parts.select(site.alias("site"), (site + plain_path + "?" + plain_query).alias("address"))


@cache
def _codes(language: str) -> str:
    """All that stands for a language in addresses, as alternatives of a regular expression."""
    name = language.partition("_")[0]
    known = {name, *_NAMES.get(name, "").split()}
    known |= {code for table in (TWO_LETTERS, ALIASES) for code, other in table.items() if other == name}
    return "|".join(re.escape(code) for code in sorted(known))
