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
from tasks.evaluation.mined import Mined, f1_interval

SCORES, SENTENCES, MINED = "evaluation.json", "sentences.parquet", "mined.parquet"
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
    results: list[dict[str, Any]]  # by language; of F1 also f1_low and f1_high, the limits of its 95 % interval
    intervals: dict[str, tuple[float, float]] = {}  # 95 % of the means that `results` have limits of
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
    percent, what is no mean over sentences, and `facts` what is no score at all. `mined` is what the score f1 is of.
    """

    language: str
    values: Mapping[str, npt.NDArray[Any]]
    scores: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    distribution: Distribution | None = None
    mined: Mined | None = None

    def flat(self) -> dict[str, Any]:
        """Return the row of a table, with rounded numbers."""
        found: dict[str, Any] = {"language": self.language, "sentences": len(next(iter(self.values.values())))}
        if self.mined is not None:
            low, high = _limits({self.language: self.mined})
            found |= {"f1": self.scores["f1"], "f1_low": low, "f1_high": high}
        means = {name: percent(float(values.mean(dtype=np.float64))) for name, values in self.values.items()}
        return found | dict(self.scores) | means | dict(self.facts)


@dataclass(frozen=True, eq=False)
class Outcome:
    """An evaluation together with every sentence's values: columns language, row and the measures.

    `mined` has a row for every source sentence of a test that mines: language, row, half, right, found and true.
    """

    evaluation: Evaluation
    sentences: pl.DataFrame
    mined: pl.DataFrame | None = None

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
        mined = {row.language: row.mined for row in rows if row.mined is not None}
        evaluation = Evaluation(
            measures=list(rows[0].values),
            means=means,
            results=results,
            intervals={"f1": _limits(mined)} if mined else {},
            distributions=distributions,
            **told,
        )
        columns = {language: one._asdict() for language, one in mined.items()}
        return cls(evaluation, _sentences(rows), _stacked(columns) if columns else None)

    def files(self) -> Iterable[tuple[str, list[bytes]]]:
        """Yield the files of an artifact: name and chunks; equal results are equal bytes."""
        yield SCORES, [self.evaluation.model_dump_json(indent=1).encode()]
        for name, frame in ((SENTENCES, self.sentences), (MINED, self.mined)):
            if frame is not None:
                out = io.BytesIO()
                frame.write_parquet(out, compression="zstd", statistics=False)
                yield name, [out.getvalue()]

    @classmethod
    def read(cls, files: Mapping[str, bytes]) -> Outcome:
        """Return what `files` has written."""
        sentences = pl.read_parquet(io.BytesIO(files[SENTENCES]))
        mined = pl.read_parquet(io.BytesIO(files[MINED])) if MINED in files else None
        return cls(Evaluation.model_validate_json(files[SCORES]), sentences, mined)

    def values(self, measure: str) -> dict[str, Values]:
        """Return every sentence's value by language."""
        groups = self.sentences.group_by(["language"], maintain_order=True)
        return {str(language): rows[measure].to_numpy() for (language,), rows in groups}

    def mined_by_language(self) -> dict[str, Mined]:
        """Return what was mined, by language; nothing of a test that does not mine."""
        if self.mined is None:
            return {}
        groups = self.mined.group_by(["language"], maintain_order=True)
        return {
            str(language): Mined(*(rows[name].to_numpy() for name in Mined._fields)) for (language,), rows in groups
        }


def percent(share: float) -> float:
    """Return a share as a percentage with two decimals."""
    return round(100 * share, 2)


def _limits(mined: Mapping[str, Mined]) -> tuple[float, float]:
    low, high = f1_interval(mined)
    return percent(low), percent(high)


def _sentences(rows: Sequence[Row]) -> pl.DataFrame:
    columns = {row.language: {name: np.asarray(one, np.float32) for name, one in row.values.items()} for row in rows}
    return _stacked(columns)


def _stacked(columns: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> pl.DataFrame:
    """Put the columns of all languages into one table, with the language and the row within it."""
    parts = []
    for language, own in columns.items():
        place = pl.int_range(pl.len(), dtype=pl.Int32)
        parts.append(pl.DataFrame(dict(own)).select(pl.lit(language).alias("language"), place.alias("row"), *own))
    return pl.concat(parts)
