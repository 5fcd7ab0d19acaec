from __future__ import annotations

import re

import pyarrow as pa
import pytest

from flows.lineage import NODES, lineage
from flows.markup import label, plain, table
from storage.jobs import Job, Slot
from storage.manifest import Artifact, Reference, Source
from storage.schemas import ID, empty
from storage.snapshots import Draft, commit, latest
from storage.store import Store


def scores(rows: int) -> pa.Table:
    ids = [b"%016d" % row for row in range(rows)]
    return pa.table(
        {"pair_id": pa.array(ids, ID), "score": pa.array([0.0] * rows, pa.float32())}, empty("pair_scores").schema
    )


def _compute(tally, config, *inputs):
    yield "pair_scores", scores(3)
    yield "document_scores", empty("document_scores")


def _files(tally, config, *inputs):
    yield "file", [b"12345"]


def derive(store: Store, name: str, partition: str, *inputs) -> Reference:
    return store.derive(Job("stage", 1, None, inputs, (Slot(name, partition),), _compute))[0]


def make(store: Store, name: str, *inputs) -> Artifact:
    return store.make(Job("stage", 1, None, inputs, (Slot(name, "corpus"),), _files))


def source(name: str) -> Source:
    return Source(url=f"file:///crawls/{name}", name=name, size=1000, digest=f"{hash(name):x}")


def version(store: Store, *things: Reference):
    return commit(store, latest(store, "corpus"), Draft(corpus="corpus", crawls=[], things=list(things)))


def drawn(markdown: str) -> tuple[dict[str, str], set[tuple[str, str]], dict[str, str]]:
    """Text of each node, the arrows between first words of nodes, and the style of each."""
    nodes = dict(re.findall(r'^  (\w+)(?:\[|\[\()"([^"\n]*)"(?:\]|\)\]):::\w+$', markdown, re.MULTILINE))
    first = {key: text.split("<br/>")[0] for key, text in nodes.items()}
    arrows = {(first[a], first[b]) for a, b in re.findall(r"^  (\w+) --> (\w+)$", markdown, re.MULTILINE)}
    styles = {first[key]: style for key, style in re.findall(r"^  (\w+)\S.*:::(\w+)$", markdown, re.MULTILINE)}
    return {first[key]: text for key, text in nodes.items()}, arrows, styles


def test_datasets_are_counted_by_name_and_joined_by_what_they_are_made_from(store):
    files = [source(f"file-{place}.warc") for place in range(3)]
    parts = [derive(store, "document_scores", f"crawl/{one.name}", one) for one in files]
    pairs = derive(store, "pair_scores", "deu-eng", tuple(parts), "a string", source("model.ftz"))
    release = make(store, "release", (pairs,))
    found = lineage(store, version(store, *parts, pairs, release))
    nodes, arrows, styles = drawn(found)
    assert nodes == {
        "document_scores": "document_scores<br/>3 parts<br/>" + nodes["document_scores"].rpartition("<br/>")[2],
        "pair_scores": "pair_scores<br/>1 part<br/>3 rows",
        "release": "release<br/>1 part<br/>5 bytes",
        "3 files": "3 files<br/>3,000 bytes",
        "model.ftz": "model.ftz<br/>1,000 bytes",
    }
    assert arrows == {
        ("3 files", "document_scores"),
        ("document_scores", "pair_scores"),
        ("model.ftz", "pair_scores"),
        ("pair_scores", "release"),
    }
    assert set(styles.values()) == {"new", "outside"}
    assert all(f"classDef {style} " in found for style in styles.values())
    assert found.startswith("```mermaid\ngraph TD\n")


def test_what_was_done_before_looks_different(store):
    old = [derive(store, "document_scores", "one"), make(store, "release")]
    run = Store(store.root, run="later")
    new = [derive(run, "document_scores", "two"), derive(run, "pair_scores", "deu-eng", old[0])]
    nodes, _, styles = drawn(lineage(store, version(run, *old, *new)))
    assert styles == {"document_scores": "partly", "release": "before", "pair_scores": "new"}
    assert nodes["document_scores"].split("<br/>")[1] == "2 parts, 1 new"
    assert set(drawn(lineage(store, latest(store, "corpus"), run="another"))[2].values()) == {"before"}


def test_an_input_that_is_gone_or_of_no_version_is_there_by_name(store):
    vocabulary = make(store, "vocabulary")
    encoder = make(store, "encoder", vocabulary)
    gone = Artifact(name="bitext", partition="x", fingerprint="0" * 32, content="c")
    another = make(store, "release", gone, encoder)
    nodes, arrows, _ = drawn(lineage(store, version(store, encoder, another)))
    assert arrows == {("vocabulary", "encoder"), ("bitext", "release"), ("encoder", "release")}
    assert nodes["bitext"] == "bitext"


def test_a_drawing_stays_small(store):
    files = [source(f"file-{place}.warc") for place in range(60)]
    things = [make(store, f"thing-{place:02}", files[place]) for place in range(60)]
    found = lineage(store, version(store, *things))
    nodes, arrows, _ = drawn(found)
    assert len(nodes) == NODES
    assert arrows
    assert found.endswith("25 more kinds of datasets are left out.")


HOSTILE = (
    'x"]; click d0 "javascript:alert(1)" `<img src=x onerror=alert(1)>`\n```\n%%{init}%% | [a](b) \x1b[31m' + "y" * 5000
)


def test_names_from_outside_cannot_leave_their_node(store):
    part = derive(store, "document_scores", "one", source(HOSTILE))
    found = lineage(store, version(store, part))
    (line,) = (line for line in found.splitlines() if line.startswith("  s0["))
    assert re.fullmatch(r'  s0\[\("[\w %=.,-]{1,60}<br/>1,000 bytes"\)\]:::outside', line)
    assert found.count("```") == 2


@pytest.mark.parametrize("text", [HOSTILE, "", "\n", "\u202eevil"])
def test_markup_is_never_obeyed(text):
    assert not set(plain(text)) & set("`<>|[]\\\n\x1b\u202e")
    assert len(plain(text)) <= 300
    assert re.fullmatch(r"[\w %=.,-]{1,60}", label(text))


def test_tables_have_a_line_per_row():
    rows = [{"name": "a|b", "rows": 1234}, {"name": "<b>", "rows": 5}]
    assert table(rows) == ["| name | rows |", "| --- | ---: |", "| a b | 1,234 |", "|  b  | 5 |"]
    assert table([]) == []
