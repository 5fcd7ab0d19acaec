"""Judgements of real sentences on a real store: what is scored, what is kept, and that an update is a rebuild."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from encoder.bilstm import BiLstmConfig, BiLstmModel
from encoder.checkpoint import pack_model
from encoder.registry import load_encoder
from storage.errors import ConfigError
from storage.fingerprint import digest
from storage.ids import content_id, joined_ids
from storage.jobs import Job, Slot
from storage.schemas import ID, conform
from storage.store import Index, Store
from tasks.embed_sentences import EncoderReference
from tasks.judge_candidates import UNJUDGED, judge_candidates
from tasks.similarity.judges import scores_by
from tasks.similarity.judging import AlignmentJudge, EncoderJudge, JudgeConfig, margins_by
from tasks.similarity.margin import margins
from tasks.similarity.neighbour_tables import merge_tables, neighbour_table, sides_of
from tasks.similarity.neighbours import neighbours

GERMAN, ENGLISH = LANGUAGES = ("deu_Latn", "eng_Latn")
PAIR = "-".join(LANGUAGES)
FIRST = (
    [
        "Der Zug fährt jeden Morgen nach Berlin.",
        "Die Fahrkarte kostet zwanzig Euro.",
        "Der Ofen muss sehr heiß sein.",
        "Nach einer Stunde ist der Kuchen fertig.",
        "Heute regnet es.",
    ],
    [
        "The train goes to Berlin every morning.",
        "The ticket costs twenty euros.",
        "The oven must be very hot.",
        "Parliament voted on the law.",
        "Click here to read more.",
    ],
)
SECOND = (
    ["Der Präsident hat die Wahl gewonnen.", "Das Parlament stimmte über das Gesetz ab."],
    ["The president has won the election.", "After an hour the cake is ready."],
)
DEFAULT = EncoderReference(name="default", fingerprint="default")
NOBODY = EncoderReference(name="no/such/folder", fingerprint="default")
JUDGES = {"alignment": AlignmentJudge(plausible=1.1), "encoder": EncoderJudge(encoder="default", plausible=1.0)}


@cache
def default_encoder():
    return load_encoder("default")


def put(store, name, partition, table):
    """A finished dataset with these rows."""
    table = conform(name, table)
    told = digest(repr(table.to_pylist()).encode())
    return store.derive(Job("put", 1, None, (told,), (Slot(name, partition),), lambda *_: [(name, table)]))[0]


def ids(language, texts):
    return pa.array([content_id(language, text) for text in texts], ID)


def sentences(store, language, crawl, texts):
    count = len(texts)
    table = pa.table(
        {
            "sentence_id": ids(language, texts),
            "text": texts,
            "confidence": pa.array([1.0] * count, pa.float32()),
            "pii": [[]] * count,
            "doc_id": ids("page", texts),
            "position": pa.array(range(count), pa.int32()),
            "occurrences": pa.array([1] * count, pa.int32()),
        }
    )
    return put(store, "unique_sentences", f"{language}/{crawl}", table)


class Corpus:
    """Crawls with their sentences of both languages and all blocks of neighbours between them."""

    def __init__(self, store, *crawls):
        self.store = store
        self.sides = [
            [sentences(store, language, f"c{number}", crawl[side]) for number, crawl in enumerate(crawls)]
            for side, language in enumerate(LANGUAGES)
        ]
        self.blocks = [
            put(store, "neighbours", f"{PAIR}/c{left}/c{right}", block(one[0], other[1]))
            for left, one in enumerate(crawls)
            for right, other in enumerate(crawls)
        ]

    def judged(self, kind="alignment", encoder=DEFAULT):
        config = JudgeConfig(judge=JUDGES[kind])
        return judge_candidates.fn(self.store, PAIR, self.blocks, *self.sides, (encoder, encoder), config)

    def things(self):
        return [*self.blocks, *self.sides[0], *self.sides[1]]


def block(sources, targets):
    vectors = (default_encoder().encode(side) for side in (sources, targets))
    both = ids(GERMAN, sources), ids(ENGLISH, targets)
    return neighbour_table(neighbours(*vectors, *both, 4), *both)


def pair_id(source, target):
    return joined_ids(ids(GERMAN, [source]), ids(ENGLISH, [target]))[0].as_py()


def later(store, *things):
    """Another run, which knows what a version of the corpus has."""
    return Store(store.root, run="later", earlier=Index({(one.name, one.partition): one for one in things}))


@pytest.mark.parametrize("kind", sorted(JUDGES))
def test_candidates_are_scored_by_the_judge_and_make_margins(store, kind):
    corpus = Corpus(store, FIRST)
    found = corpus.judged(kind)
    table = store.read(found)
    assert (found.name, found.partition) == ("pair_scores", f"{PAIR}/judge")
    assert table["pair_id"].to_pylist() == sorted(table["pair_id"].to_pylist())
    scores = dict(zip(table["pair_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    encoder = default_encoder()
    for source, target in zip(FIRST[0][:3], FIRST[1][:3], strict=True):
        texts = pa.array([source]), pa.array([target])
        alone = scores_by(JUDGES[kind], (encoder, encoder), texts, np.array([[0, 0]]))
        assert scores[pair_id(source, target)] == alone[0]
    sides = sides_of(merge_tables([block(*FIRST)], 4), 4)
    forward, _ = margins_by(table, sides, margins(sides.neighbours, "ratio"), JudgeConfig(judge=JUDGES[kind]))
    train = sides.source_ids.index(ids(GERMAN, FIRST[0])[0]).as_py()
    best = sides.neighbours.forward.rows[train, np.argmax(forward[train])]
    assert sides.target_ids[int(best)] == ids(ENGLISH, FIRST[1])[0]


def test_the_sentences_that_need_no_judge_are_counted(store):
    corpus = Corpus(store, FIRST)
    strict = JudgeConfig(judge=EncoderJudge(encoder="default", plausible=1.3))
    found = judge_candidates.fn(store, PAIR, corpus.blocks, *corpus.sides, (DEFAULT, DEFAULT), strict)
    without = store.manifest(found).dropped[UNJUDGED]
    assert 1 <= without <= len(FIRST[0]) + len(FIRST[1]) - 2
    nothing = JudgeConfig(judge=EncoderJudge(encoder="default", plausible=99.0))
    found = judge_candidates.fn(store, PAIR, corpus.blocks, *corpus.sides, (NOBODY, NOBODY), nothing)
    assert (found.rows, store.manifest(found).dropped) == (0, {UNJUDGED: len(FIRST[0]) + len(FIRST[1])})


@pytest.mark.parametrize("kind", sorted(JUDGES))
def test_a_new_crawl_is_judged_as_if_all_were_new(store, tmp_path, kind):
    before = Corpus(store, FIRST)
    known = later(store, *before.things(), before.judged(kind))
    after = Corpus(known, FIRST, SECOND)
    found = after.judged(kind)
    manifest = known.manifest(found)
    assert manifest.way == "updated"
    fresh = Store(str(tmp_path / "fresh"))
    anew = Corpus(fresh, FIRST, SECOND).judged(kind)
    assert fresh.manifest(anew).way == "computed"
    assert (found.content, found.fingerprint) == (anew.content, anew.fingerprint)
    assert manifest.dropped == fresh.manifest(anew).dropped
    ends = zip(FIRST[0][3:4] + SECOND[0][1:], SECOND[1][1:] + FIRST[1][3:4], strict=True)
    assert {pair_id(*pair) for pair in ends} <= set(fresh.read(anew)["pair_id"].to_pylist())


def test_a_crawl_that_is_gone_leaves_the_rest_as_it_was_without_an_encoder(store, tmp_path):
    before = Corpus(store, FIRST, ([""], []))
    known = later(store, *before.things(), before.judged())
    found = Corpus(known, FIRST).judged(encoder=NOBODY)
    assert known.manifest(found).way == "updated"
    assert found.content == Corpus(Store(str(tmp_path / "fresh")), FIRST).judged().content


def test_another_encoder_judges_anew(store):
    before = Corpus(store, FIRST)
    known = later(store, *before.things(), before.judged("encoder"))
    found = Corpus(known, FIRST).judged("encoder", DEFAULT.model_copy(update={"fingerprint": "another"}))
    assert known.manifest(found).way == "computed"


def test_languages_without_sentences_have_no_judgements(store):
    assert Corpus(store, ([], [])).judged(encoder=NOBODY).rows == 0
    assert Corpus(store).judged(encoder=NOBODY).rows == 0


def test_an_encoder_that_cannot_judge_is_a_matter_of_settings(store, tmp_path):
    with pytest.raises(ConfigError, match="encoder: "):
        Corpus(store, FIRST).judged(encoder=NOBODY)
    model = BiLstmModel(BiLstmConfig(layers=1, hidden=8, embedding=8), default_encoder().vocabulary.size)
    (tmp_path / "encoder").mkdir()
    for name, data in pack_model(model, default_encoder().vocabulary, max_tokens=8).items():
        (tmp_path / "encoder" / name).write_bytes(data)
    neural = EncoderReference(name=str(tmp_path / "encoder"), fingerprint="neural")
    with pytest.raises(ConfigError, match="judge: an encoder of kind bilstm has no token vectors"):
        Corpus(store, FIRST).judged(encoder=neural)
