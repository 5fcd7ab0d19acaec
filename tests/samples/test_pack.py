"""The sample web is what its packer writes, and its gold files say what its crawls contain."""

from __future__ import annotations

import csv
import gzip
import html
import io
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

SAMPLES = Path(__file__).parents[2] / "samples"
LABELS = {"eng": "eng_Latn", "deu": "deu_Latn", "fra": "fra_Latn", "spa": "spa_Latn", "rus": "rus_Cyrl"}
CRAWLS = ("2024-10", "2024-11")
DAMAGED = {"truncated", "after_garbage"}
GARBLED = {"mojibake", "revisit", *DAMAGED}
KINDS = {
    *("article", "contact_details", "wrong_lang", "hostile_markup", "mixed", "mojibake", "near_duplicate"),
    *("exact_duplicate", "recrawled", "recrawled_changed", "revisit", "http_error", "soft_error", "redirect"),
    *("not_html", "empty", "very_short", "navigation", "spam", "truncated", "after_garbage"),
}


@dataclass(frozen=True)
class Seen:
    """One response, revisit or conversion record as fastwarc reads it."""

    status: str
    media_type: str
    body: bytes

    @property
    def text(self) -> str:
        charset = re.search(r"charset=([\w-]+)", self.media_type + self.body[:1000].decode("ascii", "replace"))
        page = self.body.decode(charset[1] if charset else "utf-8", "replace")
        plain = page if self.media_type == "text/plain" else html.unescape(re.sub(r"<[^>]*>", "", page))
        return re.sub(r"[ \r\n\t]+", " ", plain)


def pack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SAMPLES / "pack.py"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, encoding="utf-8")


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("**/*") if path.is_file()}


def gold(name: str) -> list[dict[str, str]]:
    with (SAMPLES / "gold" / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def page_lines(topic: str, language: str) -> list[str]:
    path = SAMPLES / "pages" / f"{topic}.{language}.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def records(path: Path, **options: object):
    """Yield a file's records up to its end, or to the garbage that only one file has."""
    stream = ArchiveIterator(io.BytesIO(path.read_bytes()), **options)
    if path.name == "sample-2024-11-00004.warc.gz":
        with pytest.raises(OSError, match="data error"):
            yield from stream
    else:
        yield from stream


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str, str], Seen]:
    kinds = WarcRecordType.response | WarcRecordType.revisit | WarcRecordType.conversion
    found: dict[tuple[str, str, str], Seen] = {}
    for path in sorted(SAMPLES.glob("crawls/*/*")):
        # Not auto_decode="all": fastwarc 2.0.1 then ends silently after a body that is both chunked and gzipped.
        for record in records(path, record_types=kinds, parse_http=True, auto_decode="transfer"):
            http = record.http_headers
            status = http.status_code if http else 200
            media_type = http.get("Content-Type", "") if http else record.headers["Content-Type"]
            key = (path.parent.name, path.name, record.headers["WARC-Target-URI"])
            assert key not in found
            body = record.reader.read()
            gzipped = http and http.get("Content-Encoding") == "gzip"
            found[key] = Seen(str(status), media_type, gzip.decompress(body) if gzipped else body)
    return found


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    assert pack("--output", str(folder)).returncode == 0
    return folder


def test_two_runs_write_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    assert pack("--output", str(tmp_path)).returncode == 0
    assert files_below(tmp_path) == files_below(packed)


def test_the_committed_files_are_what_the_packer_writes(packed: Path) -> None:
    result = pack("--check")
    assert result.returncode == 0, result.stdout
    committed = {name for part in ("crawls", "gold") for name in files_below(SAMPLES / part)}
    assert committed == {name.partition("/")[2] for name in files_below(packed)}


def test_check_names_files_that_are_changed_missing_or_left_over(packed: Path, tmp_path: Path) -> None:
    for name, content in files_below(packed).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with (tmp_path / "gold/pairs.tsv").open("ab") as file:
        file.write(b"x\n")
    (tmp_path / "crawls/2024-11/sample-2024-11-00000.warc.gz").unlink()
    (tmp_path / "crawls/2024-11/old.warc").touch()
    result = pack("--check", "--output", str(tmp_path))
    assert result.returncode == 1
    assert result.stdout.splitlines()[:3] == [
        "crawls/2024-11/old.warc",
        "crawls/2024-11/sample-2024-11-00000.warc.gz",
        "gold/pairs.tsv",
    ]


def test_pages_are_well_formed_and_translations_aligned() -> None:
    shapes: dict[str, set[tuple[bool, ...]]] = {}
    per_language: Counter[str] = Counter()
    for path in SAMPLES.glob("pages/*.txt"):
        topic, language = path.stem.split(".")
        lines = path.read_text(encoding="utf-8").splitlines()
        sentences = [line for line in lines[2:] if line not in {"", "~"}]
        assert lines[0].strip(), path.name
        assert lines[1] == "", path.name
        assert 10 <= len(sentences) <= 25, path.name
        assert all(line == line.strip() and "\t" not in line for line in lines), path.name
        shapes.setdefault(topic, set()).add(tuple(not line for line in lines))
        per_language[language] += 1
    assert set(per_language) == set(LABELS)
    assert min(per_language.values()) >= 24
    assert [topic for topic, found in shapes.items() if len(found) != 1] == []


def test_every_record_in_the_crawls_is_in_the_gold_and_the_other_way_round(seen: dict) -> None:
    rows = {(row["crawl"], row["file"], row["url"]): row["kind"] for row in gold("documents")}
    assert len(rows) == len(gold("documents"))
    unreadable = {key for key, kind in rows.items() if kind in DAMAGED}
    assert set(rows) - unreadable == set(seen) - unreadable
    assert set(rows.values()) == KINDS


def test_records_are_what_their_headers_say() -> None:
    ids, types = [], Counter()
    for path in sorted(SAMPLES.glob("crawls/*/*")):
        found = list(map(_facts, records(path, parse_http=False)))
        whole = found[:-1] if "2024-10-00005" in path.name else found
        assert whole[0][0] == "warcinfo"
        assert all(digest for _, _, digest in whole), path.name
        ids += [identifier for _, identifier, _ in whole]
        types.update(kind for kind, _, _ in whole)
    assert len(set(ids)) == len(ids)
    assert set(types) == {"warcinfo", "request", "response", "metadata", "revisit", "conversion"}
    assert types["request"] == types["response"] + types["revisit"] + 1  # the last response is cut off


def _facts(record) -> tuple[str, str, bool]:
    return record.headers["WARC-Type"], record.record_id, record.verify_block_digest()


def test_payload_digests_hold_for_bodies_that_came_in_one_piece() -> None:
    coded: Counter[tuple[str, str]] = Counter()
    for path in sorted(SAMPLES.glob("crawls/*/*")):
        for record in records(path, record_types=WarcRecordType.response, parse_http=True, auto_decode="none"):
            http = record.http_headers
            coded[http.get("Transfer-Encoding", ""), http.get("Content-Encoding", "")] += 1
            cut = "2024-10-00005" in path.name and "papiermuhle" in record.headers["WARC-Target-URI"]
            if not http.get("Transfer-Encoding") and not cut:
                assert record.verify_payload_digest(), record.headers["WARC-Target-URI"]
    assert min(coded[pair] for pair in [("chunked", ""), ("", "gzip"), ("chunked", "gzip"), ("", "")]) >= 1


def test_pairs_are_all_aligned_lines_of_the_page_files_each_once() -> None:
    topics = {path.stem.split(".")[0] for path in SAMPLES.glob("pages/*.txt")}
    for name, part in (("pairs", slice(2, None)), ("titles", slice(0, 1))):
        expected = {
            (LABELS[source], LABELS[target], left, right)
            for source, target in combinations(LABELS, 2)
            for topic in topics
            for left, right in zip(page_lines(topic, source)[part], page_lines(topic, target)[part], strict=False)
            if left and right and "~" not in {left, right}
        }
        found = [tuple(list(row.values())[:4]) for row in gold(name)]
        assert len(set(found)) == len(found)
        assert set(found) == expected


def test_the_sentences_of_pairs_first_occur_where_the_gold_says(seen: dict) -> None:
    kinds = {(row["crawl"], row["file"], row["url"]): row["kind"] for row in gold("documents")}
    readable = {crawl: [] for crawl in CRAWLS}
    for key, record in seen.items():
        if kinds[key] not in GARBLED | {"not_html"}:
            readable[key[0]].append(record.text)
    texts = {crawl: "\n".join(readable[crawl]) for crawl in CRAWLS}
    first = {row[side]: row[f"{side}_crawl"] for row in gold("pairs") for side in ("source", "target")}
    assert set(first.values()) == set(CRAWLS)
    wrong = [sentence for sentence, crawl in first.items() if sentence not in texts[crawl]]
    early = [sentence for sentence, crawl in first.items() if crawl == CRAWLS[1] and sentence in texts[CRAWLS[0]]]
    assert (wrong, early) == ([], [])


def test_copies_come_after_what_they_copy_and_are_as_alike_as_the_gold_says(seen: dict) -> None:
    order = [(row["crawl"], row["file"]) for row in gold("documents")]
    assert order == sorted(order)
    files = {(row["crawl"], row["url"]): row["file"] for row in gold("documents")}
    place = {key: number for number, key in enumerate(files)}
    degrees = Counter()
    for row in gold("duplicates"):
        copy, original = (row["crawl"], row["url"]), (row["duplicate_of_crawl"], row["duplicate_of_url"])
        assert place[original] < place[copy]
        records_of = [seen.get((crawl, files[crawl, url], url)) for crawl, url in (copy, original)]
        if records_of[0] and records_of[0].body:
            assert (records_of[0].body == records_of[1].body) == (row["degree"] == "exact"), copy
        degrees[row["degree"], row["crawl"] == row["duplicate_of_crawl"]] += 1
    assert set(degrees) == {(degree, same) for degree in ("exact", "near") for same in (True, False)}


def test_oddities_are_as_odd_as_they_should_be(seen: dict) -> None:
    by_kind: dict[str, list[Seen]] = {}
    for row in gold("documents"):
        if record := seen.get((row["crawl"], row["file"], row["url"])):
            by_kind.setdefault(row["kind"], []).append(record)
    assert {record.status for record in by_kind["http_error"]} == {"404", "503"}
    assert [record.status for record in by_kind["redirect"]] == ["301"]
    assert [record.body for record in by_kind["empty"]] == [b""]
    assert all(len(record.text) < 600 for record in by_kind["very_short"])
    assert all(re.search("Ã©|Ð\xb5", record.text) for record in by_kind["mojibake"])
    assert {record.body[:4] for record in by_kind["not_html"]} >= {b"%PDF", b"\x89PNG"}
    assert b"\x00" in by_kind["hostile_markup"][0].body
    assert b"&lt;script&gt;" in by_kind["hostile_markup"][0].body


def test_one_site_declares_its_encoding_by_header_alone_and_one_by_meta_alone(seen: dict) -> None:
    german = [record for key, record in seen.items() if "www.heimatbund-oberau.example/beitrag" in key[2]]
    russian = [record for key, record in seen.items() if "www.klub-soroga.example/index" in key[2]]
    assert all("ISO-8859-1" in record.media_type and b"charset" not in record.body for record in german)
    assert all(record.media_type == "text/html" and b"charset=windows-1251" in record.body for record in russian)
    assert all("ü" in record.text for record in german)
    assert all("Клуб" in record.text for record in russian)


def test_the_readme_gives_the_true_counts() -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8").replace(",", "")
    counts = [len(gold(name)) for name in ("documents", "duplicates", "pairs", "titles")]
    per_crawl = Counter(row["crawl"] for row in gold("documents"))
    counts += [len(list(SAMPLES.glob("pages/*.txt"))), *per_crawl.values()]
    assert [count for count in counts if not re.search(rf"\b{count}\b", readme)] == []
    short = {label: language for language, label in LABELS.items()}
    pairs = Counter(f"{short[row['source_language']]}-{short[row['target_language']]}" for row in gold("pairs"))
    assert dict(re.findall(r"^\| (\w{3}-\w{3}) \| (\d+) ", readme, re.MULTILINE)) == {
        k: str(n) for k, n in pairs.items()
    }
    degrees = Counter(row["degree"] for row in gold("duplicates"))
    assert f"`exact` {degrees['exact']} `near` {degrees['near']}" in readme
