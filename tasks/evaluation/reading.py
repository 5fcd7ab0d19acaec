"""Files of test sets as bytes in, sentences beside their translations, or texts beside their labels, out."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import polars as pl

from storage.errors import ConfigError
from tasks.evaluation.sets import Classification, MultiWay, Parallel, Tatoeba

File = tuple[str, bytes]  # name and content


class Aligned(NamedTuple):
    """Sentences of a language, each beside its translation in the pivot."""

    language: str
    texts: list[str]
    pivots: list[str]


class Labelled(NamedTuple):
    """Texts (or pairs of texts) of one language and split, each with its label; `seconds` is empty without pairs."""

    language: str
    texts: list[str]
    seconds: list[str]
    labels: list[str]


def tatoeba(files: Sequence[File], tests: Tatoeba) -> list[Aligned]:
    """Pair the files of a folder such as LASER's data/tatoeba/v1 by their names.

    Raises:
        ConfigError: if a file has no partner or another number of lines, or there is none.
    """
    by_name, found = dict(files), []
    for name in sorted(by_name):
        parts = name.split(".")
        if len(parts) != 3 or parts[0] != "tatoeba" or parts[1] != f"{parts[2]}-eng":
            continue
        if tests.languages and parts[2] not in tests.languages:
            continue
        english = f"tatoeba.{parts[1]}.eng"
        if english not in by_name:
            raise ConfigError(f"sets.tatoeba.path: {name} has no {english} beside it")
        found.append(_by_line(parts[2], (name, by_name[name]), (english, by_name[english]), "tatoeba"))
    return _some(found, "sets.tatoeba.path: it needs files such as tatoeba.deu-eng.deu and tatoeba.deu-eng.eng")


def parallel(files: Sequence[File], tests: Parallel) -> list[Aligned]:
    """Return the sentences of every language beside the pivot's: from one table, or from two text files.

    Raises:
        ConfigError: naming the field and what to put there, if the file is not what the settings say.
    """
    kind: str = getattr(tests, "kind", "")
    if tests.target_path:
        return [_by_line(tests.languages[0], files[0], files[-1], kind)]
    frame = _parallel_table(files[0], tests, kind)
    if tests.pivot_column:
        both = frame.rename({tests.pivot_column: "_pivot"}).with_columns(pl.col("_pivot").str.strip_chars())
        both = both.filter((pl.col("_text") != "") & (pl.col("_pivot") != ""))
    else:
        pivot = frame.filter(pl.col("_language") == tests.pivot).select("idx", _pivot="_text")
        _once(pivot, ["idx"], kind)
        others = frame.filter(pl.col("_language") != tests.pivot).sort("_language", "idx", maintain_order=True)
        both = others.join(pivot, on="idx", maintain_order="left")
    groups = both.sort("_language", maintain_order=True).group_by(["_language"], maintain_order=True)
    found = [
        Aligned(cast("str", language), rows["_text"].to_list(), rows["_pivot"].to_list())
        for (language,), rows in groups
    ]
    return _some(found, f"sets.{kind}: no sentence in the file has a translation in {tests.pivot}")


def many_ways(files: Sequence[File], tests: MultiWay) -> dict[str, list[str]]:
    """Return, by language, the sentences that every one of the languages has, in the order of idx.

    Raises:
        ConfigError: if there are none.
    """
    frame = _parallel_table(files[0], tests, tests.kind)
    _once(frame, ["idx", "_language"], tests.kind)
    languages = frame["_language"].n_unique()
    rows = frame.filter(pl.len().over("idx") == languages).sort("_language", "idx")
    if rows.is_empty():
        raise ConfigError("sets.multiway.languages: no sentence is there in all of them; name those that share some")
    groups = rows.group_by(["_language"], maintain_order=True)
    return {cast("str", language): own["_text"].to_list() for (language,), own in groups}


def labelled(files: Sequence[File], tests: Classification) -> dict[str, list[Labelled]]:
    """Return the labelled texts of the splits "train", "dev" (that language's alone) and "test" by language.

    Raises:
        ConfigError: naming the field and what to put there, if the file is not what the settings say.
    """
    frame = _table(files[0], tests.kind)
    columns = {
        "text_column": tests.text_column,
        "label_column": tests.label_column,
        "language_column": tests.language_column,
        "split_column": tests.split_column,
    } | ({"text2_column": tests.text2_column} if tests.text2_column else {})
    _need(frame, columns, tests.kind)
    values = {field.removesuffix("_column"): pl.col(column).cast(pl.String) for field, column in columns.items()}
    rows = frame.select(**values).drop_nulls()
    learnt = rows.filter(pl.col("language") == tests.train_language)
    splits = {
        "train": learnt.filter(pl.col("split") == tests.train_split),
        "dev": learnt.filter(pl.col("split") == tests.dev_split),
        "test": rows.filter(pl.col("split") == tests.test_split),
    }
    if tests.languages:
        splits["test"] = splits["test"].filter(pl.col("language").is_in(tests.languages))
    for field, split in (("train_split", "train"), ("test_split", "test")):
        if splits[split].is_empty():
            found = ", ".join(sorted(rows["split"].unique().to_list())[:10])
            raise ConfigError(
                f"sets.classification.{field}: there is no such row, with train_language = {tests.train_language}; "
                f"the column {tests.split_column} has {found}"
            )
    return {split: _labelled(part) for split, part in splits.items()}


def _labelled(frame: pl.DataFrame) -> list[Labelled]:
    groups = frame.sort("language", maintain_order=True).group_by(["language"], maintain_order=True)
    return [
        Labelled(
            cast("str", language),
            rows["text"].to_list(),
            rows["text2"].to_list() if "text2" in rows.columns else [],
            rows["label"].to_list(),
        )
        for (language,), rows in groups
    ]


def _parallel_table(file: File, tests: Parallel, kind: str) -> pl.DataFrame:
    """Return the rows that are asked for, with columns _language and _text beside the file's own."""
    frame = _table(file, kind)
    columns = {"language_column": tests.language_column, "text_column": tests.text_column}
    columns |= {"pivot_column": tests.pivot_column} if tests.pivot_column else {"pivot_column (null)": "idx"}
    _need(frame, columns, kind)
    _need(frame, {f"where.{column}": column for column in tests.where}, kind)
    for column, values in tests.where.items():
        frame = frame.filter(pl.col(column).cast(pl.String).is_in(values))
    frame = frame.with_columns(
        _language=pl.col(tests.language_column).cast(pl.String), _text=pl.col(tests.text_column).str.strip_chars()
    )
    frame = frame.drop_nulls(["_language", "_text"])
    there = set(frame["_language"].unique())
    wanted = {*tests.languages, *([] if tests.pivot_column else [tests.pivot])}
    if missing := sorted(wanted - there):
        field = "pivot" if tests.pivot in missing else "languages"
        raise ConfigError(f"sets.{kind}.{field}: {', '.join(missing)} is not in the file; it has {_few(there)}")
    return frame.filter(pl.col("_language").is_in(list(wanted))) if tests.languages else frame


def _table(file: File, kind: str) -> pl.DataFrame:
    name, data = file
    lower = name.lower()
    if lower.endswith(".gz"):
        data, lower = gzip.decompress(data), lower.removesuffix(".gz")
    try:
        if lower.endswith(".parquet"):
            return pl.read_parquet(io.BytesIO(data))
        if lower.endswith((".tsv", ".tab")):
            frame = pl.read_csv(data, separator="\t", quote_char=None, infer_schema=False)
            numbers = pl.col("idx").cast(pl.Int64, strict=False)
            return frame.with_columns(numbers) if "idx" in frame.columns else frame
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"sets.{kind}.path: {name} cannot be read: {str(error)[:200]}") from error
    raise ConfigError(f"sets.{kind}.path: {name} is neither .parquet nor .tsv; two text files need target_path")


def _need(frame: pl.DataFrame, columns: Mapping[str, str], kind: str) -> None:
    """Make sure of columns, which are given by the field that names them."""
    for field, column in columns.items():
        if column not in frame.columns:
            raise ConfigError(
                f"sets.{kind}.{field}: the file has no column {column}; it has {', '.join(frame.columns)}"
            )


def _once(frame: pl.DataFrame, columns: list[str], kind: str) -> None:
    if frame.select(columns).is_duplicated().any():
        raise ConfigError(f"sets.{kind}.path: an idx occurs twice in one language; narrow the rows with where")


def _by_line(language: str, source: File, target: File, kind: str) -> Aligned:
    texts, pivots = _lines(source, kind), _lines(target, kind)
    if len(texts) != len(pivots):
        raise ConfigError(
            f"sets.{kind}.path: {source[0]} has {len(texts):,} lines and {target[0]} {len(pivots):,}; "
            "line i of one has to be the translation of line i of the other"
        )
    return Aligned(language, texts, pivots)


def _lines(file: File, kind: str) -> list[str]:
    try:
        return file[1].decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"sets.{kind}.path: {file[0]} is not UTF-8: byte {error.start}") from error


def _some(found: list[Aligned], message: str) -> list[Aligned]:
    if not found:
        raise ConfigError(message)
    return found


def _few(names: set[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (", …" if len(names) > 8 else "")
