from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from prefect import flow, get_client
from prefect.blocks.system import Secret
from prefect.client.schemas.filters import LogFilter
from prefect.filesystems import LocalFileSystem, RemoteFileSystem

from flows.credentials import use_blocks
from storage.cache import opened
from storage.children import run_in_child
from storage.credentials import Credentials, in_force, without_secrets
from storage.errors import ConfigError, SourceError
from storage.files import locate, outside_world, read_bytes, write_bytes
from storage.fingerprint import digest
from storage.jobs import Job, Slot
from storage.schemas import ID, check
from storage.snapshots import corpora
from storage.sources import list_sources
from storage.store import Store

REPOSITORY = Path(__file__).parents[2]
SECRET = "the-very-secret-key-of-the-lake"


@pytest.fixture
def s3_of_blocks_only(s3_root, monkeypatch):
    """A folder on S3, and what logs in to it, which the environment no longer does."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("FSSPEC_S3", "{}")  # so that it is taken back after the test
    before = dict(fsspec.config.conf)
    fsspec.config.conf.pop("s3", None)
    client = fsspec.get_filesystem_class("s3")
    client.clear_instance_cache()  # which are logged in already
    settings = {"key": "lake-user", "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}}
    yield s3_root, settings
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    client.clear_instance_cache()


@pytest.fixture
def lake(s3_of_blocks_only, in_process):
    """A folder on S3, and the name of the block that logs in to it."""
    root, settings = s3_of_blocks_only
    RemoteFileSystem(basepath=root, settings=settings).save("lake", overwrite=True)
    return root


def scoring() -> Job:
    def compute(tally, settings, *inputs):
        table = pa.table({"pair_id": pa.array([b"%016d" % 1], ID), "score": pa.array([0.5], pa.float32())})
        yield "pair_scores", check("pair_scores", table)

    return Job("score", 1, None, (), (Slot("pair_scores", "deu-eng"),), compute)


def look(url: str) -> bytes | None:
    return read_bytes(*locate(url))


def test_a_flow_run_works_through_a_block_and_tells_nobody_the_secret(lake, caplog, tmp_path, monkeypatch):
    @flow
    def build(root: str, credentials: list[str]) -> None:
        use_blocks(credentials)
        store = Store(root, run="test")
        store.check_writable()
        store.derive(scoring())
        list_sources(store, root, "crawls.path")
        logging.getLogger("prefect").warning("after %s", in_force())

    monkeypatch.setenv("BABELMILL_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="cannot read"):
        Store(lake).derive(scoring())
    with caplog.at_level(logging.DEBUG):
        state = build(lake, ["remote-file-system/lake"], return_state=True)
    state.result()
    filesystem, root = locate(lake)
    written = {path: filesystem.cat_file(path) for path in filesystem.find(root)}
    assert len(written) >= 3
    assert not [path for path, data in written.items() if SECRET.encode() in data]
    assert "Credentials(" in caplog.text
    assert SECRET not in caplog.text
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        assert run.parameters == {"root": lake, "credentials": ["remote-file-system/lake"]}
        assert SECRET not in run.model_dump_json()
        assert SECRET not in repr(client.read_logs(LogFilter(flow_run_id={"any_": [run.id]})))


def test_children_are_logged_in_too(lake):
    file = f"{lake}/snapshots/a-corpus/000001.json"
    write_it = f"from storage.files import *; write_bytes(*locate({file!r}), b'from a child')"
    command = [sys.executable, "-c", write_it]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode == 1
    run_in_child(os.getpid, workers=1)  # so the pool's processes are older than the credentials
    use_blocks(["remote-file-system/lake"])
    subprocess.run(command, cwd=REPOSITORY, check=True)
    assert look(file) == b"from a child"
    assert run_in_child(in_force(), corpora, Store(lake), workers=1) == ["a-corpus"]


def test_a_secret_block_holds_settings_by_protocol(s3_of_blocks_only, in_process, monkeypatch):
    monkeypatch.setenv("FSSPEC_GITHUB", "{}")  # so that it is taken back after the test
    root, settings = s3_of_blocks_only
    Secret(value=json.dumps({"s3": settings, "github": {"org": "lake"}})).save("as-text", overwrite=True)
    use_blocks(["secret/as-text"])
    write_bytes(*locate(f"{root}/file"), b"data")
    assert fsspec.config.conf["github"] == {"org": "lake"}
    Secret(value={"s3": settings | {"key": "another"}}).save("as-json", overwrite=True)
    use_blocks(["secret/as-text", "secret/as-json"])
    assert look(f"{root}/file") == b"data"
    assert fsspec.config.conf["s3"]["key"] == "another"


@pytest.mark.parametrize("name", ["remote-file-system/nowhere", "no-such-type/lake", "lake", "a/b/c", ""])
def test_an_unknown_block_is_a_config_error_that_names_the_field(in_process, name):
    with pytest.raises(ConfigError, match=f"^credentials: .*{name}"):
        use_blocks([name])


@pytest.mark.parametrize("value", ["just-a-password", '{"key": "just-a-password"}', ["just-a-password"]])
def test_a_secret_that_is_no_settings_is_refused_and_not_repeated(in_process, value):
    Secret(value=value).save("wrong", overwrite=True)
    with pytest.raises(ConfigError, match="credentials: secret/wrong must hold JSON") as refused:
        use_blocks(["secret/wrong"])
    assert "just-a-password" not in str(refused.value)


def test_a_block_of_another_kind_is_refused(in_process, tmp_path):
    LocalFileSystem(basepath=str(tmp_path)).save("disk", overwrite=True)
    with pytest.raises(ConfigError, match="credentials: local-file-system/disk is neither"):
        use_blocks(["local-file-system/disk"])


def test_no_blocks_change_nothing():
    before = in_force().by_protocol
    use_blocks([])
    assert in_force().by_protocol == before


def test_credentials_say_nothing_of_themselves():
    held = Credentials({"s3": {"secret": SECRET}, "gs": {}})
    assert repr(held) == str(held) == f"{held}" == "Credentials(gs, s3)"


def test_no_secret_is_in_the_text_of_an_error_or_behind_it(s3_of_blocks_only):
    root, settings = s3_of_blocks_only
    Credentials({"s3": settings | {"token": {"private_key": "nested-secret"}}}).apply()
    text = r"^cannot read: OSError: wrong \*\*\* and \*\*\*$"
    with pytest.raises(SourceError, match=text) as told, outside_world("cannot read"):
        raise OSError(f"wrong {SECRET} and nested-secret")
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__
    assert without_secrets(f"{settings['client_kwargs']['endpoint_url']} lake root {root}").endswith(root)


@pytest.mark.parametrize(
    "settings",
    [{"client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}, {"client_kwargs": {"endpoint_url": "nonsense"}}, {}],
    ids=["nobody there", "no URL", "wrong bucket"],
)
def test_what_the_clients_say_holds_no_secret(s3_of_blocks_only, tmp_path, settings):
    _, right = s3_of_blocks_only
    Credentials({"s3": right | {"config_kwargs": {"retries": {"max_attempts": 0}}} | settings}).apply()
    with pytest.raises((SourceError, ValueError)) as told:
        write_bytes(*locate("s3://nowhere/at/all"), b"data")
    error = told.value
    while error is not None:
        assert SECRET not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


def test_a_copy_is_fetched_with_a_block_s_credentials(lake, tmp_path, monkeypatch):
    monkeypatch.setenv("BABELMILL_CACHE", str(tmp_path))
    use_blocks(["remote-file-system/lake"])
    filesystem, path = locate(f"{lake}/file")
    write_bytes(filesystem, path, b"data")
    with opened(filesystem, path, digest(b"data"), 4) as handle:
        assert handle.read() == b"data"
