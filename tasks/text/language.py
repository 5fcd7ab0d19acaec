"""Texts in, the language that each is written in out, with the model's confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Protocol, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from storage.schemas import conform
from tasks.text.labels import UNDETERMINED, flores_labels

BUNDLED_MODEL = "lid.176"  # Joulin et al. 2016; its licence lies beside it

_GUESSES = 3  # labels asked of the model; asking for three costs what asking for one does
# What people write in any language: addresses of pages and of mail, hashtags and handles, numbers.
_SHARED = r"(?:https?://|www\.)\S+|[\w.+-]+@[\w.-]+|[#@]\w+|\d+"


class IdentifyConfig(Settings):
    """How a document's language is identified."""

    model: Annotated[
        str, Field(min_length=1, description="lid.176, or where another fastText model such as GlotLID's lies")
    ] = BUNDLED_MODEL
    max_chars: Annotated[int, Field(ge=50, le=100_000, description="Characters of a document that are looked at")] = (
        2000
    )


class SentenceLanguageConfig(Settings):
    """When a sentence's own label outweighs its document's.

    The defaults go by the precision of lid.176 on Tatoeba (81,215 sentences, 96 languages) / WMT news (39,464, 24
    languages). Labels of fewer than 20 letters: .71 / .83, too few. Labels of 20 to 59 letters with a confidence of .9
    or more: .972 / .999, of which there are 51 % / 79 %. Labels of 60 letters or more with .7 or more: .960 / .999, of
    which there are 75 % / 92 %. The limits were chosen on these same sentences.
    """

    min_letters: Annotated[
        int, Field(ge=1, description="Shorter sentences are filed under their document's language")
    ] = 20
    long_letters: Annotated[int, Field(ge=1, description="Sentences of so many letters count as long")] = 60
    short_confidence: Annotated[
        float, Field(ge=0, le=1, description="Least confidence in the label of a sentence that is not long")
    ] = 0.9
    long_confidence: Annotated[
        float, Field(ge=0, le=1, description="Least confidence in the label of a long sentence")
    ] = 0.7


@dataclass(frozen=True)
class Guesses:
    """The likeliest labels of each text, best first: two arrays of one row per text."""

    labels: npt.NDArray[np.str_]
    confidences: npt.NDArray[np.float32]

    def confidence_in(self, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.float32]:
        """Return the confidence that each text has the label of its row; 0 if that is not among the guesses."""
        return np.asarray(np.where(self.labels == labels[:, None], self.confidences, 0).max(axis=1), dtype=np.float32)


class FastText(Protocol):
    """What is asked of a fastText model."""

    def predict(self, text: list[str], k: int) -> tuple[list[list[str]], list[npt.NDArray[np.float32]]]:
        """Return the k likeliest labels of each line, and their probabilities."""


class Identifier:
    """A fastText model whose labels are read as FLORES-style labels."""

    def __init__(self, model: FastText) -> None:
        self._model = model

    def guess(self, texts: Sequence[str] | pl.Series) -> Guesses:
        """Return the three likeliest labels of each text; und_Zyyy and 0 for a text without letters."""
        prepared = _prepare(pl.Series(values=texts, dtype=pl.String))
        labels = np.full((len(prepared), _GUESSES), UNDETERMINED, dtype="<U8")
        confidences = np.zeros((len(prepared), _GUESSES), dtype=np.float32)
        lettered = prepared.str.contains(r"\p{L}").arg_true().to_numpy()
        if len(lettered):
            # predict() of one text fails with numpy 2; predict() of a list does not.
            found, probabilities = self._model.predict(prepared[lettered].to_list(), k=_GUESSES)
            for place in range(_GUESSES):
                rows = [row for row, names in enumerate(found) if len(names) > place]
                names = [found[row][place] for row in rows]
                labels[lettered[rows], place] = flores_labels(names, prepared[lettered[rows]])
                confidences[lettered[rows], place] = [probabilities[row][place] for row in rows]
        return Guesses(labels, np.clip(confidences, 0, 1))  # fastText's softmax comes out as high as 1.00001

    def identify(self, texts: Sequence[str] | pl.Series) -> pa.Table:
        """Return columns label, confidence, runner_up and runner_up_confidence, one row per text."""
        guesses = self.guess(texts)
        return pa.table(
            {
                "label": pa.array(guesses.labels[:, 0], pa.string()),
                "confidence": guesses.confidences[:, 0],
                "runner_up": pa.array(guesses.labels[:, 1], pa.string()),
                "runner_up_confidence": guesses.confidences[:, 1],
            }
        )


@lru_cache(maxsize=4)
def load_identifier(path: str | Path = BUNDLED_MODEL) -> Identifier:
    """Load a fastText model from a file, or the bundled one by its name; a second call returns the same object."""
    import fasttext

    if str(path) != BUNDLED_MODEL:
        return Identifier(fasttext.load_model(str(path)))
    with as_file(files("tasks.text") / "data" / f"{BUNDLED_MODEL}.ftz") as bundled:
        return Identifier(fasttext.load_model(str(bundled)))


def identify_documents(documents: pa.Table, identifier: Identifier, config: IdentifyConfig) -> pa.Table:
    """Return a table of the `languages` schema, row by row; a document without text is und_Zyyy.

    Args:
        documents: columns doc_id and text at least.
        identifier: the model.
        config: how much of a document is looked at.
    """
    texts = cast("pl.Series", pl.from_arrow(documents["text"])).fill_null("").str.head(config.max_chars)
    found = identifier.identify(texts).rename_columns(["language", "confidence", "runner_up", "runner_up_confidence"])
    return conform("languages", found.add_column(0, "doc_id", documents["doc_id"].combine_chunks()))


def identify_sentences(
    texts: pl.Series,
    document_languages: Sequence[str] | pl.Series,
    identifier: Identifier,
    config: SentenceLanguageConfig,
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float32]]:
    """Return the language that each sentence is filed under and the model's confidence in it.

    That is the sentence's own label where it is long enough and the model sure enough, and else its document's, with
    the probability that the model gives to it.
    """
    guesses = identifier.guess(texts)
    documents = np.asarray(list(document_languages), dtype=np.str_)
    letters = texts.str.count_matches(r"\p{L}").to_numpy()
    least = np.where(letters < config.long_letters, config.short_confidence, config.long_confidence)
    own = (letters >= config.min_letters) & (guesses.confidences[:, 0] >= least)
    languages = np.where(own, guesses.labels[:, 0], documents)
    return languages, guesses.confidence_in(languages)


def _prepare(texts: pl.Series) -> pl.Series:
    """One line per text, without what is the same in every language."""
    return texts.fill_null("").str.replace_all(_SHARED, " ").str.replace_all(r"[\s\x00]+", " ").str.strip_chars()
