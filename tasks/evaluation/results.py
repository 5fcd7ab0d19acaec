"""What a test of an encoder found, as files in and out: scores by language as JSON, and every sentence's as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from storage.fingerprint import Settings

SCORES, SENTENCES = "evaluation.json", "sentences.parquet"
LOWER_IS_BETTER = frozenset({"error", "xsim", "xsim_plus"})

Values = npt.NDArray[np.float32]


class Matrix(Settings):
    """A score of every language (row) with every other (column), in percent; null with itself."""

    measure: str
    languages: list[str]
    values: list[list[float | None]]


class Distribution(Settings):
    """How many margins of translations, and of the best wrong candidates, lie between neighbouring edges."""

    edges: list[float]
    right: list[int]
    wrong: list[int]


class Evaluation(Settings):
    """What a test of one encoder on one set found; all scores are in percent."""

    kind: str
    title: str  # kind and file, for people
    settings: dict[str, Any]
    encoder: str  # fingerprint
    partner: str  # fingerprint of the encoder of the pivot's side; empty: the same
    measures: list[str]  # those that are means over sentences, the most telling first
    means: dict[str, float]  # over languages, each counting the same
    results: list[dict[str, Any]]  # by language
    matrix: Matrix | None = None
    distributions: dict[str, Distribution] = {}

    @property
    def headline(self) -> str:
        """The measure by which the set is known."""
        return "f1" if "f1" in self.means else self.measures[0]


@dataclass(frozen=True, eq=False)
class Row:
    """What was found for one language.

    `values` has, by measure, a number from 0 to 1 for each sentence, whose mean is the score; `scores` has, in
    percent, what is no mean over sentences, and `facts` what is no score at all.
    """

    language: str
    values: Mapping[str, npt.NDArray[Any]]
    scores: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    distribution: Distribution | None = None

    def flat(self) -> dict[str, Any]:
        """Return the row of a table, with rounded numbers."""
        sentences = len(next(iter(self.values.values())))
        means = {name: percent(float(values.mean(dtype=np.float64))) for name, values in self.values.items()}
        return {"language": self.language, "sentences": sentences} | dict(self.scores) | means | dict(self.facts)


@dataclass(frozen=True, eq=False)
class Outcome:
    """An evaluation together with every sentence's values: columns language, row and the measures."""

    evaluation: Evaluation
    sentences: pl.DataFrame

    @classmethod
    def of(cls, rows: Sequence[Row], **told: Any) -> Outcome:
        """Put the rows of all languages together; `told` are the other fields of an Evaluation.

        Raises:
            ValueError: if there are no rows.
        """
        if not rows:
            raise ValueError("there is nothing in the set to evaluate")
        results = [row.flat() for row in rows]
        names = [*rows[0].scores, *rows[0].values]
        means = {name: round(sum(one[name] for one in results) / len(results), 2) for name in names}
        distributions = {row.language: row.distribution for row in rows if row.distribution}
        measures = list(rows[0].values)
        evaluation = Evaluation(measures=measures, means=means, results=results, distributions=distributions, **told)
        return cls(evaluation, _sentences(rows))

    def files(self) -> Iterable[tuple[str, list[bytes]]]:
        """Yield the files of an artifact: name and chunks; equal results are equal bytes."""
        out = io.BytesIO()
        self.sentences.write_parquet(out, compression="zstd", statistics=False)
        yield SCORES, [self.evaluation.model_dump_json(indent=1).encode()]
        yield SENTENCES, [out.getvalue()]

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> Outcome:
        """Return what `files` has written."""
        sentences = pl.read_parquet(io.BytesIO(files[SENTENCES]))
        return cls(Evaluation.model_validate_json(files[SCORES]), sentences)

    def values(self, measure: str) -> dict[str, Values]:
        """Return every sentence's value by language."""
        groups = self.sentences.group_by(["language"], maintain_order=True)
        return {str(language): rows[measure].to_numpy() for (language,), rows in groups}


def percent(share: float) -> float:
    """Return a share as a percentage with two decimals."""
    return round(100 * share, 2)


def _sentences(rows: Sequence[Row]) -> pl.DataFrame:
    parts = []
    for row in rows:
        columns = {name: pl.Series(np.asarray(values, np.float32)) for name, values in row.values.items()}
        frame = pl.DataFrame(columns)
        place = pl.int_range(pl.len(), dtype=pl.Int32)
        parts.append(frame.select(pl.lit(row.language).alias("language"), place.alias("row"), *columns))
    return pl.concat(parts)
