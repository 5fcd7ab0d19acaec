"""encoder + parallel test sets -> evaluation (artifact: one JSON file)"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal, cast

import polars as pl
from pydantic import Field

from encoder.evaluation import retrieval_accuracy, xsim
from storage.errors import ConfigError
from storage.fingerprint import Settings
from storage.handles import SourceFile
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact
from storage.sources import list_sources
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import EncoderReference

VERSION = 1

_logger = logging.getLogger(__name__)


class Tatoeba(Settings):
    """A folder of LASER's Tatoeba files, such as tatoeba.deu-eng.deu and tatoeba.deu-eng.eng, line by line."""

    kind: Literal["tatoeba"] = "tatoeba"
    path: Annotated[str, Field(description="The folder, local or any fsspec URL")]


class MultiWay(Settings):
    """Sentences in many languages, row idx of each a translation of row idx of the others, such as FLORES-200."""

    kind: Literal["multiway"] = "multiway"
    path: Annotated[str, Field(description="Parquet or TSV with columns idx, lang and text")]
    pivot: Annotated[str, Field(description="The language that all others are compared with")] = "eng_Latn"
    languages: Annotated[list[str], Field(description="Only these; none: all in the file")] = []


EvaluationSet = Annotated[Tatoeba | MultiWay, Field(discriminator="kind")]


@stage(task_run_name="evaluate-{name}")
def evaluate_encoder(store: Store, name: str, encoder: EncoderReference, tests: EvaluationSet) -> Artifact:
    """Score an encoder on one set: accuracy of finding translations, and xsim (LASER's similarity error).

    Raises:
        ConfigError: if the set's files are missing or not what they should be.
    """
    files = tuple(list_sources(store, tests.path, f"sets.{tests.kind}.path"))
    job = Job(
        "evaluate_encoder",
        VERSION,
        tests,
        (files, encoder.fingerprint),
        (Slot("evaluation", f"{name}/{tests.kind}"),),
        partial(_evaluate, store.bare(), encoder),
        frozenset({"path"}),
    )
    return store.make(job)


def _evaluate(
    store: Store,
    reference: EncoderReference,
    _: Tally,
    tests: Tatoeba | MultiWay,
    files: list[SourceFile],
    __: str,
) -> Iterator[tuple[str, list[bytes]]]:
    encoder = reference.load(store)
    pairs = _tatoeba(files) if isinstance(tests, Tatoeba) else _multiway(files, tests)
    results = []
    for language, sources, targets in pairs:
        x, y = encoder.encode(sources), encoder.encode(targets)
        by_margin, by_cosine = retrieval_accuracy(x, y, "ratio"), retrieval_accuracy(x, y, "absolute")
        results.append(
            {
                "language": language,
                "sentences": len(sources),
                "accuracy_cosine": round(100 * by_cosine.mean, 2),
                "accuracy_margin": round(100 * by_margin.mean, 2),
                "xsim": round(100 * xsim(x, y, sources, targets), 2),
            }
        )
        _logger.info("evaluate %s: %s", tests.kind, results[-1])
    yield "evaluation.json", [json.dumps(summary(tests.kind, results), indent=1, ensure_ascii=False).encode()]


def summary(kind: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the means over all languages beside the results: percent, xsim as an error, accuracy of both directions."""
    if not results:
        raise ConfigError(f"sets.{kind}: there is nothing to evaluate in it")
    means = {
        f"mean_{name}": round(sum(one[name] for one in results) / len(results), 2)
        for name in ("accuracy_cosine", "accuracy_margin", "xsim")
    }
    return {"set": kind, "languages": len(results), **means, "results": results}


def _tatoeba(files: list[SourceFile]) -> Iterator[tuple[str, list[str], list[str]]]:
    by_name = {file.source.name: file for file in files}
    for name in sorted(by_name):
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "tatoeba" and parts[1] == f"{parts[2]}-eng":
            english = by_name.get(f"tatoeba.{parts[1]}.eng")
            if english is None:
                raise ConfigError(f"sets.tatoeba: {name} has no tatoeba.{parts[1]}.eng beside it")
            yield parts[2], _lines(by_name[name]), _lines(english)


def _lines(file: SourceFile) -> list[str]:
    with file.open() as stream:
        return stream.read().decode("utf-8").rstrip("\n").split("\n")


def _multiway(files: list[SourceFile], tests: MultiWay) -> Iterator[tuple[str, list[str], list[str]]]:
    with files[0].open() as stream:
        data = io.BytesIO(stream.read())
    is_tsv = files[0].source.name.endswith(".tsv")
    frame = pl.read_csv(data, separator="\t", quote_char=None) if is_tsv else pl.read_parquet(data)
    if missing := sorted({"idx", "lang", "text"} - set(frame.columns)):
        raise ConfigError(f"sets.multiway.path: the file has no column {', '.join(missing)}")
    pivot = frame.filter(pl.col("lang") == tests.pivot).select("idx", pivot="text")
    if pivot.is_empty():
        raise ConfigError(f"sets.multiway.pivot: {tests.pivot} is not in the file")
    for (language,), rows in frame.sort("lang", "idx").group_by(["lang"], maintain_order=True):
        if language != tests.pivot and (not tests.languages or language in tests.languages):
            both = rows.join(pivot, on="idx", maintain_order="left")
            yield cast("str", language), both["text"].to_list(), both["pivot"].to_list()
