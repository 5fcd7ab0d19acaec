from __future__ import annotations

import contextlib
import io
import os
import time
import uuid
from pathlib import Path

import fsspec
import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings

from storage.errors import SourceError
from storage.files import write_bytes
from storage.garbage import collect, find_garbage, versions_of
from storage.jobs import Job, Slot
from storage.leases import hold as lease
from storage.manifest import Reference
from storage.schemas import check
from storage.snapshots import Draft, Snapshot, commit, latest
from storage.store import Store

DAY = 86_400.0


def bitext(text: str) -> pa.Table:
    row = {"source_language": "deu_Latn", "target_language": "eng_Latn", "source": text, "target": text}
    return check("bitext", pa.table({name: [value] for name, value in row.items()}))


def _table(tally, config, text):
    yield "bitext", bitext(text)


def _files(tally, config, text):
    yield "folder/text.txt", [text.encode()]


def _same(tally, config, precedent, text):
    return precedent


def dataset(store: Store, partition: str, text: str, **options) -> Reference:
    return store.derive(Job("write", 1, None, (text,), (Slot("bitext", partition),), _table, **options))[0]


def artifact(store: Store, name: str, text: str) -> Reference:
    return store.make(Job("write", 1, None, (text,), (Slot(name, "corpus"),), _files))


def version(store: Store, *things: Reference, corpus: str = "corpus") -> Snapshot:
    base = latest(store, corpus)
    found = commit(store, base, Draft(corpus=corpus, crawls=["crawl"], things=list(things)))
    assert found not in (None, base)
    return found


def everything(store: Store) -> dict[str, str]:
    """All files by path, as text: of tables their rows."""
    filesystem, root = store.place()
    filesystem.invalidate_cache()
    found = {}
    for path in filesystem.find(root):
        data = filesystem.cat_file(path)
        text = str(pq.read_table(io.BytesIO(data)).to_pydict()) if path.endswith(".parquet") else data.decode()
        found[str(path).removeprefix(f"{root}/")] = text
    return found


def free(corpus: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def clean(store: Store, keep: int | None = None, only: str | None = None):
    return collect(store, lambda: find_garbage(store, keep=keep, only=only, grace_seconds=0), free)


def whole(store: Store, corpus: str = "corpus") -> bool:
    filesystem, _ = store.place()
    things = [one for snapshot in versions_of(store, corpus) for one in snapshot.things]
    return all(filesystem.exists(path) for one in things for path in store.paths(one))


def age(store: Store, days: float) -> None:
    """Make all files on disk older."""
    when = time.time() - days * DAY
    for path in Path(store.root).rglob("*"):
        os.utime(path, (when, when))


def test_what_versions_need_is_no_garbage(any_store):
    shared = dataset(any_store, "one", "shared")
    version(any_store, shared, artifact(any_store, "release", "first"))
    version(any_store, shared, artifact(any_store, "release", "second"))
    before = everything(any_store)
    assert clean(any_store).everything == []
    assert everything(any_store) == before
    assert clean(Store(any_store.root)).bytes == 0


def test_nothing_is_left_of_versions_that_were_given_up(any_store):
    shared = dataset(any_store, "one", "shared by both")
    version(any_store, shared, dataset(any_store, "two", "secret table"), artifact(any_store, "release", "secret file"))
    version(any_store, shared, dataset(any_store, "two", "public table"), artifact(any_store, "release", "public file"))
    assert any("secret" in text for text in everything(any_store).values())
    removed = clean(any_store, keep=1)
    assert [one.path for one in removed.snapshots] == ["snapshots/corpus/000001.json"]
    assert len(removed.manifests) == len(removed.files) == 2
    left = everything(any_store)
    assert not [path for path, text in left.items() if "secret" in text or path in {one.path for one in removed.files}]
    assert [one.number for one in versions_of(any_store, "corpus")] == [2]
    assert whole(Store(any_store.root))
    assert clean(any_store, keep=1).everything == []


def test_the_files_of_an_earlier_thing_stay_while_a_later_one_lists_them(any_store):
    first = dataset(any_store, "one", "text", update=_same)
    version(any_store, first)
    heir = Store(any_store.root, earlier={("bitext", "one"): first})
    second = heir.derive(Job("write", 1, None, ("other input",), (Slot("bitext", "one"),), _table, update=_same))[0]
    version(any_store, second)
    assert heir.paths(second) == any_store.paths(first)
    removed = clean(any_store, keep=1)
    assert [one.path for one in removed.manifests] == [f"{first.folder}/manifest.json"]
    assert removed.files == []
    assert Store(any_store.root).read(second)["source"].to_pylist() == ["text"]


def test_the_newest_version_of_each_corpus_stays(store):
    for corpus in ("first", "second"):
        for text in "abc":
            version(store, dataset(store, corpus, text), corpus=corpus)
    assert len(clean(store, keep=2, only="second").snapshots) == 1
    assert [one.number for one in versions_of(store, "first")] == [1, 2, 3]
    clean(store, keep=1)
    assert [one.number for corpus in ("first", "second") for one in versions_of(store, corpus)] == [3, 3]
    assert whole(store, "first")
    assert whole(store, "second")


def test_what_belongs_to_no_version_goes_but_not_while_it_is_young(store):
    version(store, dataset(store, "one", "kept"))
    lost = dataset(store, "two", "lost")
    (path,) = store.paths(lost)
    Path(f"{path}.0badcafe.tmp").write_bytes(b"half")
    Path(path).with_name("part-00000-another.parquet").write_bytes(b"of a killed run")
    assert find_garbage(store).everything == []
    assert find_garbage(store).spared == 4
    age(store, 2)
    young = dataset(store, "three", "of a run in flight")
    garbage = collect(store, lambda: find_garbage(store), free)
    assert len(garbage.everything) == 4
    assert garbage.spared == 2
    assert store.read(young)["source"].to_pylist() == ["of a run in flight"]
    assert not Path(store.root, lost.folder).parent.exists()
    assert whole(store)


def test_a_young_version_is_not_given_up(store):
    for text in "ab":
        version(store, dataset(store, "one", text))
    assert find_garbage(store, keep=1).everything == []
    age(store, 2)
    assert len(find_garbage(store, keep=1).everything) == 3


def test_a_run_in_flight_may_have_taken_over_old_files(store):
    first = dataset(store, "one", "text", update=_same)
    version(store, first)
    version(store, dataset(store, "two", "another"))
    age(store, 2)
    heir = Store(store.root, earlier={("bitext", "one"): first})
    young = heir.derive(Job("write", 1, None, ("other",), (Slot("bitext", "one"),), _table, update=_same))[0]
    garbage = collect(store, lambda: find_garbage(store, keep=1), free)
    assert len(garbage.snapshots) == len(garbage.manifests) == 1
    assert Store(store.root).read(young)["source"].to_pylist() == ["text"]


def test_encoders_stand_for_themselves_unless_a_version_had_them(store):
    own = artifact(store, "encoder", "trained by itself")
    former = artifact(store, "encoder", "trained by a build")
    lost = artifact(store, "release", "of no version")
    version(store, former)
    version(store, dataset(store, "one", "text"))
    clean(store)
    assert not Path(store.root, lost.folder).exists()
    assert store.files(former).read()
    clean(store, keep=1)
    assert not Path(store.root, former.folder).exists()
    assert store.files(own).read() == {"folder/text.txt": b"trained by itself"}


def test_nothing_outside_the_three_folders_and_nothing_foreign_goes(store):
    version(store, dataset(store, "one", "text"))
    own = [
        "sources/0.json",
        "removals/corpus/1.json",
        "rates.json",
        "leases/build/corpus.json",
        "watch/x",
        "datasets.txt",
    ]
    foreign = ["datasets/*", "datasets/notes [1].txt", "snapshots/corpus/notes.json", "snapshots/corpus/0000001.json"]
    for name in (*own, *foreign):
        path = Path(store.root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    Path(store.root, "snapshots/corpus/000002.json.0badcafe.tmp").write_text("half")
    before = everything(store)
    assert [one.path for one in clean(store).everything] == ["snapshots/corpus/000002.json.0badcafe.tmp"]
    assert everything(store).keys() == before.keys() - {"snapshots/corpus/000002.json.0badcafe.tmp"}


@pytest.mark.parametrize("place", ["datasets", "datasets/bitext", "artifacts", "snapshots/corpus"])
def test_links_are_not_followed(store, tmp_path, place):
    version(store, dataset(store, "one", "text"))
    outside = tmp_path / "outside" / "name" / "partition"
    outside.mkdir(parents=True)
    (outside / "manifest.json").write_text("{}")
    (outside / "part.parquet").write_text("precious")
    folder = Path(store.root, place)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "file.parquet").symlink_to(outside / "part.parquet")
    assert clean(store, keep=1).everything == []
    assert (outside / "part.parquet").read_text() == "precious"
    assert (folder / "file.parquet").is_symlink()


def test_a_folder_that_is_a_link_is_left_alone(store, tmp_path):
    version(store, dataset(store, "one", "text"))
    lost = dataset(store, "two", "lost")
    os.rename(f"{store.root}/datasets", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", f"{store.root}/datasets")
    assert clean(store, keep=1).everything == []
    assert store.read(lost).num_rows == 1


def test_where_something_is_missing_nothing_is_removed(store):
    kept = dataset(store, "one", "text")
    version(store, kept)
    dataset(store, "two", "lost")
    Path(store.root, kept.folder, "manifest.json").unlink()
    before = everything(store)
    with pytest.raises(SourceError, match="bitext one"):
        clean(store)
    assert everything(store) == before


def test_a_manifest_that_cannot_be_read_stops_it(store):
    version(store, dataset(store, "one", "text"))
    lost = dataset(store, "two", "of a newer babelmill")
    path = Path(store.root, lost.folder, "manifest.json")
    path.write_text('{"unknown": 1}')
    with pytest.raises(SourceError, match="nothing can be removed safely"):
        find_garbage(store)  # it is young: what it lists must stay
    age(store, 2)
    collect(store, lambda: find_garbage(store), free)
    assert not path.parent.exists()


def test_all_corpora_are_held_while_garbage_is_looked_for_and_removed(store):
    events = []

    @contextlib.contextmanager
    def hold(corpus):
        events.append(f"hold {corpus}")
        yield
        events.append(f"release {corpus}")

    def plan():
        events.append("plan")
        return find_garbage(store, grace_seconds=0)

    for corpus in ("c", "a"):
        version(store, dataset(store, corpus, "text"), corpus=corpus)
    with lease(store, "build/b", 0):  # which has no version yet
        collect(store, plan, hold)
    assert events == ["hold a", "hold b", "hold c", "plan", "release c", "release b", "release a"]


def test_nothing_is_removed_while_a_corpus_is_being_built(store):
    def busy(corpus):
        raise SourceError(f"{corpus} is held by another run")

    version(store, dataset(store, "one", "a"))
    version(store, dataset(store, "one", "b"))
    with pytest.raises(SourceError, match="corpus is held by another run"):
        collect(store, lambda: find_garbage(store, keep=1, grace_seconds=0), busy)
    assert len(versions_of(store, "corpus")) == 2
    assert whole(store)


class Journal(MemoryFileSystem):
    """A storage that writes down what is removed, and fails at will."""

    protocol = "journal"
    store: dict = {}
    pseudo_dirs = [""]
    removed: list = []
    failing: list = []

    def rm(self, path, **options):
        if any(word in one for one in path for word in self.failing):
            raise ConnectionError("storage is away")
        self.removed.extend(path)
        super().rm(path, **options)


@pytest.fixture
def journal():
    fsspec.register_implementation("journal", Journal, clobber=True)
    yield Store(f"journal://{uuid.uuid4().hex}/root")
    for things in (Journal.store, Journal.removed, Journal.failing):
        things.clear()


def test_versions_go_before_manifests_and_manifests_before_files(journal):
    for text in "ab":
        version(journal, dataset(journal, "one", text), artifact(journal, "release", text))
    clean(journal, keep=1)
    kinds = ["snapshot" if "/snapshots/" in path else path.rpartition("/")[2] for path in Journal.removed]
    assert kinds[:3] == ["snapshot", "manifest.json", "manifest.json"]
    assert len(kinds) == 5


def test_what_was_left_when_storage_failed_goes_the_next_time(journal):
    for text in "ab":
        version(journal, dataset(journal, "one", text))
    Journal.failing.append(".parquet")
    with pytest.raises(SourceError, match="storage is away"):
        clean(journal, keep=1)
    assert whole(journal)
    Journal.failing.clear()
    assert len(clean(journal).files) == 1
    assert clean(journal).everything == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6), st.integers(1, 4))
def test_kept_versions_are_whole_and_the_rest_is_gone(versions, keep):
    store = Store(f"memory://{uuid.uuid4().hex}/root")
    made = {place: artifact(store, "release", f"text {place}") for place in set().union(*versions)}
    base = None
    for numbers in versions:
        base = commit(store, base, Draft(corpus="corpus", crawls=[], things=[made[one] for one in numbers]))
    clean(store, keep=keep)
    kept = versions_of(store, "corpus")
    assert whole(store)
    assert kept[-1] == base
    assert len(kept) == min(keep, base.number)
    texts = {text for path, text in everything(store).items() if path.endswith(".txt")}
    needed = {store.files(one).read()["folder/text.txt"].decode() for snapshot in kept for one in snapshot.things}
    assert texts == needed
    assert clean(store, keep=keep).everything == []
    write_bytes(*store.place()[:1], f"{store.place()[1]}/datasets/left.tmp", b"")
    assert [one.path for one in clean(store).everything] == ["datasets/left.tmp"]
    fsspec.filesystem("memory").store.clear()
