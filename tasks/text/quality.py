"""Documents with their languages in, a score per document and scorer out, and which scores are good enough."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.fingerprint import Settings
from tasks.text.characters import DENSE, UNSPACED, count_characters
from tasks.text.normalisation import mojibake_share

Scores = npt.NDArray[np.float32]
Accepted = npt.NDArray[np.bool_]

# Mean characters of a sentence in FLORES-200 devtest: English 130, Chinese 43, Japanese 56, Korean 65, Thai 125.
_DENSE_FACTOR = 2.5
_SYLLABIC = tuple(script for script in DENSE if script not in {"Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Java", "Bali"})


class TextLength(Settings):
    """Characters that a document has, those of Chinese, Japanese and Korean counted two and a half times.

    CCNet drops documents of fewer than 300 characters (Wenzek et al. 2020), HPLT of fewer than 500 (Burchell et al.
    2025); here short ones pass, since what is mined is sentences.
    """

    kind: Literal["text_length"] = "text_length"
    limit: Annotated[float, Field(ge=0, description="Fewest characters of a document")] = 200.0

    def score(self, table: pa.Table) -> Scores:
        """Return the length of each text."""
        counts = count_characters(_texts(table))
        factor = np.where(counts.written_in(_SYLLABIC), _DENSE_FACTOR, 1.0)
        return np.asarray(counts.lengths * factor, dtype=np.float32)

    def accept(self, scores: Scores) -> Accepted:
        """Tell which are long enough."""
        return scores >= np.float32(self.limit)


class LanguageConfidence(Settings):
    """The model's confidence in the language of a document; the limit is that of CCNet (Wenzek et al. 2020)."""

    kind: Literal["language_confidence"] = "language_confidence"
    limit: Annotated[float, Field(ge=0, le=1, description="Least confidence in the language")] = 0.5

    def score(self, table: pa.Table) -> Scores:
        """Return the confidence; 0 where no language was found."""
        return np.asarray(table["confidence"].fill_null(0).to_numpy(), dtype=np.float32)

    def accept(self, scores: Scores) -> Accepted:
        """Tell which are sure enough."""
        return scores >= np.float32(self.limit)


class LetterShare(Settings):
    """Share of letters, with their marks, among the characters that are not spaces.

    Gopher asks that .8 of the words have a letter (Rae et al. 2021, table A1). Of letters the share is lower: of 1,012
    sentences in each of 204 languages (FLORES-200 devtest) one in a thousand has less than .72.
    """

    kind: Literal["letter_share"] = "letter_share"
    limit: Annotated[float, Field(ge=0, le=1, description="Least share of letters among visible characters")] = 0.7

    def score(self, table: pa.Table) -> Scores:
        """Return the share; 0 for a text without visible characters."""
        counts = count_characters(_texts(table))
        visible = np.maximum(counts.lengths - counts.spaces, 1)
        return np.asarray((counts.letters + counts.marks) / visible, dtype=np.float32)

    def accept(self, scores: Scores) -> Accepted:
        """Tell which have enough letters."""
        return scores >= np.float32(self.limit)


class RepeatedLines(Settings):
    """Share of the characters that stand in a line which the same document had before.

    Gopher's limits are .2 of the characters and .3 of the lines (Rae et al. 2021, table A1).
    """

    kind: Literal["repeated_lines"] = "repeated_lines"
    limit: Annotated[float, Field(ge=0, le=1, description="Largest share of characters in repeated lines")] = 0.2

    def score(self, table: pa.Table) -> Scores:
        """Return the share; 0 for an empty text."""
        lines = (
            pl.DataFrame({"text": _texts(table)})
            .with_row_index("row")
            .with_columns(pl.col("text").str.split("\n"))
            .explode("text")
            .with_columns(pl.col("text").str.strip_chars())
        )
        chars = pl.col("text").str.len_chars()
        again = ~pl.struct("row", "text").is_first_distinct()
        sums = (
            lines.with_columns(chars=chars, repeated=chars * again)
            .group_by("row", maintain_order=True)
            .agg(pl.col("chars", "repeated").sum())
        )
        return np.asarray(sums["repeated"].to_numpy() / np.maximum(sums["chars"].to_numpy(), 1), dtype=np.float32)

    def accept(self, scores: Scores) -> Accepted:
        """Tell which repeat little enough."""
        return scores <= np.float32(self.limit)


class MeanWordLength(Settings):
    """Visible characters per word, in scripts that put spaces between words; elsewhere the least that passes.

    Gopher's limits are 3 and 10 (Rae et al. 2021, table A1), made for English. The means of the languages of FLORES-200
    go from 3.4 (Fon, Korean) to 9.1 (Malayalam), and to 14.3 in its South Azerbaijani; hence 2.5 and 15.
    """

    kind: Literal["mean_word_length"] = "mean_word_length"
    limit: Annotated[float, Field(ge=1, description="Longest mean word")] = 15.0
    least: Annotated[float, Field(ge=0, description="Shortest mean word")] = 2.5

    def score(self, table: pa.Table) -> Scores:
        """Return the mean; NaN where words are not told apart by spaces."""
        texts = _texts(table)
        counts = count_characters(texts)
        words = texts.str.count_matches(r"\S+").to_numpy()
        mean = (counts.lengths - counts.spaces) / np.maximum(words, 1)
        return np.where(counts.written_in(UNSPACED), np.nan, mean).astype(np.float32)

    def accept(self, scores: Scores) -> Accepted:
        """Tell which have words of a likely length, or none to measure."""
        return np.isnan(scores) | ((scores >= np.float32(self.least)) & (scores <= np.float32(self.limit)))


class Mojibake(Settings):
    """Share of characters that are UTF-8 read as Latin-1, or replacement characters; the limit is our own."""

    kind: Literal["mojibake"] = "mojibake"
    limit: Annotated[float, Field(ge=0, le=1, description="Largest share of wrongly decoded characters")] = 0.01

    def score(self, table: pa.Table) -> Scores:
        """Return the share; 0 for an empty text."""
        return mojibake_share(_texts(table)).astype(np.float32)

    def accept(self, scores: Scores) -> Accepted:
        """Tell which are decoded well enough."""
        return scores <= np.float32(self.limit)


# A new scorer: one class here, and its name below.
DocumentFilter = Annotated[
    TextLength | LanguageConfidence | LetterShare | RepeatedLines | MeanWordLength | Mojibake,
    Field(discriminator="kind"),
]
DOCUMENT_FILTERS: list[DocumentFilter] = [
    TextLength(),
    LanguageConfidence(),
    LetterShare(),
    RepeatedLines(),
    MeanWordLength(),
    Mojibake(),
]


def _texts(table: pa.Table) -> pl.Series:
    return cast("pl.Series", pl.from_arrow(table["text"])).fill_null("")
