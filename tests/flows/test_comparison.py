from __future__ import annotations

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from flows.comparison import SettingChange, compare, setting_changes
from flows.housekeeping import find_version, show_difference
from storage.errors import ConfigError
from storage.jobs import Job, Slot
from storage.manifest import Reference
from storage.schemas import ID, schema_of
from storage.snapshots import Draft, Snapshot, commit, latest
from storage.store import Store


def identifier(number: int) -> bytes:
    return b"%015d\0" % number  # a last byte that is lost where ids are taken for text


def rows_of(name: str, numbers) -> pa.Table:
    """A table with these ids; whatever else it has is empty or nothing."""
    schema = schema_of(name)
    ids = pa.array([identifier(one) for one in numbers], ID)
    columns = {field.name: ids if field.type == ID else pa.nulls(len(ids), field.type) for field in schema}
    return pa.table(columns, schema)


def _compute(tally, config, name, *numbers):
    yield name, rows_of(name, [int(one) for one in numbers])


def part(store: Store, name: str, partition: str, numbers, *, recipe: int = 1) -> Reference:
    inputs = (name, *map(str, numbers))
    return store.derive(Job("write", recipe, None, inputs, (Slot(name, partition),), _compute))[0]


def version(store: Store, *things: Reference, corpus="corpus", crawls=("one",), **facts) -> Snapshot:
    draft = Draft(corpus=corpus, crawls=list(crawls), things=list(things), **facts)
    return commit(store, latest(store, corpus), draft)


def test_what_was_added_and_what_became_of_each_dataset(store):
    same = part(store, "documents", "one", [1, 2])
    old = version(
        store,
        same,
        part(store, "unique_sentences", "deu_Latn/one", [1]),
        part(store, "unique_sentences", "eng_Latn/one", [1, 2]),
        part(store, "signatures", "gone", []),
    )
    new = version(
        store,
        same,
        part(store, "documents", "two", [3, 4, 5]),
        part(store, "unique_sentences", "deu_Latn/one", [1], recipe=2),
        part(store, "unique_sentences", "deu_Latn/two", [2, 3]),
        part(store, "unique_sentences", "eng_Latn/one", [3, 4]),
        crawls=("one", "two"),
    )
    found = compare(store, old, new)
    assert (found.old, found.new) == ("corpus version 1", "corpus version 2")
    assert (found.crawls_added, found.crawls_gone) == (["two"], [])
    by_name = {one.name: one for one in found.datasets}
    assert list(by_name) == ["documents", "signatures", "unique_sentences"]
    documents, sentences = by_name["documents"], by_name["unique_sentences"]
    assert (documents.rows_before, documents.rows_after) == (2, 5)
    assert 0 < documents.bytes_before < documents.bytes_after
    assert documents.bytes_before == store.manifest(same).bytes
    assert (documents.unchanged, documents.changed, documents.new, documents.gone) == (1, 0, 1, 0)
    # made by another recipe with the same content: not changed
    assert (sentences.unchanged, sentences.changed, sentences.new, sentences.gone) == (1, 1, 1, 0)
    assert by_name["signatures"].gone == 1
    assert [(one.name, one.before, one.after) for one in found.sentences] == [("deu_Latn", 1, 3), ("eng_Latn", 2, 2)]


@pytest.mark.parametrize("at_once", [1 << 25, 7, 1])
@settings(max_examples=10)
@given(before=st.sets(st.integers(0, 99)), after=st.sets(st.integers(0, 99)))
def test_pairs_gained_and_lost_are_counted_exactly(at_once, before, after):
    store = Store("memory://comparison/root")
    sides = [
        Snapshot(
            corpus="corpus",
            number=number,
            crawls=[],
            things=[Reference(**part(store, "corpus", "deu-eng", sorted(ids), recipe=number).model_dump())],
            created="2024-01-01T00:00:00Z",
            run="run",
        )
        for number, ids in enumerate((before, after), 1)
    ]
    (pair,) = compare(store, *sides, ids_at_once=at_once).pairs
    assert (pair.before, pair.after) == (len(before), len(after))
    assert (pair.gained, pair.lost) == (len(after - before), len(before - after))


def test_pairs_of_a_language_pair_that_is_new_or_gone(store):
    old = version(store, part(store, "corpus", "deu-eng", range(3)), part(store, "corpus", "deu-fra", range(5)))
    new = version(store, part(store, "corpus", "deu-fra", range(5)), part(store, "corpus", "eng-fra", range(2)))
    found = compare(store, old, new)
    assert [(one.name, one.gained, one.lost) for one in found.pairs] == [
        ("deu-eng", 0, 3),
        ("deu-fra", 0, 0),
        ("eng-fra", 2, 0),
    ]
    assert [row[""] for row in found.tables()["Sentence pairs"]] == ["deu-eng", "eng-fra"]


def test_pairs_with_the_same_content_are_not_read(store, tmp_path):
    first = part(store, "corpus", "deu-eng", range(3))
    second = part(store, "corpus", "deu-eng", range(3), recipe=2)
    for one in (first, second):
        for path in store.paths(one):
            (tmp_path / path).unlink()
    (pair,) = compare(store, version(store, first), version(store, second)).pairs
    assert (pair.before, pair.after, pair.gained, pair.lost) == (3, 3, 0, 0)


def test_a_version_does_not_differ_from_itself(store):
    only = version(store, part(store, "corpus", "deu-eng", range(3)), settings={"mine": {"k": 4}})
    found = compare(store, only, only)
    assert found.settings == []
    assert list(found.tables()) == ["Datasets"]
    assert found.lines()[1:] == ["1 of 1 parts did not change", "0 sentence pairs gained, 0 lost"]


def test_settings_that_changed_are_told_by_their_path():
    old = {
        "mine": {"k": 4, "margin": "ratio"},
        "languages": ["a", "b"],
        "pivot": None,
        "crawls": [{"name": "x", "path": "1"}],
    }
    new = {
        "mine": {"k": 8, "margin": "ratio"},
        "languages": ["a"],
        "crawls": [{"name": "y", "path": "2"}, {"name": "x", "path": "1"}],
        "filters": [{"kind": "overlap", "limit": 0.5}],
        "twice": [{"kind": "a"}, {"kind": "a"}],
    }
    assert setting_changes(old, old) == []
    assert [tuple(one.model_dump().values()) for one in setting_changes(old, new)] == [
        ("crawls[y].name", "", '"y"'),
        ("crawls[y].path", "", '"2"'),
        ("filters[overlap].kind", "", '"overlap"'),
        ("filters[overlap].limit", "", "0.5"),
        ("languages", '["a", "b"]', '["a"]'),
        ("mine.k", "4", "8"),
        ("pivot", "null", ""),
        ("twice", "", '[{"kind": "a"}, {"kind": "a"}]'),
    ]
    assert setting_changes({}, {"k": 1}) == [SettingChange(setting="k", before="", after="1")]


def test_settings_of_two_versions(store):
    old = version(store, settings={})
    new = version(store, settings={"mine": {"k": 8}})
    assert [one.setting for one in compare(store, old, new).settings] == ["mine.k"]


def test_the_markdown_says_it_and_obeys_nothing(store):
    old = version(store, part(store, "corpus", "deu-eng", [1, 2]))
    new = version(
        store,
        part(store, "corpus", "deu-eng", [2, 3, 4]),
        crawls=("one", "<b>|`two`"),
        settings={"path": "a|b`<script>"},
    )
    text = compare(store, old, new).as_markdown()
    assert text.startswith("# corpus version 2 after corpus version 1\n")
    assert "- 2 sentence pairs gained, 1 lost" in text
    assert "| deu-eng | 2 | 3 | 1 | 2 | 1 |" in text
    assert "| path |" in text
    assert not set("<>`") & set(text)


def test_a_long_table_is_cut(store):
    things = [part(store, "unique_sentences", f"x{place:03}/one", [1]) for place in range(205)]
    text = compare(store, version(store), version(store, *things)).as_markdown()
    assert "and 5 more" in text
    assert "| x199 | 0 | 1 | 1 |" in text
    assert "x200" not in text


def test_versions_go_by_number_and_corpus(store):
    first, second = version(store), version(store, settings={"a": 1})
    assert find_version(store, "1") == find_version(store, "corpus:1") == first
    assert find_version(store, "latest") == find_version(store, "corpus:latest") == second
    version(store, corpus="another")
    assert find_version(store, "another:1").corpus == "another"
    wrong = {
        "1": "could be of another, corpus; write it as another:1",
        "corpus:3": "corpus has no version 3",
        "corpus:0": "corpus has no version 0",
        "corpus:": "names no version",
        "corpus:-1": "names no version",
        "corpus:\u0663": "names no version",
        "corpus:99999999999": "names no version",
        "../corpus:1": "there is no corpus '../corpus'",
        "unknown:1": "there is another, corpus",
    }
    for text, message in wrong.items():
        with pytest.raises(ConfigError) as caught:
            find_version(store, text)
        assert message in str(caught.value)


def test_where_there_is_no_corpus_there_is_no_version(store, tmp_path):
    with pytest.raises(ConfigError, match="there is no corpus at"):
        show_difference(str(tmp_path / "nowhere"), "1", "2")
    assert not list(tmp_path.iterdir())


def test_the_comparison_in_a_terminal(store, capsys):
    version(store, part(store, "corpus", "deu-eng", [1, 2]))
    version(store, part(store, "corpus", "deu-eng", [2, 3, 4]), crawls=("one", "\x1b[31mtwo"))
    show_difference(store.root, "1", "2")
    shown = capsys.readouterr().out
    assert "corpus version 2 after corpus version 1" in shown
    assert "\x1b" not in shown
    (line,) = (line for line in shown.splitlines() if line.startswith("│ deu-eng "))
    assert line.split("│")[1:-1] == [" deu-eng ", "      2 ", "     3 ", "    1 ", "      2 ", "    1 "]


@pytest.mark.parametrize("names", [["corpus"], ["corpus", "documents"]])
def test_it_works_on_any_storage(s3_root, names):
    store = Store(s3_root)
    old = version(store, *(part(store, name, "deu-eng", [1, 2]) for name in names))
    new = version(store, *(part(store, name, "deu-eng", [2, 3, 4]) for name in names))
    (pair,) = compare(store, old, new).pairs
    assert (pair.gained, pair.lost) == (2, 1)
