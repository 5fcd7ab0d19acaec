"""A made-up crawl has what its facts and its gold say, the same each time, and babelmill reads it as it was meant."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pyarrow as pa
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from tasks.formats.documents import ExtractConfig, read_documents
from tasks.similarity.minhash import MinHashConfig, first_duplicates, signatures
from tasks.text.segmentation import split_sentences

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WORDS = {
    "text": ["Hund", "Katze", "Garten", "Brücke", "Wolke", "Turm", "Lampe", "Mühle", "Weg", "Fluss", "Dom", "Markt"],
    "eng": ["dog", "cat", "garden", "bridge", "cloud", "tower", "lamp", "mill", "way", "river", "dome", "market"],
}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """The script, loaded by its path, with its neighbours beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        spec = importlib.util.spec_from_file_location("synthetic_crawl", BENCHMARKS / "synthetic_crawl.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
        for name in ("synthetic_pages", "warc_files"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bitext(tmp_path_factory) -> Path:
    """1,100 pairs of German and English, some of which share a side, and English of another language."""
    rows = []
    for number in range(1000):
        first, second, third = number % 12, number // 12 % 12, number // 144
        german, english = (
            form.format(*(words[place] for place in (first, second, third)), number=number)
            for form, words in (
                ("Am Abend {number} sah der {0} den {1} und dann {2}.", WORDS["text"]),
                ("On evening {number} the {0} saw the {1} and then the {2}.", WORDS["eng"]),
            )
        )
        rows.append(("deu", german, english))
        if number % 10 == 0:
            rows.append(("deu", german.replace("Am Abend", "Abends am Tag"), english))
        if number % 5 == 0:
            rows.append(("fra", f"Le soir {number} est venu.", f"The evening of day {number} has come to an end."))
    rows += [("deu", "Zu kurz.", "Too short."), ("deu", "Eins ist gut. Zwei sind es auch.", "One is good. So are two.")]
    path = tmp_path_factory.mktemp("bitext") / "some.parquet"
    pl.DataFrame(rows, ["lang", "text", "eng"], orient="row").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def web(script, bitext, tmp_path_factory) -> Path:
    """Two crawls: the second has other sentences, and pages of the first."""
    folder = tmp_path_factory.mktemp("web")
    for crawl in (
        ["--crawl", "1", "--sentences", "600", "--file-bytes", "20000", "--exact", ".1", "--near", ".1"],
        ["--crawl", "2", "--sentences", "200", "--offset", "600", "--recrawl", str(folder / "crawls/1")],
    ):
        written(script, bitext, folder, *crawl)
    return folder


def written(script, bitext: Path, folder: Path, *options: str) -> None:
    script.main([str(bitext), "--output", str(folder), "--hosts", "3", "--recrawl-share", ".5", *options])


def facts(web: Path, crawl: str):
    return json.loads((web / "facts" / f"{crawl}.json").read_text())


def gold(web: Path, crawl: str) -> list[dict[str, str]]:
    with (web / "gold" / f"{crawl}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def documents(web: Path, crawl: str) -> pa.Table:
    tables = []
    for path in sorted((web / "crawls" / crawl).iterdir()):
        with path.open("rb") as stream:
            tables.extend(read_documents(stream, crawl, path.name, ExtractConfig()))
    return pa.concat_tables(tables)


def texts(web: Path, crawl: str) -> dict[str, str]:
    table = documents(web, crawl)
    return dict(zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True))


def whole_payload(record) -> bool:
    record.parse_http()
    return record.record_type == WarcRecordType.warcinfo or record.verify_payload_digest()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*") if path.is_file()}


def test_equal_options_give_equal_bytes_and_another_seed_gives_others(script, bitext, tmp_path) -> None:
    for folder, seed in (("one", "1"), ("same", "1"), ("other", "2")):
        written(script, bitext, tmp_path / folder, "--crawl", "c", "--sentences", "300", "--seed", seed)
    one, same, other = (contents(tmp_path / folder) for folder in ("one", "same", "other"))
    assert one == same
    assert set(one) == set(other)
    assert one["gold/c.tsv"] != other["gold/c.tsv"]


def test_every_page_is_kept_and_its_text_is_what_was_planted(web) -> None:
    table = documents(web, "1")
    assert set(table["reason"].to_pylist()) == {None}
    assert table.num_rows == sum(facts(web, "1")["pages"].values())
    for text in table["text"].to_pylist():
        assert "Site 0" not in text, "a footer"
        assert len(text.split("\n")) > 3


def test_files_are_bounded_and_each_record_is_a_member_of_its_own(web) -> None:
    told = facts(web, "1")["files"]
    assert len(told) > 1
    for file in told:
        path = web / "crawls/1" / file["name"]
        assert path.stat().st_size == file["bytes"] <= 20_000
        with path.open("rb") as stream:
            records = [
                (record.record_type, record.stream_pos, record.verify_block_digest(), whole_payload(record))
                for record in ArchiveIterator(stream, parse_http=False)
            ]
        assert [kind for kind, *_ in records] == [WarcRecordType.warcinfo] + [WarcRecordType.response] * file["records"]
        assert all(block and payload for *_, block, payload in records)
        data = path.read_bytes()
        starts = [place for _, place, *_ in records]
        for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
            assert gzip.decompress(data[start:end]).startswith(b"WARC/1.1\r\n")


def test_gold_pairs_stand_on_pages_and_come_out_as_sentences(web) -> None:
    found = {}
    for url, text in texts(web, "1").items():
        language = "deu_Latn" if "/deu/" in url else "eng_Latn"
        [found[url]] = split_sentences([text], [language])
    pairs = gold(web, "1")
    assert len(pairs) > 500
    for pair in pairs:
        assert pair["source"] in found[pair["source_url"]]
        assert pair["target"] in found[pair["target_url"]]


def test_sentences_come_in_the_same_order_on_both_sides_and_some_are_missing_or_merged(
    script, bitext, tmp_path
) -> None:
    options = ["--crawl", "c", "--sentences", "300", "--missing", ".1", "--merged", ".1", "--untranslated", "0"]
    written(script, bitext, tmp_path, *options)
    found, pairs = texts(tmp_path, "c"), gold(tmp_path, "c")
    merged = sum(text.count("; ") for text in found.values())
    assert 10 < merged < 60
    assert 200 < len(pairs) < 290
    for url in {pair["source_url"] for pair in pairs}:
        of_page = [
            pair for pair in pairs if pair["source_url"] == url and pair["target_url"] == url.replace("deu/", "eng/", 1)
        ]
        sources, targets = (
            sorted(of_page, key=lambda pair, side=side: found[pair[f"{side}_url"]].find(pair[side]))
            for side in ("source", "target")
        )
        assert [pair["source"] for pair in sources] == [pair["source"] for pair in targets]


def test_each_sentence_is_planted_once_and_facts_count_them(web) -> None:
    originals = {url: text for url, text in texts(web, "1").items() if "?" not in url}
    for code, label in (("deu", "deu_Latn"), ("eng", "eng_Latn")):
        pages = [text for url, text in originals.items() if f"/{code}/" in url]
        own = Counter(sentence for text in split_sentences(pages, [label] * len(pages)) for sentence in text)
        assert len(own) == facts(web, "1")["sentences"][label]
        repeated = [sentence for sentence, count in own.items() if count > 1]
        assert len(repeated) <= 3, "one of each host"


def test_copies_are_what_they_are_called(web) -> None:
    table, counts = documents(web, "1"), facts(web, "1")["pages"]
    found = dict(zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True))
    exact = [url for url in found if url.endswith("?print=1")]
    near = [url for url in found if url.endswith("?short=1")]
    assert (len(exact), len(near)) == (counts["exact_duplicate"], counts["near_duplicate"])
    assert len(exact) >= 3
    assert all(found[url] == found[url.partition("?")[0]] for url in exact)
    assert all(found[url] != found[url.partition("?")[0]] for url in near)
    config = MinHashConfig()
    hashes = signatures(table["text"].combine_chunks(), ["eng_Latn"] * table.num_rows, config)
    ids = table["doc_id"].combine_chunks()
    repeats = first_duplicates(hashes[:0], ids[:0], hashes, ids, config)
    assert len(repeats) - repeats.null_count >= len(exact) + len(near)


def test_another_crawl_has_other_sentences_and_pages_again(web) -> None:
    first, second = texts(web, "1"), texts(web, "2")
    again = set(first) & set(second)
    assert len(again) == facts(web, "2")["pages"]["recrawled"] > 3
    assert all(first[url] == second[url] for url in again)
    sides = [{pair["source"] for pair in gold(web, crawl)} for crawl in ("1", "2")]
    assert len(sides[0] & sides[1]) <= 3, "the hosts' own"


def test_what_is_no_single_fit_sentence_is_not_planted(web) -> None:
    everything = "\n".join([*texts(web, "1").values(), *texts(web, "2").values()])
    assert "Zu kurz" not in everything
    assert "Eins ist gut" not in everything


def test_more_sentences_than_there_are_and_a_full_folder_are_refused(script, bitext, web, tmp_path) -> None:
    with pytest.raises(SystemExit, match="there are only"):
        written(script, bitext, tmp_path, "--crawl", "c", "--sentences", "5000")
    with pytest.raises(SystemExit, match="not empty"):
        written(script, bitext, web, "--crawl", "1", "--sentences", "10")


def test_tsv_with_other_columns_and_another_code_for_a_language(script, bitext, tmp_path) -> None:
    table = pl.read_parquet(bitext).filter(pl.col("lang") == "deu").with_columns(lang=pl.lit("x"))
    table.rename({"lang": "l", "text": "a", "eng": "b"}).write_csv(tmp_path / "some.tsv", separator="\t")
    options = ["--columns", "l,a,b", "--source", "deu_Latn=x", "--untranslated", "0", "--crawl", "c"]
    written(script, tmp_path / "some.tsv", tmp_path, *options, "--sentences", "100")
    assert len(gold(tmp_path, "c")) > 90
