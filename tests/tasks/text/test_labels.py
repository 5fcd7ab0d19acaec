from __future__ import annotations

import re
from functools import cache
from importlib.resources import as_file, files

import fasttext
import polars as pl
import pytest

from tasks.text.characters import SCRIPTS
from tasks.text.labels import bcp47, flores_labels, parse_label
from tasks.text.language_codes import ALIASES, OTHER_SCRIPTS, TWO_LETTERS, USUAL_SCRIPT

# ISO 639-3 codes of the languages of lid.176, in the order of its codes; compared once with Debian's iso-codes.
ISO_639_3 = """
    afr gsw amh arg arb arz asm ast ava azj azb bak bar bcl bel bul bho ben bod bpy bre bos bxr cat cbk che ceb ckb
    cos ces chv cym dan deu diq dsb dty div ell egl eng epo spa est eus pes fin fra frr fry gle gla glg grn gom guj glv
    heb hin hif hrv hsb hat hun hye ina ind ile ilo ido isl ita jpn jbo jav kat kaz khm kan kor krc kmr kpv cor kir lat
    ltz lez lim lmo lao lrc lit lvs mai plt mhr min mkd mal khk mar mrj zsm mlt mwl mya myv mzn nci nap nds npi new nld
    nno nob oci ory oss pan pam pfl pol pms pnb pbt por quy roh ron rus rue san sah srd scn sco snd hbs sin slk slv som
    als srp sun swe swh tam tel tgk tha tuk tgl tur tat tyv uig ukr urd uzn vec vep vie vls vol wln war wuu xal xmf ydd
    yor yue zho
"""
# FLORES-200's own spelling where another would be as natural.
FLORES = {
    "ar": "arb_Arab", "fa": "pes_Arab", "sw": "swh_Latn", "no": "nob_Latn", "ms": "zsm_Latn", "lv": "lvs_Latn",
    "ne": "npi_Deva", "sq": "als_Latn", "az": "azj_Latn", "uz": "uzn_Latn", "mn": "khk_Cyrl", "ku": "kmr_Latn",
    "mg": "plt_Latn", "or": "ory_Orya", "yi": "ydd_Hebr", "ps": "pbt_Arab", "et": "est_Latn", "qu": "quy_Latn",
    "tl": "tgl_Latn", "als": "gsw_Latn", "bh": "bho_Deva", "yue": "yue_Hant", "ja": "jpn_Jpan", "ko": "kor_Hang",
}  # fmt: skip


@cache
def labels_of_the_model() -> list[str]:
    with as_file(files("tasks.text") / "data" / "lid.176.ftz") as path:
        return fasttext.load_model(str(path)).get_labels()


def one(label: str, text: str = "") -> str:
    return str(flores_labels([label], pl.Series([text]))[0])


def test_every_label_of_lid_176_is_a_language_and_a_script() -> None:
    labels = flores_labels(labels_of_the_model(), pl.Series([""] * 176)).tolist()
    assert len(set(labels)) == 176
    assert {label[:3] for label in labels} == set(ISO_639_3.split())
    assert {label[3:] for label in labels} <= {f"_{script}" for script in (*SCRIPTS[1:], "Hans", "Hant", "Jpan")}
    assert all(parse_label(label) == label for label in labels)


@pytest.mark.parametrize(("code", "label"), FLORES.items())
def test_lid_labels_are_spelled_as_in_flores(code: str, label: str) -> None:
    assert f"__label__{code}" in labels_of_the_model()
    assert one(f"__label__{code}") == label


@pytest.mark.parametrize(
    ("model_label", "text", "label"),
    [
        ("__label__zh", "这是我们的语言", "zho_Hans"),
        ("__label__zh", "這是我們的語言", "zho_Hant"),
        ("__label__zh", "好", "zho_Hans"),
        ("cmn_Hani", "這是我們的語言", "zho_Hant"),
        ("__label__yue_Hani", "我哋嘅语言", "yue_Hans"),
        ("__label__sr", "Ово је језик", "srp_Cyrl"),
        ("__label__sr", "Ovo je jezik", "srp_Latn"),
        ("__label__sh", "Ово је језик", "hbs_Cyrl"),
        ("__label__deu_Latn", "при", "deu_Latn"),
        ("__label__de", "при", "deu_Latn"),
        ("arb_Arab", "", "arb_Arab"),
        ("ekk_Latn", "", "est_Latn"),
        ("als_Latn", "", "als_Latn"),
        ("twi_Latn_akua1239", "", "twi_Latn"),
        ("und_Zyyy", "", "und_Zyyy"),
    ],
)
def test_the_text_decides_where_the_label_leaves_it_open(model_label: str, text: str, label: str) -> None:
    assert one(model_label, text) == label


def test_labels_are_mapped_row_by_row() -> None:
    texts = pl.Series(["Ово", "x", "Ovo", "這個"])
    labels = flores_labels(["__label__sr", "__label__en", "__label__sr", "__label__zh"], texts).tolist()
    assert labels == ["srp_Cyrl", "eng_Latn", "srp_Latn", "zho_Hant"]
    assert len(flores_labels([], pl.Series([], dtype=pl.String))) == 0


@pytest.mark.parametrize(
    ("spelling", "label"),
    [
        ("de", "deu_Latn"), ("deu", "deu_Latn"), ("deu_Latn", "deu_Latn"), ("DEU_LATN", "deu_Latn"),
        (" ger ", "deu_Latn"), ("zh-Hant", "zho_Hant"), ("zh-TW", "zho_Hant"), ("zh-CN", "zho_Hans"),
        ("zh", "zho_Hans"), ("cmn_Hans", "zho_Hans"), ("pt-BR", "por_Latn"), ("sr-Latn-RS", "srp_Latn"),
        ("no", "nob_Latn"), ("als", "als_Latn"), ("abc_Latn", "abc_Latn"), ("es-419", "spa_Latn"),
    ],
)  # fmt: skip
def test_common_spellings(spelling: str, label: str) -> None:
    assert parse_label(spelling) == label


@pytest.mark.parametrize(
    ("spelling", "fix"),
    [
        ("german", "like deu_Latn"), ("", "like deu_Latn"), ("xx", "like deu_Latn"), ("deu Latn", "like deu_Latn"),
        ("xyz", "ISO 639-3 code with its ISO 15924 script"), ("zho_Hani", "write zho_Hans or zho_Hant"),
        ("deu_Ltan", "Latn"), ("../x", "like deu_Latn"),
    ],
)  # fmt: skip
def test_errors_name_the_fix(spelling: str, fix: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fix)):
        parse_label(spelling)


@pytest.mark.parametrize(
    ("label", "tag"),
    [
        ("deu_Latn", "de"), ("srp_Cyrl", "sr"), ("srp_Latn", "sr-Latn"), ("zho_Hans", "zh"), ("zho_Hant", "zh-Hant"),
        ("arb_Arab", "ar"), ("nob_Latn", "nb"), ("pes_Arab", "fa"), ("ace_Arab", "ace-Arab"), ("yue_Hant", "yue"),
        ("abc_Latn", "abc-Latn"),
    ],
)  # fmt: skip
def test_bcp47(label: str, tag: str) -> None:
    assert bcp47(label) == tag


def test_tags_are_read_back() -> None:
    labels = [f"{language}_{script}" for language, script in USUAL_SCRIPT.items()]
    labels += [f"{language}_{script}" for language, scripts in OTHER_SCRIPTS.items() for script in scripts]
    assert [parse_label(bcp47(label)) for label in labels] == labels


def test_every_spelling_leads_to_a_known_language() -> None:
    assert {*TWO_LETTERS.values(), *ALIASES.values(), *OTHER_SCRIPTS} <= set(USUAL_SCRIPT)
    assert not set(ALIASES) & set(USUAL_SCRIPT)
