from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pydantic import Field

from storage.errors import ConfigError, SchemaError, ShardError, SourceError
from storage.files import is_local, locate, write_bytes
from storage.fingerprint import Settings, digest
from storage.handles import SourceFile
from storage.jobs import Job, Slot
from storage.manifest import Manifest
from storage.schemas import ID, check, embeddings_schema, empty
from storage.snapshots import Draft, commit
from storage.sources import list_sources
from storage.store import Store
from storage.tables import ROW_GROUP


class Limit(Settings):
    minimum: float = 0.0
    path: str = Field(default="here", description="Where it lies")


def scores(*values: float) -> pa.Table:
    ids = pa.array([b"%016d" % row for row in range(len(values))], ID)
    return check("pair_scores", pa.table({"pair_id": ids, "score": pa.array(values, pa.float32())}))


def many_scores() -> pa.Table:
    """A row group and a half, so that the first of it is on its way to the store before the last is made."""
    return scores(*np.linspace(0, 1, ROW_GROUP + ROW_GROUP // 2))


class Once:
    """A job's function that counts its calls; a second one is an error in most tests."""

    def __init__(self, *produced, error=None):
        self.produced, self.error, self.calls = produced, error, 0

    def __call__(self, tally, settings, *inputs):
        self.calls += 1
        self.inputs = inputs
        yield from self.produced
        if self.error:
            raise self.error


def scoring(compute, *inputs, settings=None, version=1, **options) -> Job:
    return Job("score", version, settings, inputs, (Slot("pair_scores", "deu-eng"),), compute, **options)


def artifact_of(compute, *inputs) -> Job:
    return Job("train", 1, None, inputs, (Slot("encoder", "small"),), compute)


def listing(store: Store) -> dict[str, tuple[object, ...]]:
    """Every file below the root, with all that changes when it is written again."""
    filesystem, root = store.place()
    filesystem.invalidate_cache()
    facts = filesystem.find(root, detail=True)
    return {
        path: tuple(one.get(key) for key in ("size", "mtime", "ino", "created", "LastModified", "ETag"))
        for path, one in facts.items()
    }


def contents(store: Store) -> dict[str, bytes]:
    filesystem, _ = store.place()
    return {path: filesystem.cat_file(path) for path in listing(store)}


# -- done, and not done again


def test_what_is_derived_can_be_read(any_store):
    [dataset] = any_store.derive(scoring(Once(("pair_scores", scores(0.5, 0.25)))))
    assert any_store.read(dataset).equals(scores(0.5, 0.25), check_metadata=True)
    assert (dataset.name, dataset.partition, dataset.rows) == ("pair_scores", "deu-eng", 2)


def test_a_second_derive_computes_nothing_and_writes_nothing(any_store):
    once = Once(("pair_scores", scores(0.5)))
    first = any_store.derive(scoring(once))
    before = listing(any_store)
    again = Store(any_store.root, run="another")
    assert again.derive(scoring(once)) == first
    assert listing(again) == before
    assert len(before) == 2
    assert once.calls == 1


def test_a_manifest_tells_what_was_done(any_store):
    [dataset] = any_store.derive(
        scoring(Once(("pair_scores", scores(0.5, 0.25))), "input", settings=Limit(minimum=0.1))
    )
    manifest = any_store.manifest(dataset)
    assert (manifest.stage, manifest.version, manifest.inputs) == ("score", 1, ["input"])
    assert manifest.settings == {"minimum": 0.1, "path": "here"}
    assert manifest.run == any_store.run
    assert manifest.started <= manifest.finished
    assert set(manifest.software) == {"babelmill", "pyarrow", "polars", "torch"}
    [shard], [path] = manifest.shards, any_store.paths(dataset)
    data = locate(any_store.root)[0].cat_file(path)
    assert (
        (shard.rows, shard.bytes, shard.digest)
        == (2, len(data), digest(data))
        == (manifest.rows, manifest.bytes, digest(data))
    )


def test_equal_jobs_of_two_runs_write_equal_bytes(tmp_path):
    shards = []
    for run in ("one", "two"):
        store = Store(str(tmp_path / run), run=run)
        [dataset] = store.derive(scoring(Once(("pair_scores", many_scores()))))
        shards.append([shard.digest for shard in store.manifest(dataset).shards])
    assert shards[0] == shards[1]


@pytest.mark.parametrize(
    "changed",
    [
        scoring(Once(), "input", settings=Limit(minimum=0.5)),
        scoring(Once(), "input", settings=Limit(path="there")),
        scoring(Once(), "input", settings=Limit(), version=2),
        scoring(Once(), "another input", settings=Limit()),
        scoring(Once(), ("input",), settings=Limit()),
        Job("another", 1, Limit(), ("input",), (Slot("pair_scores", "deu-eng"),), Once()),
        Job("score", 1, Limit(), ("input",), (Slot("pair_scores", "eng-fra"),), Once()),
    ],
    ids=["setting", "path", "version", "input", "group", "stage", "partition"],
)
def test_what_changes_a_result_makes_a_new_fingerprint(store, changed):
    [old] = store.derive(scoring(Once(("pair_scores", scores(1))), "input", settings=Limit()))
    [new] = store.derive(changed)
    assert new.fingerprint != old.fingerprint
    assert (old.rows, new.rows) == (1, 0)


def test_transient_settings_change_nothing(store):
    once = Once(("pair_scores", scores(1)))
    here, there = (
        scoring(once, settings=Limit(path=path), transient=frozenset({"path"})) for path in ("here", "there")
    )
    assert store.derive(here) == store.derive(there)
    assert once.calls == 1


def test_a_dataset_as_an_input_counts_by_its_content(store):
    [one] = store.derive(scoring(Once(("pair_scores", scores(1))), "a"))
    [other] = store.derive(scoring(Once(("pair_scores", scores(2))), "b"))
    [same] = store.derive(scoring(Once(("pair_scores", scores(1))), "c"))
    assert one.fingerprint != same.fingerprint
    assert (one.content == same.content, one.content == other.content) == (True, False)
    names = {
        scoring(Once(), *inputs).fingerprint(Slot("pairs", "p"))
        for inputs in ((one,), (other,), ((one,),), (one, other), ((one, other),))
    }
    assert len(names) == 5
    assert scoring(Once(), one).fingerprint(Slot("pairs", "p")) == scoring(Once(), same).fingerprint(Slot("pairs", "p"))
    with pytest.raises(ValueError, match="is not finished"):
        scoring(Once(), one.model_copy(update={"content": ""})).fingerprint(Slot("pairs", "p"))


def test_of_two_slots_only_the_missing_one_is_written(any_store):
    slots = (Slot("pair_scores", "a"), Slot("pair_scores", "b", key="other"))
    once = Once(("pair_scores", scores(1)), ("other", scores(1, 2)), ("nobody's", scores(1, 2, 3)))
    job = Job("score", 1, None, (), slots, once)
    one, two = any_store.derive(job)
    assert (one.rows, two.rows) == (1, 2)
    filesystem, root = any_store.place()
    filesystem.rm_file(f"{root}/{two.folder}/manifest.json")
    before = listing(any_store)
    assert Store(any_store.root, run="again").derive(job) == [one, two]
    changed = {path.rpartition("/")[0] for path, facts in listing(any_store).items() if before.get(path) != facts}
    assert changed == {f"{root}/{two.folder}"}
    assert any_store.read(two).num_rows == 2


# -- crashes


def test_a_crash_leaves_no_manifest_and_a_rerun_completes(any_store):
    crashing = scoring(Once(("pair_scores", many_scores()), error=RuntimeError("bug")))
    with pytest.raises(RuntimeError, match="bug"):
        any_store.derive(crashing)
    assert any_store.finished(crashing, crashing.outputs[0]) is None
    assert not any(path.endswith("manifest.json") for path in listing(any_store))
    [dataset] = any_store.derive(scoring(Once(("pair_scores", many_scores()))))
    assert any_store.read(dataset).equals(many_scores())


@pytest.mark.parametrize("data", [b"{}", b'{"reference": 1}', b"\xff not JSON"])
def test_a_manifest_of_another_version_or_a_damaged_one_is_refused_with_what_to_do(store, data):
    [made] = store.derive(scoring(Once(("pair_scores", scores(1.0)))))
    filesystem, root = store.place()
    write_bytes(filesystem, f"{root}/{made.folder}/manifest.json", data)
    with pytest.raises(ConfigError, match="another version of babelmill wrote it; remove that folder"):
        Store(store.root).derive(scoring(Once()))


def test_leftovers_are_invisible(any_store):
    [dataset] = any_store.derive(scoring(Once(("pair_scores", scores(1)))))
    filesystem, root = any_store.place()
    [part] = any_store.paths(dataset)
    filesystem.pipe_file(f"{root}/{dataset.folder}/part-00000-crashed.parquet", filesystem.cat_file(part))
    filesystem.pipe_file(f"{root}/{dataset.folder}/part-00001-crashed.parquet.tmp", b"PAR1")
    assert any_store.paths(dataset) == [part]
    assert any_store.read(dataset).num_rows == 1


DYING = """
import os, signal, sys
from tests_of_a_crash import many_scores
from storage.jobs import Job, Slot
from storage.store import Store

def compute(tally, settings):
    yield "pair_scores", many_scores()
    DIE

Store(ROOT, run="died").derive(Job("score", 1, None, (), (Slot("pair_scores", "deu-eng"),), compute))
"""


@pytest.mark.parametrize(
    ("die", "code"), [("os._exit(7)", 7), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)]
)
def test_a_process_that_dies_in_the_middle_of_a_shard_leaves_nothing_visible(tmp_path, die, code):
    (tmp_path / "tests_of_a_crash.py").symlink_to(__file__)
    store = Store(str(tmp_path / "root"))
    program = DYING.replace("DIE", die).replace("ROOT", repr(store.root))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == code
    [leftover] = listing(store)
    assert leftover.endswith(".tmp")
    assert os.path.getsize(leftover) > 0
    job = scoring(Once(("pair_scores", many_scores())))
    assert store.finished(job, job.outputs[0]) is None
    [dataset] = store.derive(job)
    assert store.read(dataset).equals(many_scores())
    assert leftover not in store.paths(dataset)


def test_a_reference_to_nothing_is_a_source_error(any_store):
    [dataset] = any_store.derive(scoring(Once()))
    gone = dataset.model_copy(update={"fingerprint": "0" * 32})
    for use in (any_store.manifest, any_store.read, any_store.paths):
        with pytest.raises(SourceError, match=r"pair_scores deu-eng .*is not in"):
            use(gone)


# -- contracts


@pytest.mark.parametrize("before", [(), (("pair_scores", many_scores()),)], ids=["at once", "in the middle of a shard"])
def test_a_wrong_table_is_a_schema_error_and_nothing_is_finished(any_store, before):
    with pytest.raises(SchemaError, match="pair_scores: expected columns"):
        any_store.derive(scoring(Once(*before, ("pair_scores", empty("pairs")))))
    assert not any(path.endswith("manifest.json") for path in listing(any_store))


@pytest.mark.parametrize("partition", ["..", "a/../../b", "/etc", "", ".hidden", "a//b", "a b"])
@pytest.mark.parametrize("name", ["pair_scores", "encoder"])
def test_a_partition_outside_the_root_is_refused_before_any_work(store, tmp_path, name, partition):
    once = Once()
    with pytest.raises(ValueError, match="may hold letters"):
        store.derive(Job("score", 1, None, (), (Slot(name, partition),), once))
    assert once.calls == 0
    assert list(tmp_path.iterdir()) == []


# -- what a job gets and what it counts


def test_inputs_arrive_as_handles(any_store, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"text")
    [source] = list_sources(any_store, str(tmp_path / "a.txt"), "path")
    [dataset] = any_store.derive(scoring(Once(("pair_scores", scores(1, 2)))))
    [model] = any_store.derive(artifact_of(Once(("weights", [b"1", b"2"]))))
    taking = Once()
    any_store.derive(scoring(taking, dataset, (dataset, dataset), model, source, "text", ()))
    rows, group, files, file, text, nothing = taking.inputs
    assert rows.read(["score"])["score"].to_pylist() == [1, 2]
    assert [batch.num_rows for batch in group[1].batches(rows=1)] == [1, 1]
    assert files.read() == {"weights": b"12"}
    with SourceFile(source).open() as one, file.open() as other:
        assert one.read() == other.read() == b"text"
    assert (text, nothing) == ("text", [])


def test_rows_in_and_dropped_are_counted(store):
    def drop(tally, settings, left, right, others):
        tally["short"] += 2
        tally.update({"long": 1})
        yield "pair_scores", scores(1)

    [one] = store.derive(scoring(Once(("pair_scores", scores(1, 2))), "a"))
    [two] = store.derive(scoring(Once(("pair_scores", scores(1, 2, 3))), "b"))
    beside = Job("pair", 1, None, (), (Slot("bitext", "p"),), Once())
    manifest = store.manifest(store.derive(scoring(drop, one, (two,), tuple(store.derive(beside))))[0])
    assert (manifest.rows_in, manifest.rows) == (5, 1)
    assert manifest.dropped == {"long": 1, "short": 2}


def test_a_dataset_beside_the_first_is_not_counted_in(store):
    [one] = store.derive(scoring(Once(("pair_scores", scores(1, 2))), "a"))
    [text] = store.derive(
        Job(
            "collect",
            1,
            None,
            (),
            (Slot("bitext", "p"),),
            Once(("bitext", empty("bitext").from_pylist([{"source": "a"}], empty("bitext").schema))),
        )
    )
    assert text.rows == 1
    assert store.manifest(store.derive(scoring(Once(), one, text))[0]).rows_in == 2


def test_some_rows_and_columns_can_be_read(any_store):
    [dataset] = any_store.derive(scoring(Once(("pair_scores", many_scores()))))
    assert any_store.read(dataset, ["score"]).equals(many_scores().select(["score"]))
    batches = list(any_store.rows(dataset).batches(["score", "pair_id"], rows=10_000))
    assert pa.concat_tables(batches).equals(many_scores().select(["score", "pair_id"]))
    with pytest.raises(SchemaError, match="no column margin"):
        any_store.read(dataset, ["margin"])


def test_a_dataset_may_be_empty(any_store):
    [dataset] = any_store.derive(scoring(Once()))
    assert dataset.rows == 0
    assert any_store.read(dataset).equals(empty("pair_scores"), check_metadata=True)
    assert any_store.read(dataset, ["score"]).schema.names == ["score"]
    assert [batch.num_rows for batch in any_store.rows(dataset).batches()] == []


def test_empty_embeddings_keep_their_dimension(any_store):
    job = Job(
        "embed", 1, None, (), (Slot("embeddings", "deu_Latn/crawl"),), Once(("embeddings", empty("embeddings", 7)))
    )
    [dataset] = any_store.derive(job)
    assert any_store.read(dataset).schema.equals(embeddings_schema(7), check_metadata=True)
    assert any_store.read(dataset, ["vector"]).schema.field("vector").type.byte_width == 14


def test_embeddings_without_any_table_are_refused(store):
    with pytest.raises(SchemaError, match="dimension"):
        store.derive(Job("embed", 1, None, (), (Slot("embeddings", "p"),), Once()))


# -- artifacts


def test_an_artifact_is_named_files_and_done_once(any_store):
    once = Once(("model.bin", [b"12", b"34"]), ("words/list.txt", iter([b"a"])), ("empty", []))
    [artifact] = any_store.derive(artifact_of(once))
    assert any_store.files(artifact).read() == {"model.bin": b"1234", "words/list.txt": b"a", "empty": b""}
    assert next((shard.bytes, shard.digest) for shard in any_store.manifest(artifact).shards) == (4, digest(b"1234"))
    before = listing(any_store)
    assert any_store.derive(artifact_of(once)) == [artifact]
    assert any_store.make(artifact_of(once)) == artifact
    assert listing(any_store) == before


def test_an_artifact_that_fails_half_way_is_not_there(any_store):
    def chunks():
        yield b"half"
        raise RuntimeError("bug")

    failing = artifact_of(Once(("first", [b"whole"]), ("second", chunks())))
    with pytest.raises(RuntimeError, match="bug"):
        any_store.derive(failing)
    assert any_store.finished(failing, failing.outputs[0]) is None
    assert [path.rpartition("/")[2] for path in listing(any_store)] == ["first"]


@pytest.mark.parametrize("file", ["../outside", "/etc/passwd", "a/../../b", "", "."])
def test_a_file_of_an_artifact_cannot_leave_its_folder(store, tmp_path, file):
    with pytest.raises(ValueError, match="may hold letters"):
        store.derive(artifact_of(Once((file, [b"x"]))))
    assert list(tmp_path.rglob("*")) == []


def test_a_url_says_where_a_thing_is(any_store):
    [artifact] = any_store.derive(artifact_of(Once(("model.bin", [b"1"]))))
    filesystem, path = locate(f"{any_store.url(artifact)}/model.bin")
    assert filesystem.cat_file(path) == b"1"
    assert ("://" in any_store.url(artifact)) is not is_local(filesystem)


# -- unusable files


def test_an_unusable_file_is_quarantined_with_the_rows_before_it_and_not_tried_again(any_store, tmp_path):
    (tmp_path / "bad.warc").write_bytes(b"junk")
    sources = tuple(list_sources(any_store, str(tmp_path / "bad.warc"), "path"))
    once = Once(("pair_scores", scores(1, 2)), error=ShardError("not a WARC file"))
    [dataset] = any_store.derive(scoring(once, sources))
    [quarantined] = any_store.manifest(dataset).quarantined
    assert (quarantined.file, quarantined.reason) == ("bad.warc", "not a WARC file")
    assert any_store.read(dataset).equals(scores(1, 2))
    before = listing(any_store)
    assert any_store.derive(scoring(once, sources)) == [dataset]
    assert listing(any_store) == before
    assert once.calls == 1


def test_a_file_unusable_from_the_start_is_an_empty_dataset(store):
    [dataset] = store.derive(scoring(Once(error=ShardError("empty")), "crawl"))
    assert store.read(dataset).num_rows == 0
    assert [one.file for one in store.manifest(dataset).quarantined] == ["deu-eng"]


# -- the root


def test_a_store_is_picklable_and_holds_no_more_than_it_was_given(any_store):
    [dataset] = any_store.derive(scoring(Once(("pair_scores", scores(1)))))
    again = pickle.loads(pickle.dumps(any_store))
    assert again == any_store
    assert again.read(dataset).num_rows == 1
    assert pickle.loads(pickle.dumps(any_store.rows(dataset))).read().num_rows == 1


def test_a_root_that_can_be_written_stays_as_it_was(any_store):
    any_store.check_writable()
    assert listing(any_store) == {}


@pytest.mark.parametrize("below", ["", "/folder"])
def test_a_root_that_cannot_be_written_is_a_config_error(tmp_path, below):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"root: cannot write to .*file.*choose another root"):
        Store(f"{tmp_path / 'file'}{below}").check_writable()


def test_a_bucket_that_is_not_there_is_a_config_error(s3_secret):
    with pytest.raises(ConfigError, match=r"root: cannot write to s3://there-is-no-such-bucket/root"):
        Store("s3://there-is-no-such-bucket/root").check_writable()


def test_an_unknown_kind_of_root_is_a_config_error():
    with pytest.raises(ConfigError, match="nope"):
        Store("nope://somewhere").check_writable()


def test_no_secret_is_ever_written(s3_root, s3_secret):
    store = Store(s3_root)
    write_bytes(*locate(f"{s3_root}/crawl/a.txt"), b"text")
    sources = tuple(list_sources(store, f"{s3_root}/crawl", "path"))
    [dataset] = store.derive(
        scoring(Once(("pair_scores", scores(1))), sources, settings=Limit(path=f"{s3_root}/crawl"))
    )
    commit(store, None, Draft(corpus="corpus", crawls=["crawl"], things=[dataset]))
    secrets = [os.environ[name].encode() for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")]
    assert s3_secret.encode() in secrets
    written = [*contents(store).values(), pickle.dumps(store), repr(store).encode(), pickle.dumps(dataset)]
    assert len(written) == 5 + 3
    assert not [secret for secret in secrets for data in written if secret in data]


def test_every_file_is_where_the_data_model_says(store):
    [dataset] = store.derive(scoring(Once(("pair_scores", scores(1)))))
    [model] = store.derive(artifact_of(Once(("model.bin", [b"1"]))))
    commit(store, None, Draft(corpus="corpus", crawls=[], things=[dataset, model]))
    found = Counter(path.removeprefix(f"{store.place()[1]}/").split("/")[0] for path in listing(store))
    assert found == {"datasets": 2, "artifacts": 2, "snapshots": 1}
    manifest = Manifest.model_validate_json(contents(store)[f"{store.url(dataset)}/manifest.json"])
    assert manifest.reference.folder == dataset.folder
    assert [shard.path for shard in manifest.shards] == [f"part-00000-{store.run}.parquet"]
