"""The interface between stages: one exact Arrow schema per dataset, and check()."""

from __future__ import annotations

import pyarrow as pa

from storage.errors import SchemaError

ID = pa.binary(16)  # 128-bit content hash
LABEL = pa.string()  # a FLORES-style language label such as deu_Latn
TEXTS = pa.list_(pa.field("element", pa.string()))
SPANS = pa.list_(pa.field("element", pa.struct([("start", pa.int32()), ("end", pa.int32()), ("kind", pa.string())])))
IDS = pa.list_(pa.field("element", ID))
COSINES = pa.list_(pa.field("element", pa.float32()))
MINHASHES = pa.list_(pa.field("element", pa.uint32()))


def _schema(name: str, version: int, *columns: tuple[str, pa.DataType]) -> pa.Schema:
    # A new version of a schema asks for a new VERSION of the stages that write it and of those that read it: their
    # `update` would open what an older root has under the old schema.
    return pa.schema(columns, metadata={"name": name, "version": str(version)})


_DOCUMENT = (
    ("doc_id", ID),  # hash of (crawl, file, offset, url)
    ("crawl", pa.string()),
    ("url", pa.string()),
    ("fetched_at", pa.timestamp("ms", tz="UTC")),  # Parquet has no seconds; null where the crawl does not say
    ("file", pa.string()),  # path below the crawl's folder
    ("offset", pa.int64()),  # bytes into the file as stored (compressed); row number for JSONL, Parquet and text
    ("length", pa.int64()),  # bytes of the record as stored; null where rows have none
    ("title", pa.string()),
    ("html_lang", pa.string()),
    ("alternates", TEXTS),  # addresses that the page gives for itself in other languages (hreflang); null if none
    ("text", pa.string()),  # null exactly when `reason` is set
    ("reason", pa.string()),  # why there is no usable text; null for a good document
)

_SENTENCE_PAIR = (
    ("pair_id", ID),  # hash of (source_id, target_id)
    ("source_id", ID),
    ("target_id", ID),
    ("cosine", pa.float32()),
    ("margin", pa.float32()),
    ("found_by", pa.string()),  # forward, backward, both or document, or one of the former and "+document"
    ("alignment", pa.float32()),  # of the sentences in two matched documents; null where documents did not find it
)

SCHEMAS: dict[str, pa.Schema] = {
    schema.metadata[b"name"].decode(): schema
    for schema in (
        _schema("documents", 2, *_DOCUMENT),
        _schema(
            "languages",
            1,
            ("doc_id", ID),
            ("language", LABEL),  # und_Zyyy where nothing could be identified
            ("confidence", pa.float32()),
            ("runner_up", LABEL),
            ("runner_up_confidence", pa.float32()),
        ),
        _schema("document_scores", 1, ("doc_id", ID), ("score", pa.float32())),
        _schema("signatures", 1, ("doc_id", ID), ("minhashes", MINHASHES)),
        _schema(
            "kept_documents",
            2,
            ("doc_id", ID),
            ("language", LABEL),
            ("confidence", pa.float32()),
            ("url", pa.string()),
            ("alternates", TEXTS),
            ("title", pa.string()),
            ("text", pa.string()),
        ),
        _schema(
            "rejected_documents",
            1,
            ("doc_id", ID),
            ("url", pa.string()),
            ("language", LABEL),
            ("reason", pa.string()),
            ("score", pa.float32()),
            ("limit", pa.float32()),
            ("duplicate_of", ID),  # the earlier document that a near-duplicate repeats
        ),
        _schema(
            "sentences",
            1,
            ("sentence_id", ID),  # hash of (language, normalised text)
            ("doc_id", ID),
            ("position", pa.int32()),  # of the sentence in its document
            ("confidence", pa.float32()),  # of the sentence's own language identification
            ("text", pa.string()),
            ("pii", SPANS),  # character offsets into text; nothing is rewritten before release
        ),
        _schema(
            "unique_sentences",
            1,
            ("sentence_id", ID),
            ("text", pa.string()),
            ("confidence", pa.float32()),
            ("pii", SPANS),
            ("doc_id", ID),  # of the first occurrence
            ("position", pa.int32()),
            ("occurrences", pa.int32()),  # within this crawl
        ),
        _schema(
            "neighbours",
            1,
            ("side", pa.string()),  # source: this row is a source sentence and its neighbours are target sentences
            ("sentence_id", ID),
            ("neighbour_ids", IDS),  # best first; ties in the order of the ids
            ("cosines", COSINES),
        ),
        _schema("pairs", 2, *_SENTENCE_PAIR),
        _schema("pair_scores", 1, ("pair_id", ID), ("score", pa.float32())),
        _schema(
            "corpus",
            2,
            *_SENTENCE_PAIR,
            ("source", pa.string()),
            ("target", pa.string()),
            *(
                (f"{side}_{column}", kind)
                for side in ("source", "target")
                for column, kind in (
                    ("doc_id", ID),
                    ("position", pa.int32()),
                    ("url", pa.string()),
                    ("crawl", pa.string()),
                    ("file", pa.string()),
                    ("offset", pa.int64()),
                )
            ),
        ),
        _schema(
            "rejected_pairs",
            2,
            *_SENTENCE_PAIR,
            ("source", pa.string()),
            ("target", pa.string()),
            ("filter", pa.string()),
            ("score", pa.float32()),
            ("limit", pa.string()),  # the filter's settings, as JSON
        ),
        _schema(
            "bitext",
            1,
            ("source_language", LABEL),
            ("target_language", LABEL),
            ("source", pa.string()),
            ("target", pa.string()),
        ),
        _schema(
            "document_pairs",
            1,
            ("source_doc_id", ID),
            ("target_doc_id", ID),
            ("matched_by", pa.string()),  # hreflang, url or similarity
            ("similarity", pa.float32()),  # cosine of the mean vectors of both
        ),
        _schema(
            "local_pairs",
            1,
            ("source_doc_id", ID),
            ("target_doc_id", ID),
            ("source_ids", IDS),  # of the consecutive sentences that are linked
            ("target_ids", IDS),
            ("cosine", pa.float32()),  # of the vectors of all of a side's sentences together
            ("alignment", pa.float32()),  # 1: the same; 0: as near as sentences by chance
            ("source", pa.string()),  # text of several sentences together; null for one and one
            ("target", pa.string()),
        ),
    )
}


def embeddings_schema(dimension: int) -> pa.Schema:
    """Schema of an embeddings dataset: L2-normalised vectors, row-aligned with unique_sentences.

    A vector is the bytes of its float16 numbers, little-endian. As Parquet lists, whose numbers have levels each,
    vectors of 512 numbers are written and read far more slowly (49 and 180 MB/s of CPU against 495 and 1,169).
    """
    return _schema("embeddings", 2, ("sentence_id", ID), ("vector", pa.binary(2 * dimension)))


def schema_of(name: str, table: pa.Table | None = None) -> pa.Schema:
    """Return the schema that a dataset of this name has.

    Args:
        name: the dataset's name, such as "documents".
        table: needed for embeddings only, whose dimension is the encoder's.

    Raises:
        SchemaError: if there is no dataset of that name, or nothing that tells the dimension of embeddings.
    """
    if name == "embeddings":
        return embeddings_schema(_dimension(table))
    try:
        return SCHEMAS[name]
    except KeyError:
        raise SchemaError(f"there is no dataset called {name!r}; known: {', '.join(sorted(SCHEMAS))}") from None


def check(name: str, table: pa.Table) -> pa.Table:
    """Return the table under its dataset's exact schema.

    Raises:
        SchemaError: if a column is missing, unexpected, out of order or of another type.
    """
    expected = schema_of(name, table)
    if table.schema.remove_metadata() != expected.remove_metadata():
        raise SchemaError(f"{name}: expected columns\n{_describe(expected)}\nbut got\n{_describe(table.schema)}")
    # equal types may still differ in metadata and in the names of list elements, and so in the bytes that are written
    return table if table.schema.equals(expected, check_metadata=True) else table.cast(expected)


def conform(name: str, table: pa.Table) -> pa.Table:
    """Return the dataset's columns, in order and cast to its types: what polars hands back uses large types.

    Raises:
        SchemaError: if a column is missing or cannot be cast.
    """
    schema = schema_of(name, table)
    try:
        return table.select(schema.names).cast(schema.remove_metadata()).replace_schema_metadata(schema.metadata)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"{name}: cannot make its columns from {_describe(table.schema)}: {error}") from error


def empty(name: str, dimension: int = 1) -> pa.Table:
    """Return a table of this dataset with no rows."""
    schema = embeddings_schema(dimension) if name == "embeddings" else schema_of(name)
    return schema.empty_table()


def _dimension(table: pa.Table | None) -> int:
    vector = table.schema.field("vector").type if table is not None and "vector" in table.schema.names else None
    if vector is None or not pa.types.is_fixed_size_binary(vector):
        given = "no table" if table is None else _describe(table.schema)
        raise SchemaError(f"embeddings: a column `vector` of float16 bytes must tell the dimension, but got {given}")
    return int(vector.byte_width) // 2


def _describe(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema)
