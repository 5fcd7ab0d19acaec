"""corpora, sentences and documents -> release (artifact: Parquet, TMX, Moses, text and a data card)"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from storage.fingerprint import Settings
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.schemas import schema_of
from storage.store import Rows, Store
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


@stage(task_run_name="publish-{corpus}")
def publish(store: Store, corpus: str, release: Release, config: PublishConfig) -> Artifact:
    """Write what leaves the pipeline: files that other tools read, and a card that says what is in them."""
    job = Job("publish", VERSION, config, (corpus, *map(tuple, release)), (Slot("release", corpus),), _publish)
    return store.make(job)


def _publish(_: Tally, config: PublishConfig, corpus: str, *inputs: list[Rows]) -> Iterator[Piece]:
    corpora, _rejected_pairs, unique, kept, _rejected_documents, _documents = inputs
    for rows in corpora:
        yield from _bilingual(rows, config)
    sentences = _by_first_part(unique)
    for language, parts in sentences.items():
        yield from _monolingual(language, parts, kept, config)
    yield "README.md", [write_card(_facts(corpus, inputs, sentences, config)).encode()]


def _bilingual(rows: Rows, config: PublishConfig) -> Iterator[Piece]:
    pair = rows.dataset.partition
    source, target = pair.split("-")
    schema = schema_of("corpus")

    def tables() -> Iterator[pa.Table]:
        for table in rows.batches(rows=_ROWS):
            yield _masked(table, ("source", "target"), config)

    yield f"bilingual/{pair}.parquet", write_parquet(tables(), schema)
    if "tmx" in config.formats:
        yield f"bilingual/{pair}.tmx", write_tmx(tables(), source, target)
    if "tsv" in config.formats:
        yield f"bilingual/{pair}.tsv", write_tsv(tables())
    if "moses" in config.formats:
        yield f"bilingual/{pair}.{source}", (lines for lines, _ in write_moses(tables()))
        yield f"bilingual/{pair}.{target}", (lines for _, lines in write_moses(tables()))


def _monolingual(language: str, parts: Sequence[Rows], kept: Sequence[Rows], config: PublishConfig) -> Iterator[Piece]:
    def sentences() -> Iterator[pa.Table]:
        for part in parts:
            for table in part.batches(rows=_ROWS):
                yield _masked(table, ("text",), config)

    def documents() -> Iterator[pa.Table]:
        for part in kept:
            for table in part.batches(rows=1024):
                mine = table.filter(pc.equal(table["language"], language))
                if mine.num_rows:
                    yield _masked(mine, ("title", "text"), config)

    yield f"monolingual/{language}.sentences.parquet", write_parquet(sentences(), schema_of("unique_sentences"))
    yield f"monolingual/{language}.documents.parquet", write_parquet(documents(), schema_of("kept_documents"))
    if "text" in config.formats:
        yield f"monolingual/{language}.sentences.txt", write_lines(sentences())


def _masked(table: pa.Table, columns: Sequence[str], config: PublishConfig) -> pa.Table:
    """Return the table under its schema, with personal data masked in some columns."""
    for column in columns if config.pii == "mask" else ():
        spans = pa.chunked_array([pii_spans(table[column].to_pylist())])
        masked = mask_spans(table[column], spans)
        table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), masked)
    return table


def _by_first_part(parts: Sequence[Rows]) -> dict[str, list[Rows]]:
    """Group partitions such as deu_Latn/crawl by what stands before the first slash, sorted."""
    groups: dict[str, list[Rows]] = {}
    for part in parts:
        groups.setdefault(part.dataset.partition.split("/")[0], []).append(part)
    return dict(sorted(groups.items()))


def _facts(
    corpus: str, inputs: Sequence[list[Rows]], sentences: Mapping[str, Sequence[Rows]], config: PublishConfig
) -> CardFacts:
    corpora, rejected_pairs, unique, kept, rejected_documents, documents = inputs
    per_language: dict[str, int] = {}
    for part in kept:
        for entry in pc.value_counts(part.read(["language"])["language"]).to_pylist():
            per_language[entry["values"]] = per_language.get(entry["values"], 0) + entry["counts"]
    return CardFacts(
        corpus=corpus,
        crawls=list(dict.fromkeys(part.dataset.partition.split("/")[0] for part in documents)),
        funnel=[
            ("records", _rows(documents)),
            ("kept documents", _rows(kept)),
            ("unique sentences", _rows(unique)),
            ("sentence pairs", _rows(corpora)),
        ],
        rejected={"documents": _reasons(rejected_documents, "reason"), "pairs": _reasons(rejected_pairs, "filter")},
        sentences={language: _rows(parts) for language, parts in sentences.items()},
        documents=per_language,
        pairs={rows.dataset.partition: rows.dataset.rows for rows in corpora},
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
