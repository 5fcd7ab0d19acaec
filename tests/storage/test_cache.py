from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from storage.cache import cache_bound, local_path, opened
from storage.errors import ConfigError, SourceError
from storage.files import locate, write_bytes
from storage.fingerprint import digest

REPOSITORY = Path(__file__).parents[2]
KIB = 1 << 10


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder that holds at most 64 KiB."""
    monkeypatch.setenv("BABELMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BABELMILL_CACHE_GIB", str(64 / KIB / KIB))
    return tmp_path / "cache"


class Remote:
    """Files on S3, and how to open them."""

    def __init__(self, url):
        self.url = url
        self.filesystem, self.root = locate(url)

    def put(self, data, name=None):
        path = f"{self.root}/{name or digest(data)}"
        write_bytes(self.filesystem, path, data)
        return self.filesystem, path, digest(data), len(data)

    def remove(self, file):
        self.filesystem.rm_file(file[1])


@pytest.fixture
def remote(s3_root):
    return Remote(s3_root)


def read(file):
    with opened(*file) as handle:
        return handle.read()


def kept(cache):
    return {one.name: one.stat().st_size for one in cache.glob("*") if one.suffix != ".lock"}


def used_at(cache, file, seconds):
    """Pretend that a copy was used so many seconds after all began."""
    os.utime(cache / file[2], (1_000 + seconds, 1_000 + seconds))


def test_a_remote_file_is_fetched_once(remote, cache):
    file = remote.put(b"content")
    assert read(file) == b"content"
    remote.remove(file)
    assert read(file) == b"content"
    assert kept(cache) == {file[2]: 7}


def test_a_file_of_this_machine_passes_untouched(cache, tmp_path):
    for url in (str(tmp_path / "file"), "memory://folder/file"):
        filesystem, path = locate(url)
        write_bytes(filesystem, path, b"here")
        assert read((filesystem, path, "not even a digest", 4)) == b"here"
    fsspec.filesystem("memory").store.clear()
    assert not cache.exists()


def test_a_file_of_many_parts_is_whole(remote, cache, monkeypatch):
    monkeypatch.setenv("BABELMILL_CACHE_GIB", "1")
    data = os.urandom(KIB) * (66 * KIB)  # four parts of 16 MiB at once, and then a fifth
    file = remote.put(data)
    with opened(*file) as handle:
        assert digest(handle.read()) == file[2]
    assert read(remote.put(b"")) == b""
    assert kept(cache) == {file[2]: 66 * KIB * KIB, digest(b""): 0}


def test_wrong_content_is_a_source_error_that_names_the_file_and_is_not_kept(remote, cache):
    filesystem, path, true, size = remote.put(b"content", "shard.parquet")
    with pytest.raises(SourceError, match=r"shard\.parquet has changed or is damaged"):
        read((filesystem, path, digest(b"another"), size))
    assert kept(cache) == {}
    assert read((filesystem, path, true, size)) == b"content"


@pytest.mark.parametrize("wrong", ["../../etc/passwd", "", "ABC", "0" * 31])
def test_what_is_no_digest_makes_no_path(remote, cache, wrong):
    filesystem, path, _, size = remote.put(b"content")
    with pytest.raises(SourceError, match="no digest"):
        read((filesystem, path, wrong, size))
    assert not cache.exists()


def test_a_file_that_is_gone_is_a_source_error(remote, cache):
    file = remote.put(b"content", "gone.parquet")
    remote.remove(file)
    with pytest.raises(SourceError, match=r"cannot fetch .*gone\.parquet"):
        read(file)
    assert kept(cache) == {}


def test_errors_of_whoever_reads_pass(remote, cache):
    file = remote.put(b"content")
    with pytest.raises(ValueError, match="wrong row"), opened(*file):
        raise ValueError("wrong row")


def test_the_least_recently_used_goes_first(remote, cache):
    files = [remote.put(os.urandom(15 * KIB)) for _ in range(5)]
    for seconds, file in enumerate(files[:4]):
        read(file)
        used_at(cache, file, seconds)
    read(files[0])  # used anew
    read(files[4])
    assert set(kept(cache)) == {files[one][2] for one in (0, 2, 3, 4)}


def test_the_bound_is_never_passed(remote, cache):
    for size in (1, 16, 7, 12, 16, 3, 16, 9, 14):
        read(remote.put(os.urandom(size * KIB)))
        assert sum(kept(cache).values()) <= 64 * KIB


def test_a_file_of_more_than_a_quarter_of_the_bound_is_read_where_it_is(remote, cache):
    quarter, more = remote.put(os.urandom(16 * KIB)), remote.put(os.urandom(16 * KIB + 1))
    assert len(read(more)) == more[3]
    assert not cache.exists()
    assert len(read(quarter)) == quarter[3]
    assert list(kept(cache)) == [quarter[2]]


def test_nothing_turns_it_off(remote, cache, monkeypatch):
    monkeypatch.setenv("BABELMILL_CACHE_GIB", "0")
    assert read(remote.put(b"content")) == b"content"
    assert not cache.exists()


@pytest.mark.parametrize("bound", ["0", str(64 / KIB / KIB)])
def test_a_library_gets_its_file_however_large_and_though_the_cache_is_off(remote, cache, monkeypatch, bound):
    monkeypatch.setenv("BABELMILL_CACHE_GIB", bound)
    large = remote.put(os.urandom(100 * KIB))
    path = Path(local_path(*large))
    assert digest(path.read_bytes()) == large[2]
    remote.remove(large)
    assert local_path(*large) == str(path)


@pytest.mark.parametrize("wrong", ["ten", "-1", "nan", "inf"])
def test_a_bound_that_is_none_is_a_config_error(monkeypatch, wrong):
    monkeypatch.setenv("BABELMILL_CACHE_GIB", wrong)
    with pytest.raises(ConfigError, match=f"BABELMILL_CACHE_GIB .* '{wrong}'"):
        cache_bound()


def test_without_a_word_it_is_ten_gibibytes(monkeypatch):
    monkeypatch.delenv("BABELMILL_CACHE_GIB", raising=False)
    assert cache_bound() == 10 << 30


def test_an_open_file_outlives_its_copy(remote, cache):
    file = remote.put(b"content")
    with opened(*file) as handle:
        assert handle.read(3) == b"con"
        (cache / file[2]).unlink()
        assert handle.read() == b"tent"
    assert read(file) == b"content"


def test_a_damaged_copy_of_another_size_is_fetched_again(remote, cache):
    file = remote.put(b"content")
    read(file)
    (cache / file[2]).write_bytes(b"con")
    assert read(file) == b"content"
    assert kept(cache) == {file[2]: 7}


def test_a_folder_that_cannot_be_written_is_told_once_and_done_without(remote, cache, caplog):
    cache.write_text("a file where the folder should be")
    files = [remote.put(data) for data in (b"one", b"two")]
    with caplog.at_level(logging.WARNING):
        assert [read(file) for file in files] == [b"one", b"two"]
    assert [record.message for record in caplog.records] == [
        f"remote files are read without a cache: {cache}: File exists"
    ]
    with pytest.raises(SourceError, match="cannot keep a copy"):
        local_path(*files[0])


def test_what_a_dead_process_left_is_removed(remote, cache):
    cache.mkdir()
    old, new = cache / f"{digest(b'old')}.0badcafe.part", cache / f"{digest(b'new')}.0badcafe.part"
    other = cache / "encoder"
    for file in (old, new, other):
        file.write_bytes(b"half")
    for file in (old, other):
        os.utime(file, (time.time() - 4000,) * 2)
    read(remote.put(b"content"))
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_of_many_threads_one_fetches(remote, cache, caplog):
    file = remote.put(os.urandom(10 * KIB))
    with caplog.at_level(logging.DEBUG, "s3fs"), ThreadPoolExecutor(8) as threads:
        found = set(threads.map(read, [file] * 16))
    assert [digest(one) for one in found] == [file[2]]
    assert len([one for one in caplog.messages if "get_object" in one and file[2] in one]) == 1


CHILD = """
import sys
from storage.cache import opened
from storage.files import locate
from storage.fingerprint import digest

root, rounds, *files = sys.argv[1:]
filesystem, path = locate(root)
for turn in range(int(rounds)):
    for name in files if turn % 2 else reversed(files):
        with opened(filesystem, f"{path}/{name}", name, 15 * 1024) as handle:
            assert digest(handle.read()) == name
print("read")
"""


def start(remote, names, rounds):
    command = [sys.executable, "-c", CHILD, remote.url, str(rounds), *names]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def test_processes_that_drive_out_each_others_files_all_read_the_right_bytes(remote, cache):
    names = [remote.put(os.urandom(15 * KIB))[2] for _ in range(6)]  # two more than fit
    readers = [start(remote, names, rounds=3) for _ in range(3)]
    assert [reader.communicate(timeout=60)[0] for reader in readers] == ["read\n"] * 3
    assert [reader.returncode for reader in readers] == [0, 0, 0]
    assert sum(kept(cache).values()) <= 64 * KIB
    assert set(kept(cache)) <= set(names)


def test_a_process_that_is_killed_leaves_nothing_that_is_taken_for_a_copy(remote, cache):
    names = [remote.put(os.urandom(15 * KIB))[2] for _ in range(6)]
    reader = start(remote, names, rounds=10_000)
    deadline = time.monotonic() + 30
    while not kept(cache) and time.monotonic() < deadline:
        time.sleep(0.02)
    reader.send_signal(signal.SIGKILL)
    reader.communicate(timeout=30)
    for name in names:
        with opened(remote.filesystem, f"{remote.root}/{name}", name, 15 * KIB) as handle:
            assert digest(handle.read()) == name
