"""Kept documents in, their good sentences out, one table per language, with counts of what was dropped and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.ids import content_ids
from storage.schemas import conform
from tasks.text.characters import DENSE, UNSPACED, count_characters
from tasks.text.labels import UNDETERMINED
from tasks.text.language import Identifier, SentenceLanguageConfig, identify_sentences
from tasks.text.normalisation import clean_text, mojibake_share, sentence_key
from tasks.text.pii import pii_spans
from tasks.text.segmentation import SplitConfig, split_sentences

Share = Annotated[float, Field(ge=0, le=1)]

_MARKS_OF_ANY_SENTENCE = 2  # a Chinese one of four characters with its full stop is not all punctuation


class SentenceConfig(Settings):
    """How documents are split, and which sentences are good enough.

    The limits are those of NLLB's monolingual pipeline (NLLB Team 2022, stopes' monolingual.yaml). Of the sentences of
    FLORES-200 devtest they drop .02 % for punctuation, .03 % for digits and .08 % for spaces.
    """

    split: SplitConfig = SplitConfig()
    language: SentenceLanguageConfig = SentenceLanguageConfig()
    min_chars: Annotated[int, Field(ge=1, description="Fewest characters of a sentence")] = 10
    min_dense_chars: Annotated[
        int, Field(ge=1, description="Fewest characters in Chinese, Japanese, Korean, Thai and their like")
    ] = 3
    max_chars: Annotated[int, Field(ge=1, le=10_000, description="Most characters of a sentence")] = 500
    max_punctuation: Annotated[Share, Field(description="Largest share of punctuation and symbols")] = 0.2
    max_digits: Annotated[Share, Field(description="Largest share of digits")] = 0.2
    min_spaces: Annotated[Share, Field(description="Smallest share of spaces, where words are parted by them")] = 0.05
    max_spaces: Annotated[Share, Field(description="Largest share of spaces")] = 0.3
    max_run: Annotated[int, Field(ge=1, description="Most repetitions of a character in a row")] = 20
    min_script: Annotated[Share, Field(description="Smallest share of letters in the script of the language")] = 0.5


@dataclass(frozen=True)
class SentenceTables:
    """Sentences by language label, each a table of the `sentences` schema, and dropped sentences by reason."""

    tables: dict[str, pa.Table]
    dropped: dict[str, int]


def document_sentences(kept: pa.Table, identifier: Identifier, config: SentenceConfig) -> SentenceTables:
    """Split, clean, judge and label the sentences of documents.

    A sentence's position counts all sentences of its document, kept or not. Its language is its own where the
    identifier is sure, and else the document's. Tables are sorted by label and keep the documents' order.

    Args:
        kept: a table of the `kept_documents` schema.
        identifier: the language identification model.
        config: how to split, and what is good enough.
    """
    sentences = _split(kept, config.split)
    reasons = _reasons(sentences["text"], config)
    labelled = _label(sentences.filter(reasons == ""), identifier, config.language)
    tables, other_script = {}, 0
    for (label,), part in sorted(labelled.group_by(["language"], maintain_order=True)):
        language = cast("str", label)
        good = part.filter(_in_script(part["text"], language, config.min_script))
        other_script += len(part) - len(good)
        if len(good):
            tables[language] = _table(good, language, kept)
    dropped = dict(reasons.filter(reasons != "").value_counts().sort("reason").iter_rows())
    return SentenceTables(tables, dropped | ({"script": other_script} if other_script else {}))


def _split(kept: pa.Table, config: SplitConfig) -> pl.DataFrame:
    """All sentences: text, row and language of the document, position in it."""
    texts = clean_text(cast("pl.Series", pl.from_arrow(kept["text"])).fill_null(""))
    languages = kept["language"].to_pylist()
    nested = pl.Series("text", split_sentences(texts.to_list(), languages, config), dtype=pl.List(pl.String))
    return (
        pl.DataFrame(
            {"document": np.arange(len(texts)), "language": pl.Series(languages, dtype=pl.String), "text": nested}
        )
        .filter(pl.col("text").list.len() > 0)
        .explode("text")
        .with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("document"))
    )


def _reasons(texts: pl.Series, config: SentenceConfig) -> pl.Series:
    """Why each sentence is dropped, the first reason that holds; empty for a good one."""
    counts = count_characters(texts)
    spaces = counts.share(counts.spaces)
    fewest = np.where(counts.written_in(DENSE), config.min_dense_chars, config.min_chars)
    reasons = {
        "too_short": counts.lengths < fewest,
        "too_long": counts.lengths > config.max_chars,
        "no_letters": counts.letters == 0,
        "punctuation": counts.punctuation > np.maximum(config.max_punctuation * counts.lengths, _MARKS_OF_ANY_SENTENCE),
        "digits": counts.share(counts.digits) > config.max_digits,
        "spaces": (spaces > config.max_spaces) | ((spaces < config.min_spaces) & ~counts.written_in(UNSPACED)),
        "repeated_character": counts.longest_run > config.max_run,
        "mojibake": mojibake_share(texts) > 0,
    }
    first = np.select(list(reasons.values()), np.arange(1, len(reasons) + 1), default=0)
    return pl.Series("reason", ["", *reasons], dtype=pl.String)[first]


def _label(sentences: pl.DataFrame, identifier: Identifier, config: SentenceLanguageConfig) -> pl.DataFrame:
    """Put the language that each sentence is filed under in the place of its document's."""
    languages, confidences = identify_sentences(sentences["text"], sentences["language"], identifier, config)
    return sentences.with_columns(language=pl.Series(languages, dtype=pl.String), confidence=pl.Series(confidences))


def _in_script(texts: pl.Series, language: str, least: float) -> pl.Series:
    if language == UNDETERMINED:
        return pl.repeat(value=False, n=len(texts), dtype=pl.Boolean, eager=True)
    return pl.Series(count_characters(texts).script_share(language[-4:]) >= least)


def _table(sentences: pl.DataFrame, language: str, kept: pa.Table) -> pa.Table:
    texts = sentences["text"]
    columns = {
        "sentence_id": content_ids([language] * len(texts), sentence_key(texts)),
        "doc_id": kept["doc_id"].take(pa.array(sentences["document"].to_numpy())),
        "position": sentences["position"].to_arrow(),
        "confidence": sentences["confidence"].to_arrow(),
        "text": texts.to_arrow(),
        "pii": pii_spans(texts),
    }
    return conform("sentences", pa.table(columns))
