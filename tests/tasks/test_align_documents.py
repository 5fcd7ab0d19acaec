"""Documents of two languages through matching and alignment on a real store, with the encoder that comes with it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from encoder.registry import load_encoder
from storage.errors import ConfigError
from storage.fingerprint import digest
from storage.ids import content_id
from storage.jobs import Job, Slot
from storage.schemas import ID, conform, embeddings_schema, empty
from storage.store import Index, Store
from tasks.align_documents import align_documents
from tasks.embed_sentences import EncoderReference, embedding_table
from tasks.match_documents import LanguageSide, in_batches, match_documents
from tasks.similarity.document_alignment import AlignConfig
from tasks.similarity.document_matching import MatchConfig

PAIR = "deu_Latn-eng_Latn"
LANGUAGES = PAIR.split("-")
MATCHING, ALIGNING = MatchConfig(), AlignConfig()
ENCODER = EncoderReference(name="default", fingerprint="default")

CAKE = (
    [
        "Der Kuchen wird mit Butter und Zucker gebacken.",
        "Der Ofen muss sehr heiß sein.",
        "Nach einer Stunde ist der Kuchen fertig.",
    ],
    ["The cake is baked with butter and sugar.", "The oven must be very hot.", "After an hour the cake is ready."],
)
TRAIN = (
    [
        "Der Zug fährt jeden Morgen nach Berlin.",
        "Die Fahrkarte kostet zwanzig Euro.",
        "Der Bahnhof liegt am Fluss.",
        "Heute regnet es.",
    ],
    [
        "The train goes to Berlin every morning. The ticket costs twenty euros.",
        "The station is by the river.",
        "Today it is raining.",
    ],
)
ELECTION = (
    ["Der Präsident hat die Wahl gewonnen.", "Das Parlament stimmte über das Gesetz ab."],
    ["The president has won the election.", "Parliament voted on the law."],
)


@cache
def encoder():
    return load_encoder("default")


def doc(name):
    return content_id(name)


def page(name, language, url, sentences):
    return {"name": name, "language": LANGUAGES[language], "url": url, "sentences": sentences}


FIRST = [
    page("kuchen", 0, "https://a.example/de/kuchen", CAKE[0]),
    page("cake", 1, "https://a.example/en/kuchen", CAKE[1]),
    page("zug", 0, "https://a.example/der-zug", TRAIN[0]),
    page("train", 1, "https://a.example/the-train", TRAIN[1]),
    page("fremd", 1, "https://b.example/en/kuchen", CAKE[1]),
]
SECOND = [
    page("wahl", 0, "https://a.example/de/wahl", [CAKE[0][0], *ELECTION[0]]),
    page("election", 1, "https://a.example/en/wahl", [CAKE[1][0], *ELECTION[1]]),
]


def put(store, name, partition, table):
    """A finished dataset with these rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    told = digest(sink.getvalue().to_pybytes())
    return store.derive(Job("put", 1, None, (told,), (Slot(name, partition),), lambda *_: [(name, table)]))[0]


def sentence_rows(pages, language):
    return [
        {
            "sentence_id": content_id(language, text),
            "doc_id": doc(one["name"]),
            "position": position,
            "confidence": 1.0,
            "text": text,
            "pii": [],
        }
        for one in pages
        if one["language"] == language
        for position, text in enumerate(one["sentences"])
    ]


def crawled(store, crawl, pages, earlier=None):
    """What a crawl has: its kept documents and both languages' sides, in two crawl files."""
    kept = []
    for place, some in enumerate((pages[::2], pages[1::2])):
        rows = [
            {
                "doc_id": doc(one["name"]),
                "language": one["language"],
                "confidence": 1.0,
                "url": one["url"],
                "title": "",
                "text": "",
            }
            for one in some
        ]
        kept.append(
            put(
                store,
                "kept_documents",
                f"{crawl}/{place}",
                conform("kept_documents", pa.Table.from_pylist(rows, empty("kept_documents").schema)),
            )
        )
    sides = []
    for place, language in enumerate(LANGUAGES):
        parts = [sentence_rows(some, language) for some in (pages[::2], pages[1::2])]
        sentences = [
            put(
                store,
                "sentences",
                f"{language}/{crawl}/{part}",
                conform("sentences", pa.Table.from_pylist(rows, empty("sentences").schema)),
            )
            for part, rows in enumerate(parts)
        ]
        before = earlier[1][place].embeddings if earlier else []
        known = {one for part in before for one in store.read(part)["sentence_id"].to_pylist()}
        new = {row["sentence_id"]: row["text"] for rows in parts for row in rows if row["sentence_id"] not in known}
        table = (
            embedding_table(pa.chunked_array([pa.array(list(new), ID)]), encoder().encode(list(new.values())))
            if new
            else embeddings_schema(encoder().dimension).empty_table()
        )
        sides.append(LanguageSide(sentences, [*before, put(store, "embeddings", f"{language}/{crawl}", table)]))
    return kept, sides


def matches_of(store, crawl, world, config=MATCHING, **options):
    kept, sides = world
    return match_documents.fn(store, PAIR, crawl, kept, *sides, config, **options)


def pairs_of(store, matches, world, config=ALIGNING, encoder=ENCODER, **options):
    return align_documents.fn(store, matches, *world[1], (encoder, encoder), config, **options)


def named(store, dataset, pages):
    names = {doc(one["name"]): one["name"] for one in pages}
    return {
        (names[row["source_doc_id"]], names[row["target_doc_id"]], row["matched_by"])
        for row in store.read(dataset).to_pylist()
    }


def texts(store, dataset):
    """Links as the texts of both sides' sentences."""
    known = {
        content_id(language, text): text
        for one in FIRST + SECOND
        for language in LANGUAGES
        for text in one["sentences"]
    }
    return {
        (tuple(known[one] for one in row["source_ids"]), tuple(known[one] for one in row["target_ids"]))
        for row in store.read(dataset).to_pylist()
    }


@pytest.fixture
def first(store):
    return crawled(store, "one", FIRST)


def test_documents_are_matched_by_address_and_by_what_they_say_on_one_host_only(store, first):
    found = matches_of(store, "one", first)
    assert (found.name, found.partition) == ("document_pairs", f"{PAIR}/one")
    assert named(store, found, FIRST) == {("kuchen", "cake", "url"), ("zug", "train", "similarity")}
    only = matches_of(store, "one", first, MatchConfig(by_similarity=False))
    assert named(store, only, FIRST) == {("kuchen", "cake", "url")}


def test_links_name_sentences_and_those_of_several_have_texts(store, first):
    found = pairs_of(store, matches_of(store, "one", first), first)
    assert (found.name, found.partition) == ("local_pairs", f"{PAIR}/one")
    one_to_one = {((CAKE[0][row],), (CAKE[1][row],)) for row in range(3)} | {
        ((TRAIN[0][row],), (TRAIN[1][row - 1],)) for row in (2, 3)
    }
    assert texts(store, found) == one_to_one | {(tuple(TRAIN[0][:2]), tuple(TRAIN[1][:1]))}
    for row in store.read(found).to_pylist():
        is_long = len(row["source_ids"]) == 2
        assert row["source"] == (" ".join(TRAIN[0][:2]) if is_long else None)
        assert row["target"] == (TRAIN[1][0] if is_long else None)
        assert row["alignment"] > 0.3
        assert 0 < row["cosine"] <= 1


def test_a_sentence_of_an_earlier_crawl_has_its_vector_there(store, first):
    second = crawled(store, "two", SECOND, first)
    assert second[1][0].embeddings[-1].rows == 2
    found = pairs_of(store, matches_of(store, "two", second), second)
    assert texts(store, found) == {
        ((one,), (other,)) for one, other in zip(SECOND[0]["sentences"], SECOND[1]["sentences"], strict=True)
    }


def test_a_second_run_computes_nothing_and_the_order_of_files_makes_no_difference(store, first, tmp_path):
    matches = matches_of(store, "one", first)
    pairs = pairs_of(store, matches, first)
    again = Store(store.root, run="again")
    assert pairs_of(again, matches_of(again, "one", first), first) == pairs
    assert store.manifest(pairs).run == store.run
    other = Store(str(tmp_path / "other"))
    turned = crawled(other, "one", FIRST[::-1])
    found = matches_of(other, "one", turned)
    assert (found.content, pairs_of(other, found, turned).content) == (matches.content, pairs.content)


def test_little_at_a_time_gives_the_same_as_all_at_once(store, first, tmp_path):
    matches = matches_of(store, "one", first)
    whole = pairs_of(store, matches, first)
    other = Store(str(tmp_path / "other"))
    world = crawled(other, "one", FIRST)
    found = matches_of(other, "one", world, sentences_at_once=1)
    assert found.content == matches.content
    assert pairs_of(other, found, world, sentences_at_once=1).content == whole.content


@pytest.mark.parametrize(
    "pages",
    [
        FIRST[2:],  # a pair of documents is gone
        [
            *FIRST,
            page("ofen", 0, "https://a.example/de/neu", CAKE[0][1:]),
            page("oven", 1, "https://a.example/en/neu", CAKE[1][1:]),
        ],
        [FIRST[0] | {"sentences": CAKE[0][:2]}, *FIRST[1:]],  # a sentence is gone
        [*FIRST[:3], FIRST[3] | {"sentences": TRAIN[1][1:]}, FIRST[4]],
    ],
)
def test_an_update_gives_what_a_rebuild_gives(store, first, tmp_path, pages):
    matches = matches_of(store, "one", first)
    pairs = pairs_of(store, matches, first)
    things = [matches, pairs, *first[0], *(one for side in first[1] for part in side for one in part)]
    updating = Store(store.root, run="update", earlier=Index({(one.name, one.partition): one for one in things}))
    rebuilt = Store(str(tmp_path / "rebuilt"))
    results = []
    for each in (updating, rebuilt):
        world = crawled(each, "one", pages)
        results.append(pairs_of(each, matches_of(each, "one", world), world))
    assert updating.manifest(results[0]).way == "updated"
    assert results[0].content == results[1].content
    assert results[0].rows
    assert results[0].content != pairs.content


def test_links_that_did_not_change_are_copied(store, first):
    matches = matches_of(store, "one", first)
    pairs = pairs_of(store, matches, first)
    things = [matches, pairs, *first[0], *(one for side in first[1] for part in side for one in part)]
    updating = Store(store.root, run="update", earlier=Index({(one.name, one.partition): one for one in things}))
    lost = EncoderReference(name="/nowhere", fingerprint=ENCODER.fingerprint)
    fewer = crawled(updating, "one", FIRST[2:])
    found = pairs_of(updating, matches_of(updating, "one", fewer), fewer, encoder=lost)
    assert 0 < found.rows < pairs.rows
    more = crawled(updating, "one", FIRST + SECOND)
    with pytest.raises(ConfigError, match="nowhere"):
        pairs_of(updating, matches_of(updating, "one", more), more, encoder=lost)


def test_another_encoder_makes_all_links_anew(store, first):
    matches = matches_of(store, "one", first)
    pairs = pairs_of(store, matches, first)
    things = [matches, pairs, *first[0], *(one for side in first[1] for part in side for one in part)]
    updating = Store(store.root, run="update", earlier=Index({(one.name, one.partition): one for one in things}))
    other = pairs_of(updating, matches, first, encoder=EncoderReference(name="default", fingerprint="another"))
    assert updating.manifest(other).way == "computed"
    assert other.content == pairs.content


def test_documents_that_are_too_long_are_counted_and_left_out(store, first):
    matches = matches_of(store, "one", first)
    found = pairs_of(store, matches, first, AlignConfig(max_sentences=3))
    assert {row["source_doc_id"] for row in store.read(found).to_pylist()} == {doc("kuchen")}
    assert store.manifest(found).dropped == {"too long": 1}


def test_crawls_without_documents_of_a_language_have_empty_tables(store, tmp_path):
    for pages in ([], FIRST[:1], [FIRST[0], FIRST[4]]):
        other = Store(str(tmp_path / f"{len(pages)}"))
        world = crawled(other, "one", pages)
        matches = matches_of(other, "one", world)
        assert (matches.rows, pairs_of(other, matches, world).rows) == (0, 0)


def test_batches_hold_no_more_than_the_limit_unless_one_alone_does():
    sizes = np.array([3, 3, 9, 1, 2, 0, 4])
    assert [some.tolist() for some in in_batches(sizes, 6)] == [[0, 1], [2], [3, 4, 5], [6]]
    assert list(in_batches(np.array([], np.int64), 6)) == []
