"""Language labels of models and of people in, FLORES-style labels such as deu_Latn and BCP 47 tags out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.text.characters import SCRIPTS, main_scripts, parts_of_script
from tasks.text.language_codes import (
    ALIASES,
    OTHER_SCRIPTS,
    SIMPLIFIED,
    TRADITIONAL,
    TWO_LETTERS,
    USUAL_SCRIPT,
    WIKIPEDIA_CODES,
)

UNDETERMINED = "und_Zyyy"

_FASTTEXT_PREFIX = "__label__"
_HAN = frozenset({"Hans", "Hant"})
_TRADITIONAL_REGIONS = frozenset({"TW", "HK", "MO"})
_SPELLING = re.compile(r"([A-Za-z]{2,3})(?:[_-]([A-Za-z]{4}))?(?:[_-]([A-Za-z]{2}|\d{3}))?")
_TWO_LETTERS_OF = {language: code for code, language in TWO_LETTERS.items()}
_HANS = re.compile("|".join(sorted(set(SIMPLIFIED) - set(TRADITIONAL))))
_HANT = re.compile("|".join(sorted(set(TRADITIONAL) - set(SIMPLIFIED))))


def parse_label(spelling: str) -> str:
    """Return the FLORES-style label for a language as people write it: de, deu, deu_Latn, zh-Hant, pt-BR.

    A region is dropped, save that Chinese of Taiwan, Hong Kong and Macau is traditional; a script that is not given is
    the language's usual one.

    Raises:
        ValueError: if that names no language and script; the message says what to write.
    """
    found = _SPELLING.fullmatch(spelling.strip())
    if found is None:
        raise ValueError(f"{spelling!r} is no language label: write it like deu_Latn, deu or de")
    code, script, region = found[1].lower(), (found[2] or "").title(), (found[3] or "").upper()
    language = _language(code)
    if script == "Hani":
        raise ValueError(f"{spelling!r} does not say which characters: write {language}_Hans or {language}_Hant")
    if script and not parts_of_script(script):
        raise ValueError(f"{spelling!r} has no script that is known here; known: {', '.join(_known_scripts())}")
    if not script and language not in USUAL_SCRIPT:
        raise ValueError(
            f"{spelling!r} is not in the table of languages: write its ISO 639-3 code with its ISO 15924 script, "
            "such as deu_Latn"
        )
    if not script and region in _TRADITIONAL_REGIONS and USUAL_SCRIPT[language] in _HAN:
        script = "Hant"
    return f"{language}_{script or USUAL_SCRIPT[language]}"


def bcp47(label: str) -> str:
    """Return the shortest BCP 47 tag of a label, with the script only where it is not the language's usual one."""
    language, script = label.split("_")
    code = _TWO_LETTERS_OF.get(language, language)
    return code if USUAL_SCRIPT.get(language) == script else f"{code}-{script}"


def flores_labels(model_labels: Sequence[str], texts: pl.Series) -> npt.NDArray[np.str_]:
    """Return the FLORES-style label for each label that a language identification model gave to a text.

    Labels of lid.176 name the language alone and those of GlotLID join the two Chinese spellings (cmn_Hani): there
    the text's own characters decide. A label that names its script keeps it.
    """
    labels = np.asarray(model_labels, dtype=np.str_)
    result = np.full(len(labels), UNDETERMINED, dtype="<U8")
    names, where = np.unique(labels, return_inverse=True)
    for index, name in enumerate(names):
        rows = np.flatnonzero(where == index)
        language, scripts = _choices(str(name).removeprefix(_FASTTEXT_PREFIX))
        result[rows] = f"{language}_{scripts[0]}"
        if len(scripts) > 1:
            written = _han_spelling(texts[rows]) if scripts[0] in _HAN else main_scripts(texts[rows])
            for script in scripts[1:]:
                result[rows[written == script]] = f"{language}_{script}"
    return result


def _choices(name: str) -> tuple[str, tuple[str, ...]]:
    """Language of a model's label, and the scripts that it leaves open, the usual one first."""
    code, _, rest = name.partition("_")
    script = rest[:4]  # GlotLID has a few labels of a variety, with a third part
    language = _language(WIKIPEDIA_CODES.get(code, code)) if not script else ALIASES.get(code, code)
    if script and script != "Hani":
        return language, (script,)
    usual = USUAL_SCRIPT.get(language, "Hans" if script else "Zyyy")
    return language, (usual, *OTHER_SCRIPTS.get(language, ()))


def _language(code: str) -> str:
    language = TWO_LETTERS.get(code) or ALIASES.get(code, code)
    if len(language) != 3:
        raise ValueError(f"{code!r} is no code of a language: write it like deu_Latn, deu or de")
    return language


def _han_spelling(texts: pl.Series) -> npt.NDArray[np.str_]:
    """Hans or Hant by the majority of telling characters; empty where neither has one."""
    hans = texts.str.count_matches(_HANS.pattern).to_numpy().astype(np.int64)
    hant = texts.str.count_matches(_HANT.pattern).to_numpy().astype(np.int64)
    return np.select([hans > hant, hant > hans], ["Hans", "Hant"], default="")


def _known_scripts() -> list[str]:
    return sorted({*SCRIPTS[1:], "Hans", "Hant", "Jpan"} - {"Hani"})
