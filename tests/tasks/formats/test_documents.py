"""Files in every format, whole and broken, and what is read from them."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ShardError
from storage.ids import content_id
from storage.schemas import check
from tasks.formats.documents import ExtractConfig, read_documents

SENTENCE = "The quick brown fox jumps over the lazy dog while the river runs slowly to the sea. "
PAGE = f"<html lang='en'><head><title> A  page </title></head><body><main><p>{SENTENCE * 3}</p></main></body></html>".encode()


def http(body: bytes = PAGE, status: str = "200 OK", headers: str = "Content-Type: text/html; charset=utf-8") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode() + body


def warc_record(block: bytes, number: int = 0, kind: str = "response", length: object = None, more: str = "") -> bytes:
    media = "application/http; msgtype=response" if block.startswith(b"HTTP") else "text/html"
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: <http://site.org/{number}>\r\n"
        f"WARC-Date: 2020-02-03T04:05:0{number % 10}Z\r\n{more}Content-Type: {media}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def read(data: bytes, name: str = "a.warc", **config: object) -> list[dict[str, object]]:
    tables = list(read_documents(io.BytesIO(data), "crawl-1", name, ExtractConfig(**config)))
    rows = [row for table in tables for row in check("documents", table).to_pylist()]
    assert len({row["doc_id"] for row in rows}) == len(rows)
    assert all((row["text"] is None) == (row["reason"] is not None) for row in rows)
    return rows


def outcomes(data: bytes, name: str = "a.warc", **config: object) -> list[str]:
    return [row["reason"] or "ok" for row in read(data, name, **config)]


PAGES = [warc_record(http(PAGE.replace(b"</p>", f" Page {n}.</p>".encode())), n) for n in range(4)]


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("a.warc", bytes), ("a.warc.gz", gzip.compress), ("a.warc.zst", zst), ("A.WARC.GZ", gzip.compress)],
)
def test_every_document_can_be_found_again_in_its_file(name: str, pack: Callable[[bytes], bytes]) -> None:
    packed = [pack(page) for page in PAGES]
    rows = read(b"".join(packed), name)
    assert [row["offset"] for row in rows] == [sum(map(len, packed[:n])) for n in range(4)]
    assert [row["length"] for row in rows] == [len(member) for member in packed]
    first = rows[0]
    assert first["url"] == "http://site.org/0"
    assert (first["crawl"], first["file"], first["title"], first["html_lang"]) == ("crawl-1", name, "A page", "en")
    assert str(first["fetched_at"]) == "2020-02-03 04:05:00+00:00"
    assert first["doc_id"] == content_id("crawl-1", name, "0", "http://site.org/0")
    assert first["text"] == SENTENCE * 3 + "Page 0."


def test_members_that_hold_several_records_give_each_its_own_place() -> None:
    rows = read(gzip.compress(b"".join(PAGES)), "a.warc.gz")
    assert [row["offset"] for row in rows] == [sum(map(len, PAGES[:n])) for n in range(4)]
    assert [row["length"] for row in rows] == [len(page) for page in PAGES]


def test_the_same_page_twice_in_one_member_has_two_ids() -> None:
    assert len(read(gzip.compress(PAGES[0] * 2) + gzip.compress(PAGES[0] * 2), "a.warc.gz")) == 4


def test_a_block_may_go_on_in_the_next_member() -> None:
    packed = gzip.compress(PAGES[0][:400]) + gzip.compress(PAGES[0][400:] + PAGES[1])
    assert outcomes(packed, "a.warc.gz") == ["ok", "ok"]


def test_zstd_with_a_dictionary_at_the_start() -> None:
    dictionary = zstandard.train_dictionary(2048, [warc_record(http(), n) for n in range(500)])
    packer = zstandard.ZstdCompressor(dict_data=dictionary)
    members = b"".join(packer.compress(page) for page in PAGES)
    for stored in (dictionary.as_bytes(), zst(dictionary.as_bytes())):
        frame = struct.pack("<II", 0x184D2A5D, len(stored)) + stored
        rows = read(frame + members, "a.warc.zst")
        assert [row["reason"] for row in rows] == [None] * 4
        assert rows[0]["offset"] == len(frame)
    with pytest.raises(ShardError):
        read(members, "a.warc.zst")


def test_what_another_writer_wrote() -> None:
    stream = io.BytesIO()
    for number in range(3):
        record = WarcRecord()
        record.init_headers(record_type=WarcRecordType.response)
        record.headers["WARC-Target-URI"] = f"http://site.org/{number}"
        record.is_http = True
        record.set_bytes_content(http())
        with GzipWriter(stream) as packed:
            record.write(packed)
            packed.finish()
    assert outcomes(stream.getvalue(), "a.warc.gz") == ["ok"] * 3


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (warc_record(http(status="404 Not Found")), "http_status"),
        (warc_record(http(status="301 Moved", body=b"")), "http_status"),
        (warc_record(http(headers="Content-Type: image/png")), "not_html"),
        (warc_record(http(body=b"%PDF" + bytes(range(256)) * 9)), "not_html"),
        (warc_record(http(body=b"plain words", headers="X: y")), "not_html"),
        (warc_record(http(headers="X: y")), "ok"),
        (warc_record(http(body=b" \r\n ")), "empty"),
        (warc_record(http(body=b"<html><body></body></html>")), "empty"),
        (warc_record(http(body=b"<p>" + b"word " * 3000)), "too_large"),
        (warc_record(http(body=b"<div>" * 1800 + b"x")), "ok"),
        (warc_record(http(), kind="revisit"), "revisit"),
        (warc_record(http(), kind="continuation"), "unsupported_record"),
        (warc_record(b"garbage", more=""), "not_html"),
        (warc_record(b"HTTP/x nonsense"), "bad_record"),
        (warc_record(PAGE, kind="resource"), "ok"),
        (warc_record(SENTENCE.encode(), kind="conversion").replace(b"text/html", b"text/plain"), "ok"),
        (warc_record(b"\x89PNG", kind="resource").replace(b"text/html", b"image/png"), "not_html"),
    ],
)
def test_a_record_without_usable_text_is_a_row_with_a_reason(record: bytes, reason: str) -> None:
    if b"garbage" in record:
        record = record.replace(b"text/html", b"text/dns")
    assert outcomes(record + PAGES[1], max_bytes=10_000) == [reason, "ok"]


def test_records_about_pages_are_no_documents() -> None:
    about = b"".join(warc_record(b"x: y", kind=kind) for kind in ("warcinfo", "request", "metadata"))
    assert read(about) == []
    assert outcomes(about + PAGES[0]) == ["ok"]


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


CHUNKED = "Content-Type: text/html\r\nTransfer-Encoding: chunked"
RAW_DEFLATE = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (chunked(PAGE[:50], PAGE[50:], b""), CHUNKED, "ok"),
        (chunked(PAGE[:50], PAGE[50:]), CHUNKED, "ok"),
        (PAGE, CHUNKED, "ok"),
        (chunked(PAGE[:50], PAGE[50:])[:-20], CHUNKED, "truncated"),
        (chunked(PAGE[:50]) + b"zzz" + PAGE, CHUNKED, "truncated"),
        (gzip.compress(PAGE), "Content-Encoding: gzip", "ok"),
        (zlib.compress(PAGE), "Content-Encoding: deflate", "ok"),
        (RAW_DEFLATE.compress(PAGE) + RAW_DEFLATE.flush(), "Content-Encoding: deflate", "ok"),
        (zst(PAGE), "Content-Encoding: zstd", "ok"),
        (zst(gzip.compress(PAGE)), "Content-Encoding: gzip, zstd", "ok"),
        (chunked(gzip.compress(PAGE), b""), f"{CHUNKED}\r\nContent-Encoding: gzip", "ok"),
        (PAGE, "Content-Encoding: gzip", "ok"),
        (PAGE, "Content-Encoding: br", "ok"),
        (PAGE, "Content-Encoding: identity", "ok"),
        (b"\x1f\x8bnonsense", "Content-Encoding: gzip", "undecodable"),
        (b"\x8b\xff\xff\xffnonsense", "Content-Encoding: br", "undecodable"),
        (b"nonsense", "Content-Encoding: rot13", "undecodable"),
        (b"nonsense", "Content-Encoding: " + "gzip, " * 50, "undecodable"),
        (gzip.compress(PAGE * 9)[:-30], "Content-Encoding: gzip", "truncated"),
        (gzip.compress(b"<p>" + bytes(10**7)), "Content-Encoding: gzip", "too_large"),
        (zst(b"<p>" + bytes(10**7)), "Content-Encoding: zstd", "too_large"),
    ],
)
def test_transfer_and_content_encodings_true_and_false(body: bytes, headers: str, reason: str) -> None:
    if "Content-Type" not in headers:
        headers += "\r\nContent-Type: text/html"
    assert outcomes(warc_record(http(body, headers=headers)), max_bytes=20_000) == [reason]


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc.zst"])
def test_a_damaged_record_in_its_own_member_costs_that_record_alone(name: str) -> None:
    pack = gzip.compress if name.endswith("gz") else zst
    bad_length = warc_record(http(), 7, length=10**6)
    for member, rows in (
        (pack(b"garbage\r\n"), ["ok", "bad_record", "ok"]),
        (pack(bad_length), ["ok", "bad_record", "ok"]),
        (pack(warc_record(http(), length="many")), ["ok", "bad_record", "ok"]),
        (pack(warc_record(http(), length=-5)), ["ok", "bad_record", "ok"]),
        (pack(b"WARC/1.0\r\nX: " + b"a" * 10**6), ["ok", "bad_record", "ok"]),
        (pack(b""), ["ok", "ok"]),
    ):
        assert outcomes(pack(PAGES[0]) + member + pack(PAGES[1]), name) == rows


def test_the_row_of_a_break_is_at_the_break() -> None:
    members = [gzip.compress(page) for page in PAGES]
    start = len(members[0]) + len(members[1])
    data = b"".join(members)
    [*whole, broken] = read(data[: start + 150], "a.warc.gz")
    assert [row["reason"] for row in whole] == [None, None]
    assert (broken["reason"], broken["offset"], broken["length"]) == ("truncated", start, None)
    [*whole, broken] = read(data[:start] + b"garbage" + data[start:], "a.warc.gz")
    assert (len(whole), broken["reason"], broken["offset"]) == (2, "bad_record", start)
    flipped = bytearray(data)
    flipped[start + len(members[2]) - 6] ^= 1  # in the checksum: the text itself looks as good as ever
    [*whole, broken] = read(bytes(flipped), "a.warc.gz")
    assert (len(whole), broken["reason"], broken["url"]) == (2, "bad_record", "http://site.org/2")


def test_plain_files_break_at_wrong_lengths() -> None:
    assert outcomes(PAGES[0] + b"garbage\r\n" + PAGES[1]) == ["ok", "bad_record"]
    assert outcomes(PAGES[0] + warc_record(http(), length=10**9) + PAGES[1]) == ["ok", "truncated"]
    [*_, broken] = read(PAGES[0] + warc_record(http(), 5, length=20) + PAGES[1])
    assert broken["reason"] == "bad_record"
    assert outcomes(PAGES[0] + PAGES[1][:-4]) == ["ok", "ok"]
    assert outcomes(b"".join(PAGES).replace(b"\r\n", b"\n").replace(b"HTTP/1.1", b"HTTP/1.1 "))[0] == "ok"


def test_padding_with_zeros_is_no_damage() -> None:
    assert (
        outcomes(gzip.compress(PAGES[0]) + bytes(99) + gzip.compress(PAGES[1]) + bytes(500), "a.warc.gz") == ["ok"] * 2
    )


def test_a_file_that_unpacks_out_of_all_proportion_is_given_up() -> None:
    bomb = zst(warc_record(http(), kind="metadata", length=2**40) + bytes(400 * 2**20))
    assert outcomes(zst(PAGES[0]) + bomb, "a.warc.zst") == ["ok", "too_large"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "a.warc"),
        (gzip.compress(b""), "a.warc.gz"),
        (PAGE, "a.warc"),
        (b"".join(PAGES), "a.warc.gz"),
        (gzip.compress(PAGES[0]), "a.warc"),
        (gzip.compress(PAGES[0])[:20], "a.warc.gz"),
        (gzip.compress(b"noise") * 2000, "a.warc.gz"),
        (PAGES[0], "a.tar.zst"),
        (PAGES[0], "warc"),
        (b"a,b\n", "a.jsonl"),
        (b"PAR1 no more", "a.parquet"),
        (bytes(range(256)), "a.txt"),
        (PAGE, "a.html.zst"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_is_refused(data: bytes, name: str) -> None:
    with pytest.raises(ShardError):
        read(data, name)


def test_errors_of_the_stream_are_not_the_files_fault() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionError("gone")

    for name in ("a.warc.gz", "a.jsonl", "a.parquet"):
        with pytest.raises(ConnectionError):
            list(read_documents(Broken(b"x" * 100), "c", name, ExtractConfig()))


@pytest.mark.parametrize(
    "name", ["a.warc", "a.warc.gz", "b.warc.gz", "a.warc.zst", "a.jsonl.gz", "a.txt.zst", "a.parquet", "a.html"]
)
@settings(max_examples=40, deadline=None)
@given(damage=st.data())
def test_reading_always_ends_with_rows_or_a_shard_error(name: str, damage: st.DataObject) -> None:
    data = bytearray(WHOLE[name])
    for _ in range(damage.draw(st.integers(1, 3))):
        place = damage.draw(st.integers(0, len(data) - 1))
        match damage.draw(st.sampled_from(["cut", "flip", "insert", "delete"])):
            case "cut":
                del data[max(place, 1) :]
            case "flip":
                data[place] ^= 1 << damage.draw(st.integers(0, 7))
            case "insert":
                data[place:place] = damage.draw(st.binary(min_size=1, max_size=40))
            case "delete":
                del data[place : min(place + 30, len(data) - 1)]
    try:
        rows = read(bytes(data), name)
    except ShardError:
        return
    assert all(len(row["text"] or "") < 10_000 for row in rows)


def parquet(table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


JSON_LINES = b"".join(
    json.dumps({"text": f"{SENTENCE}{n}", "url": f"http://x/{n}"}).encode() + b"\n" for n in range(20)
)
WHOLE = {
    "a.warc": b"".join(PAGES),
    "a.warc.gz": b"".join(map(gzip.compress, PAGES)),
    "b.warc.gz": gzip.compress(b"".join(PAGES)),
    "a.warc.zst": b"".join(map(zst, PAGES)),
    "a.jsonl.gz": gzip.compress(JSON_LINES),
    "a.txt.zst": zst(JSON_LINES),
    "a.parquet": parquet(pa.table({"text": [SENTENCE] * 90, "url": ["u"] * 90}), row_group_size=30),
    "a.html": PAGE,
}


@pytest.mark.parametrize(("name", "pack"), [("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.ndjson.zst", zst)])
def test_json_lines(name: str, pack: Callable[[bytes], bytes]) -> None:
    lines = [
        b'\xef\xbb\xbf{"text": "one  two", "url": " http://a/ ", "when": "2021-05-06T07:08:09+02:00", "name": "T"}',
        b"",
        b"no json",
        b'{"url": "http://b/"}',
        b'{"text": 5}',
        b'{"text": null}',
        b'{"text": "  "}',
        b'{"text": "a\\ud800b\\u0000c", "when": 1e99}',
        b'{"text": "' + b"x" * 5000 + b'"}',
        b"[" * 100_000,
        b"[1]",
        b'{"html": "<main><p>' + SENTENCE.encode() + b'</p></main>"}',
        b'{"text": "last", "when": "20210506070809"}',
    ]
    rows = read(
        pack(b"\n".join(lines)), name, date_column="when", title_column="name", html_column="html", max_bytes=4000
    )
    assert [(row["offset"], row["reason"] or row["text"]) for row in rows] == [
        (0, "one two"),
        (2, "bad_record"),
        (3, "no_text_column"),
        (4, "no_text_column"),
        (5, "empty"),
        (6, "empty"),
        (7, "abc"),
        (8, "too_large"),
        (9, "too_large"),
        (10, "bad_record"),
        (11, SENTENCE.strip()),
        (12, "last"),
    ]
    assert (rows[0]["url"], rows[0]["title"]) == ("http://a/", "T")
    assert [str(rows[n]["fetched_at"]) for n in (0, 6, 11)] == [
        "2021-05-06 05:08:09+00:00",
        "None",
        "2021-05-06 07:08:09+00:00",
    ]


def test_deep_json_is_a_bad_record() -> None:
    assert outcomes(b'{"text": "a"}\n{"text":' + b"[" * 100_000, "a.jsonl") == ["ok", "bad_record"]


def test_clipped_json_lines_give_the_lines_before_the_break() -> None:
    noise = [{"text": "".join(chr(97 + (n * k * k) % 26) for k in range(60))} for n in range(4000)]
    packed = gzip.compress("\n".join(map(json.dumps, noise)).encode())
    rows = read(packed[: len(packed) // 2], "a.jsonl.gz")
    assert rows[-1]["reason"] == "truncated"
    assert [row["offset"] for row in rows[:-1]] == list(range(len(rows) - 1))
    assert len(rows) > 100
    flipped = bytearray(packed)
    flipped[len(packed) // 2] ^= 255
    rows = read(bytes(flipped), "a.jsonl.gz")
    assert rows[-1]["reason"] in {"bad_record", "truncated"}
    assert len(rows) > 100


def test_parquet() -> None:
    table = pa.table(
        {
            "body": pa.array([f"{SENTENCE}{n}" if n % 3 else None for n in range(700)]).dictionary_encode(),
            "url": [f"http://x/{n}" for n in range(700)],
            "time": pa.array([1_600_000_000_000_000] * 700, pa.timestamp("us")),
            "more": [{"a": [1]}] * 700,
        }
    )
    rows = read(parquet(table, row_group_size=100), "a.parquet", text_column="body", date_column="time")
    assert [row["offset"] for row in rows] == list(range(700))
    assert [row["reason"] for row in rows[:3]] == ["empty", None, None]
    assert str(rows[0]["fetched_at"]) == "2020-09-13 12:26:40+00:00"
    with pytest.raises(ShardError, match="no column text"):
        read(parquet(table), "a.parquet")


def test_parquet_strings_that_are_no_utf8() -> None:
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 5)), pa.py_buffer(b"ab\xffcd")]
    )
    assert read(parquet(pa.table({"text": bad})), "a.parquet")[0]["text"] == "ab\ufffdcd"
    binary = pa.table({"text": pa.array(["größer".encode("cp1252") * 20])})
    assert read(parquet(binary), "a.parquet")[0]["text"] == "größer" * 20


def test_text_files() -> None:
    text = "Erste  Zeile\r\n\r\nZweite Größe\n".encode("cp1252")
    assert read(gzip.compress(text), "d/a.txt.gz")[0]["text"] == "Erste Zeile\nZweite Größe"
    rows = read(text, "a.txt", text_documents="line")
    assert [(row["offset"], row["text"]) for row in rows] == [(0, "Erste Zeile"), (2, "Zweite Größe")]
    assert outcomes(b"word " * 5000, "a.txt", max_bytes=2000) == ["too_large"]
    assert outcomes(b"word " * 5000 + b"\nb", "a.txt", max_bytes=2000, text_documents="line") == ["too_large", "ok"]
    assert read(PAGE, "a.htm")[0]["title"] == "A page"


def test_tables_are_bounded_in_rows_and_bytes() -> None:
    short = b'{"text": "word"}\n' * 2500
    assert [table.num_rows for table in read_documents(io.BytesIO(short), "c", "a.jsonl", ExtractConfig())] == [
        1024,
        1024,
        452,
    ]
    long = b'{"text": "' + b"word " * 180_000 + b'"}\n'
    sizes = [table.nbytes for table in read_documents(io.BytesIO(long * 40), "c", "a.jsonl", ExtractConfig())]
    assert len(sizes) > 1
    assert max(sizes) < 18 * 2**20


def test_texts_are_cut_after_a_paragraph() -> None:
    assert read(b"one two\nthree\nfour", "a.txt", max_chars=14)[0]["text"] == "one two\nthree"
    assert read(b"abcdefgh", "a.txt", max_chars=3)[0]["text"] == "abc"
