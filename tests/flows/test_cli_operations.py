"""The commands of those who run babelmill day after day, as they are typed."""

from __future__ import annotations

import shutil

import pytest

from storage.snapshots import latest
from storage.store import Store
from tasks.text.removals import personal_digest


@pytest.fixture(scope="module")
def root(whole, tmp_path_factory):
    """The whole corpus in a place of its own."""
    folder = tmp_path_factory.mktemp("operated") / "root"
    shutil.copytree(whole.config.root, folder)
    return folder


def test_a_digest_is_printed_in_place_of_the_data(babelmill):
    assert babelmill.lines("digest", "Jane@Example.org") == [personal_digest("jane@example.org")]
    assert "is no e-mail address" in babelmill.refused("digest", "nothing of the kind")


def test_a_take_down_is_typed_and_its_traces_are_seen(babelmill, root, whole):
    [kept, *_] = whole.manifests("kept_documents").values()
    [url, *_] = whole.store.read(kept.finished_reference)["url"].to_pylist()
    lines = babelmill.lines("remove", "--corpus", "tiny", "--root", root, "--url", url, "--reason", "asked for")
    assert any(line.startswith("Version 2 of tiny is without them") for line in lines)
    assert any("gc --root" in line and line.endswith("--yes") for line in lines)
    assert any("first" in line for line in babelmill.lines("history", "--root", root))
    assert latest(Store(str(root)), "tiny").reason.startswith("take-down of 1")
    assert any("sentence pairs gained" in line for line in babelmill.lines("diff", "tiny:1", "tiny:2", "--root", root))
    assert any("Removals recorded: 1" in line for line in babelmill.lines("status", "--root", root))


def test_cleaning_shows_before_it_removes(babelmill, root):
    before = sum(1 for path in root.rglob("*") if path.is_file())
    lines = babelmill.lines("gc", "--root", root, "--keep", "1", "--grace-hours", "0")
    assert lines[-1] == "Nothing was removed; --yes removes it."
    assert sum(1 for path in root.rglob("*") if path.is_file()) == before
    babelmill.lines("gc", "--root", root, "--keep", "1", "--grace-hours", "0", "--yes")
    assert sum(1 for path in root.rglob("*") if path.is_file()) < before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("remove", "--corpus", "tiny"), "name what is to be removed"),
        (("remove", "--corpus", "tiny", "--host", "https://example.org/"), "host"),
        (("remove", "--corpus", "tiny", "--document", "abc"), "32 hexadecimal digits"),
        (("remove", "--corpus", "no such", "--host", "example.org"), "corpus"),
        (("gc", "--corpus", "other"), "other"),
        (("history", "--corpus", "other"), "other"),
    ],
)
def test_what_is_asked_wrongly_is_refused(babelmill, root, arguments, told):
    assert told in babelmill.refused(*arguments, "--root", root)
