"""On intact files, every record is found where fastwarc finds it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from tasks.formats.documents import ExtractConfig, read_documents

CRAWLS = Path(__file__).parents[3] / "samples" / "crawls"
DOCUMENTS = WarcRecordType.response | WarcRecordType.conversion | WarcRecordType.revisit
INTACT = [
    "2024-10/sample-2024-10-00000.warc.gz",
    "2024-10/sample-2024-10-00003.warc",
    "2024-11/sample-2024-11-00002.warc.wet.gz",
]


@pytest.mark.parametrize("file", INTACT)
def test_addresses_and_offsets_are_those_of_fastwarc(file):
    with (CRAWLS / file).open("rb") as stream:
        records = ArchiveIterator(stream, record_types=DOCUMENTS, parse_http=False)
        expected = [(record.headers["WARC-Target-URI"], record.stream_pos) for record in records]
    with (CRAWLS / file).open("rb") as stream:
        rows = pa.concat_tables(read_documents(stream, "crawl", file, ExtractConfig()))
    assert len(expected) > 5
    assert list(zip(rows["url"].to_pylist(), rows["offset"].to_pylist(), strict=True)) == expected
