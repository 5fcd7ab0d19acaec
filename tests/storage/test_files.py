from __future__ import annotations

import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import aiohttp
import fsspec
import pytest
from botocore.exceptions import EndpointConnectionError

from storage.errors import ConfigError, CorpusError, SourceError
from storage.files import atomic_writer, create_exclusively, locate, outside_world, read_bytes, write_bytes


def fail_half_way(filesystem, path, data, error, look=lambda: None):
    with atomic_writer(filesystem, path) as sink:
        sink.write(data)
        look()
        raise error


@contextmanager
def files_of_at_most(size):
    """A full disk, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk"),
        PermissionError("denied"),
        TimeoutError("slow"),
        EOFError("short"),
        aiohttp.ClientError("net"),
        EndpointConnectionError(endpoint_url="http://x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_outside_world_does_is_a_source_error_that_says_what_was_being_done(error):
    told = f"cannot count sheep: {type(error).__name__}: "
    with pytest.raises(SourceError, match=told) as translated, outside_world("cannot count sheep"):
        raise error
    assert translated.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        *(kind("ours") for kind in [CorpusError, *CorpusError.__subclasses__()]),
        ValueError("v"),
        KeyError("k"),
        IndexError("i"),
        TypeError("t"),
        AttributeError("a"),
        NameError("n"),
        ZeroDivisionError("z"),
        AssertionError("a"),
        RuntimeError("r"),
        MemoryError("m"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_errors_and_wrong_programs_pass_unchanged(error):
    with pytest.raises(type(error)) as passed, outside_world("cannot count sheep"):
        raise error
    assert passed.value is error


@pytest.mark.parametrize("url", ["nope://x/y", "abfs-not-installed://x"])
def test_an_unknown_kind_of_url_is_a_config_error(url):
    with pytest.raises(ConfigError, match=url):
        locate(url)


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="password") as refused:
        locate("s3://somebody:hunter2@bucket/folder")
    assert "hunter2" not in str(refused.value)
    assert locate("memory://user@container/folder")


def test_a_file_is_there_whole_after_its_block_and_not_before(root):
    filesystem, path = locate(f"{root}/folder/file")
    with atomic_writer(filesystem, path) as sink:
        sink.write(b"one ")
        assert read_bytes(filesystem, path) is None
        sink.write(memoryview(b"two"))
    assert read_bytes(filesystem, path) == b"one two"
    assert sink.bytes == 7


def test_a_block_that_fails_leaves_nothing_and_its_error_passes(root):
    filesystem, path = locate(f"{root}/folder/file")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(filesystem, path, b"half", ZeroDivisionError())
    filesystem.invalidate_cache()
    assert filesystem.find(path.rpartition("/")[0]) == []


def test_a_block_that_fails_leaves_the_earlier_file(root):
    filesystem, path = locate(f"{root}/file")
    write_bytes(filesystem, path, b"old")
    with pytest.raises(OSError, match="ours to see"):
        fail_half_way(filesystem, path, b"new", OSError("ours to see"))
    assert read_bytes(filesystem, path) == b"old"


def test_a_large_upload_that_fails_is_aborted(s3_root):
    filesystem, path = locate(f"{s3_root}/large")
    begun = []

    def uploads():
        begun.append(len(filesystem.call_s3("list_multipart_uploads", Bucket=path.split("/")[0]).get("Uploads", [])))

    with pytest.raises(ZeroDivisionError):  # s3fs holds back 50 MiB before it begins an upload
        fail_half_way(filesystem, path, bytes(51 << 20), ZeroDivisionError(), uploads)
    uploads()
    assert begun == [1, 0]
    assert read_bytes(filesystem, path) is None


def test_a_full_disk_is_a_source_error_and_leaves_nothing(tmp_path):
    filesystem, path = locate(str(tmp_path / "folder" / "file"))
    with files_of_at_most(1000), pytest.raises(SourceError, match=r"folder/file: OSError: .*File too large"):
        write_bytes(filesystem, path, bytes(1 << 20))
    assert list((tmp_path / "folder").iterdir()) == []
    with files_of_at_most(1000), pytest.raises(SourceError, match="File too large"):
        create_exclusively(filesystem, path, bytes(1 << 20))
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_file_where_a_folder_should_be_is_a_source_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    filesystem, path = locate(str(tmp_path / "file" / "below"))
    for attempt in (write_bytes, create_exclusively):
        with pytest.raises(SourceError, match="file/below"):
            attempt(filesystem, path, b"data")


def test_no_file_is_none_and_no_bucket_cannot_be_written(s3_secret):
    filesystem, path = locate("s3://there-is-no-such-bucket/file")
    assert read_bytes(filesystem, path) is None
    with pytest.raises(SourceError, match="bucket does not exist"):
        write_bytes(filesystem, path, b"data")


def test_only_the_first_creates_a_file(root):
    filesystem, path = locate(f"{root}/file")
    assert create_exclusively(filesystem, path, b"first") is True
    assert create_exclusively(filesystem, path, b"second") is False
    assert read_bytes(filesystem, path) == b"first"


def test_of_racing_creators_one_wins_and_its_bytes_stay(root):
    filesystem, path = locate(root)
    racers = 8
    with ThreadPoolExecutor(racers) as threads:
        for number in range(5):
            start = threading.Barrier(racers)

            def race(racer, file=f"{path}/{number}", start=start):
                start.wait()
                return create_exclusively(filesystem, file, b"%d" % racer)

            won = list(threads.map(race, range(racers)))
            assert sorted(won) == [False] * (racers - 1) + [True]
            assert read_bytes(filesystem, f"{path}/{number}") == b"%d" % won.index(True)
    filesystem.invalidate_cache()
    assert len(filesystem.find(path)) == 5


def test_a_small_file_is_one_request_on_s3(s3_root, caplog):
    filesystem, path = locate(f"{s3_root}/file")
    with caplog.at_level("DEBUG", "s3fs"):
        write_bytes(filesystem, path, b"data")
        assert read_bytes(filesystem, path) == b"data"
        assert create_exclusively(filesystem, path, b"data") is False
    calls = [line.split()[1] for line in caplog.messages if line.startswith("CALL: ")]
    assert calls == ["put_object", "get_object", "put_object"]


class BrokenClient:
    """An object store whose client reports a lost connection as a RuntimeError, as adlfs does."""

    protocol = ("abfs", "az")

    def fail(self, *_, **__):
        raise RuntimeError("Failed to upload block: connection reset")

    open = pipe_file = cat_file = fail

    def invalidate_cache(self):
        pass


@pytest.mark.parametrize(
    "attempt",
    [
        lambda client: write_bytes(client, "folder/file", b"data"),
        lambda client: create_exclusively(client, "folder/file", b"data"),
        lambda client: read_bytes(client, "folder/file"),
        lambda client: atomic_writer(client, "folder/file").__enter__(),
    ],
    ids=["write", "create", "read", "open"],
)
def test_what_a_client_calls_a_runtime_error_is_the_outside_world_too(attempt):
    with pytest.raises(SourceError, match="folder/file: RuntimeError: Failed to upload"):
        attempt(BrokenClient())


def test_a_secret_of_the_environment_is_not_in_an_error(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    with pytest.raises(SourceError, match=r"reading: OSError: signed with \*\*\*") as told, outside_world("reading"):
        raise OSError("signed with hunter2hunter2")
    assert told.value.__cause__ is None


def test_s3_is_found_through_the_environment_alone(s3_root):
    filesystem, path = locate(s3_root)
    write_bytes(filesystem, f"{path}/file", b"data")
    assert fsspec.open(f"{s3_root}/file").open().read() == b"data"
    assert filesystem.storage_options == {}
