"""corpora, sentences and documents -> release (artifact: Parquet, TMX, Moses, text and a data card)"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Annotated, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from storage.fingerprint import Settings
from storage.handles import Precedent, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.schemas import schema_of
from storage.store import Store
from tasks import stage
from tasks.formats.data_card import CardFacts, write_card
from tasks.formats.monolingual import write_lines
from tasks.formats.moses import write_moses, write_tsv
from tasks.formats.parquet_bytes import write_parquet
from tasks.formats.tmx import write_tmx
from tasks.text.masking import mask_spans
from tasks.text.pii import pii_spans

VERSION = 1
_ROWS = 16_384

Piece = tuple[str, Iterable[bytes]]
Chunks = Callable[[], Iterable[bytes]]
Spans = dict[str, pa.ChunkedArray]  # by column


class PublishConfig(Settings):
    """What a release looks like."""

    pii: Annotated[
        Literal["mask", "keep"],
        Field(description="E-mail addresses, IP and phone numbers: <email> and so on, or as is"),
    ] = "mask"
    formats: Annotated[
        list[Literal["tmx", "moses", "tsv", "text"]], Field(description="Written beside Parquet, which always is")
    ] = ["tmx", "moses", "text"]


class Release(NamedTuple):
    """What goes into a release; the order of each list is the order in the files."""

    corpora: list[Dataset]
    rejected_pairs: list[Dataset]
    unique: list[Dataset]
    kept: list[Dataset]
    rejected_documents: list[Dataset]
    documents: list[Dataset]


class Inputs(NamedTuple):
    """A release's datasets as a computation reads them, in the same order."""

    corpora: list[Rows]
    rejected_pairs: list[Rows]
    unique: list[Rows]
    kept: list[Rows]
    rejected_documents: list[Rows]
    documents: list[Rows]


class Part(NamedTuple):
    """Files that follow from the same rows, whose content `made_of` names."""

    files: dict[str, Chunks]
    made_of: list[str]


@stage(task_run_name="publish-{corpus}")
def publish(store: Store, corpus: str, release: Release, config: PublishConfig) -> Artifact:
    """Write what leaves the pipeline: files that other tools read, and a card that says what is in them.

    A file is per language and crawl, or per language pair; one whose rows are those of the last release is copied.
    """
    slot, datasets = Slot("release", corpus), tuple(tuple(parts) for parts in release)
    inputs: tuple[str | tuple[Dataset, ...], ...] = (corpus, *datasets)
    return store.make(Job("publish", VERSION, config, inputs, (slot,), _publish, update=_update, need="core"))


def _publish(_: Tally, config: PublishConfig, corpus: str, *inputs: list[Rows]) -> Iterator[Piece]:
    for part in _parts(config, Inputs(*inputs)):
        for name, chunks in part.files.items():
            yield name, chunks()
    yield "README.md", [write_card(_facts(corpus, Inputs(*inputs), config)).encode()]


def _update(_: Tally, config: PublishConfig, precedent: Precedent, corpus: str, *inputs: list[Rows]) -> Iterator[Piece]:
    earlier = precedent.files("release")
    known = {name: part.made_of for part in _parts(config, Inputs(*precedent.inputs[1:])) for name in part.files}
    for part in _parts(config, Inputs(*inputs)):
        for name, chunks in part.files.items():
            yield name, earlier.chunks(name) if known.get(name) == part.made_of else chunks()
    yield "README.md", [write_card(_facts(corpus, Inputs(*inputs), config)).encode()]


def _parts(config: PublishConfig, inputs: Inputs) -> Iterator[Part]:
    for rows in inputs.corpora:
        yield Part(_bilingual(rows, config), [rows.dataset.content])
    kept = {
        crawl: list(parts) for crawl, parts in groupby(inputs.kept, lambda part: part.dataset.partition.split("/")[0])
    }
    for rows in inputs.unique:
        language, crawl = rows.dataset.partition.split("/")
        yield Part(_sentences(rows, config), [rows.dataset.content])
        documents = kept.get(crawl, [])
        files: dict[str, Chunks] = {
            f"monolingual/{language}/{crawl}.documents.parquet": partial(_documents, language, documents, config)
        }
        yield Part(files, [part.dataset.content for part in documents])


def _bilingual(rows: Rows, config: PublishConfig) -> dict[str, Chunks]:
    pair = rows.dataset.partition
    source, target = pair.split("-")

    spans: list[Spans] = []  # of each batch, found when the first file is written

    def tables() -> Iterator[pa.Table]:
        for place, table in enumerate(rows.batches(rows=_ROWS)):
            if place == len(spans):
                spans.append(_spans(table, ("source", "target"), config))
            yield _masked(table, spans[place])

    files: dict[str, Chunks] = {f"{pair}.parquet": lambda: write_parquet(tables(), schema_of("corpus"))}
    if "tmx" in config.formats:
        files[f"{pair}.tmx"] = lambda: write_tmx(tables(), source, target)
    if "tsv" in config.formats:
        files[f"{pair}.tsv"] = lambda: write_tsv(tables())
    if "moses" in config.formats:
        files[f"{pair}.{source}"] = lambda: (lines for lines, _ in write_moses(tables()))
        files[f"{pair}.{target}"] = lambda: (lines for _, lines in write_moses(tables()))
    return {f"bilingual/{name}": chunks for name, chunks in files.items()}


def _sentences(rows: Rows, config: PublishConfig) -> dict[str, Chunks]:
    def tables() -> Iterator[pa.Table]:
        for table in rows.batches(rows=_ROWS):
            masked = mask_spans(table["text"], table["pii"]) if config.pii == "mask" else table["text"]
            yield table.set_column(table.schema.get_field_index("text"), table.schema.field("text"), masked)

    name = f"monolingual/{rows.dataset.partition}.sentences"
    files: dict[str, Chunks] = {f"{name}.parquet": lambda: write_parquet(tables(), schema_of("unique_sentences"))}
    if "text" in config.formats:
        files[f"{name}.txt"] = lambda: write_lines(tables())
    return files


def _documents(language: str, kept: Sequence[Rows], config: PublishConfig) -> Iterator[bytes]:
    def tables() -> Iterator[pa.Table]:
        for part in kept:
            for table in part.batches(rows=1024):
                mine = table.filter(pc.equal(table["language"], language))
                if mine.num_rows:
                    yield _masked(mine, _spans(mine, ("title", "text"), config))

    return write_parquet(tables(), schema_of("kept_documents"))


def _spans(table: pa.Table, columns: Sequence[str], config: PublishConfig) -> Spans:
    """Return where personal data is in some columns; none if it is to be kept."""
    masked = columns if config.pii == "mask" else ()
    return {column: pa.chunked_array([pii_spans(table[column].to_pylist())]) for column in masked}


def _masked(table: pa.Table, spans: Spans) -> pa.Table:
    """Return the table under its schema, with personal data masked."""
    for column, found in spans.items():
        masked = mask_spans(table[column], found)
        table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), masked)
    return table


def _facts(corpus: str, inputs: Inputs, config: PublishConfig) -> CardFacts:
    per_language: dict[str, int] = {}
    for part in inputs.kept:
        for entry in pc.value_counts(part.read(["language"])["language"]).to_pylist():
            per_language[entry["values"]] = per_language.get(entry["values"], 0) + entry["counts"]
    sentences: dict[str, int] = {}
    for part in inputs.unique:
        language = part.dataset.partition.split("/")[0]
        sentences[language] = sentences.get(language, 0) + part.dataset.rows
    return CardFacts(
        corpus=corpus,
        crawls=list(dict.fromkeys(part.dataset.partition.split("/")[0] for part in inputs.documents)),
        funnel=[
            ("records", _rows(inputs.documents)),
            ("kept documents", _rows(inputs.kept)),
            ("unique sentences", _rows(inputs.unique)),
            ("sentence pairs", _rows(inputs.corpora)),
        ],
        rejected={
            "documents": _reasons(inputs.rejected_documents, "reason"),
            "pairs": _reasons(inputs.rejected_pairs, "filter"),
        },
        sentences=dict(sorted(sentences.items())),
        documents=per_language,
        pairs={rows.dataset.partition: rows.dataset.rows for rows in inputs.corpora},
        formats=config.formats,
        settings={"personal data": config.pii},
    )


def _rows(parts: Sequence[Rows]) -> int:
    return sum(part.dataset.rows for part in parts)


def _reasons(parts: Sequence[Rows], column: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in parts:
        for entry in pc.value_counts(part.read([column])[column]).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    return counts
