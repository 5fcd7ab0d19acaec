"""encoder + test set -> evaluation (artifact: scores as JSON, and every sentence's as Parquet)"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

from storage.errors import ConfigError
from storage.handles import SourceFile
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Source
from storage.sources import list_sources
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import EncoderReference
from tasks.evaluation.protocols import Sides, matrix_of, rows_of
from tasks.evaluation.results import Outcome, Row
from tasks.evaluation.sets import PLACES, EvaluationSet

VERSION = 3

_logger = logging.getLogger(__name__)


@stage(task_run_name="evaluate-{name}-{tests.kind}")
def evaluate_encoder(
    store: Store, name: str, encoder: EncoderReference, tests: EvaluationSet, partner: EncoderReference | None = None
) -> Artifact:
    """Score an encoder on one set.

    Args:
        store: where the result is kept.
        name: what the encoder is called.
        encoder: which encoder.
        tests: which set.
        partner: the encoder of the pivot's (English) side, in the same space; None: the same encoder.

    Raises:
        ConfigError: if the set's files are missing or not what they should be.
    """
    files = tuple(list_sources(store, tests.path, f"sets.{tests.kind}.path"))
    job = Job(
        "evaluate_encoder",
        VERSION,
        tests,
        (files, _targets(store, tests), encoder.fingerprint, partner.fingerprint if partner else ""),
        (Slot("evaluation", f"{name}/{tests.kind}"),),
        partial(_evaluate, store.bare(), encoder, partner),
        PLACES,
    )
    return store.make(job)


def _targets(store: Store, tests: EvaluationSet) -> tuple[Source, ...]:
    path = getattr(tests, "target_path", None)
    return tuple(list_sources(store, path, f"sets.{tests.kind}.target_path")) if path else ()


def _evaluate(  # noqa: PLR0913, PLR0917 - what a computation gets, and two encoders
    store: Store,
    encoder: EncoderReference,
    partner: EncoderReference | None,
    _: Tally,
    tests: EvaluationSet,
    files: list[SourceFile],
    targets: list[SourceFile],
    fingerprint: str,
    partner_fingerprint: str,
) -> Iterator[tuple[str, list[bytes]]]:
    languages = encoder.load(store)
    sides = Sides(languages.encode, partner.load(store).encode if partner else languages.encode)
    if getattr(tests, "matrix", False):
        sides = sides.remembering()
    read = [(file.source.name, _bytes(file)) for file in [*files, *targets]]
    rows = list(_told(rows_of(tests, read, sides), tests.kind))
    if not rows:
        raise ConfigError(f"sets.{tests.kind}: there is nothing to evaluate in it")
    outcome = Outcome.of(
        rows,
        kind=tests.kind,
        title=_title(tests, [file.source.name for file in files]),
        settings=tests.model_dump(mode="json", exclude={"kind", *PLACES}),
        encoder=fingerprint,
        partner=partner_fingerprint,
        matrix=matrix_of(tests, read, sides),
    )
    yield from outcome.files()


def _title(tests: EvaluationSet, names: list[str]) -> str:
    """Return what people call a set: one file may be the source of several."""
    some = [f"{len(tests.languages)} languages"] if tests.languages else []
    return " ".join([tests.kind, *names[: len(names) == 1], *some])


def _bytes(file: SourceFile) -> bytes:
    with file.open() as stream:
        return stream.read()


def _told(rows: Iterator[Row], kind: str) -> Iterator[Row]:
    for row in rows:
        _logger.info("evaluate %s: %s", kind, row.flat())
        yield row
