from __future__ import annotations

import json
import os

import pytest

from storage.errors import ConfigError, SourceError
from storage.files import locate, read_bytes, write_bytes
from storage.fingerprint import digest
from storage.handles import SourceFile
from storage.sources import list_sources, local_copy, source_of
from storage.store import Store


def put(url: str, data: bytes) -> None:
    write_bytes(*locate(url), data)


def names(store: Store, url: str) -> list[str]:
    return [source.name for source in list_sources(store, url, "crawls.path")]


@pytest.fixture
def crawl(root):
    """A folder of files, some of them hidden."""
    for name in ("b.txt", "a.txt", "deep/c.txt", "deep/d.gz", ".hidden", "_SUCCESS", "_temporary/e.txt", "deep/.f.txt"):
        put(f"{root}/crawl/{name}", name.encode())
    return f"{root}/crawl"


def test_a_folder_is_all_that_is_visible_in_it_sorted(any_store, crawl):
    assert names(any_store, crawl) == ["a.txt", "b.txt", "deep/c.txt", "deep/d.gz"]
    assert names(any_store, f"{crawl}/") == ["a.txt", "b.txt", "deep/c.txt", "deep/d.gz"]


def test_a_glob_is_the_files_that_match_and_no_folder(any_store, crawl):
    assert names(any_store, f"{crawl}/*") == ["a.txt", "b.txt"]
    assert names(any_store, f"{crawl}/**/*.txt") == ["a.txt", "b.txt", "deep/c.txt"]
    assert names(any_store, f"{crawl}/[ab].txt") == ["a.txt", "b.txt"]
    assert names(any_store, f"{crawl}/deep/?.gz") == ["d.gz"]


def test_a_file_is_itself_even_if_a_folder_would_hide_it(any_store, crawl):
    assert names(any_store, f"{crawl}/deep/c.txt") == ["c.txt"]
    assert names(any_store, f"{crawl}/_SUCCESS") == ["_SUCCESS"]
    put(f"{crawl}/odd[1].txt", b"brackets")
    assert names(any_store, f"{crawl}/odd[1].txt") == ["odd[1].txt"]


@pytest.mark.parametrize("missing", ["gone", "gone/*.txt", "crawl/*.warc", "crawl/deep/.*"])
def test_nothing_there_is_a_config_error_that_names_the_setting(any_store, root, crawl, missing):
    for ask in (list_sources, source_of):
        with pytest.raises(ConfigError, match=r"crawls\.path: there is no file at .*(gone|warc|deep/\.)"):
            ask(any_store, f"{root}/{missing}", "crawls.path")


def test_an_unusable_url_is_a_config_error(store):
    with pytest.raises(ConfigError, match="nope"):
        list_sources(store, "nope://x", "crawls.path")


def test_a_source_knows_its_content_and_can_be_opened(any_store, crawl):
    source = source_of(any_store, f"{crawl}/a.txt", "crawls.path")
    assert (source.name, source.size, source.digest) == ("a.txt", 5, digest(b"a.txt"))
    with SourceFile(source).open() as stream:
        assert stream.read() == b"a.txt"


def test_the_same_content_under_the_same_name_is_the_same_source_anywhere(any_store, tmp_path, root):
    put(f"{root}/one/a.txt", b"same")
    put(str(tmp_path / "two" / "a.txt"), b"same")
    one, two = (source_of(any_store, f"{place}/a.txt", "s") for place in (f"{root}/one", tmp_path / "two"))
    assert one.fingerprint == two.fingerprint


def test_a_digest_is_remembered_as_long_as_the_file_stays(any_store, root, crawl):
    source = source_of(any_store, f"{crawl}/a.txt", "s")
    filesystem, path = locate(root)
    filesystem.invalidate_cache()
    [memory] = filesystem.find(f"{path}/sources")
    write_bytes(filesystem, memory, json.dumps({"url": source.url, "digest": "remembered"}).encode())
    assert source_of(any_store, f"{crawl}/a.txt", "s").digest == "remembered"
    filesystem.invalidate_cache()
    assert filesystem.find(f"{path}/sources") == [memory]


def test_new_content_of_the_same_size_is_noticed(any_store, crawl):
    before = source_of(any_store, f"{crawl}/a.txt", "s")
    put(f"{crawl}/a.txt", b"A.TXT")
    after = source_of(any_store, f"{crawl}/a.txt", "s")
    assert (after.size, after.digest) == (before.size, digest(b"A.TXT"))


def test_new_content_in_place_is_noticed_though_its_time_is_set_back(store, tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    before = source_of(store, str(file), "s")
    file.write_bytes(b"two")
    os.utime(file, (1, 1))
    assert source_of(store, str(file), "s").digest == digest(b"two") != before.digest


def test_a_source_that_is_gone_is_a_source_error(any_store, crawl):
    source = source_of(any_store, f"{crawl}/a.txt", "s")
    filesystem, path = locate(f"{crawl}/a.txt")
    filesystem.rm_file(path)
    with pytest.raises(SourceError, match=r"cannot read .*a\.txt"), SourceFile(source).open() as stream:
        stream.read()


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_errors_of_whoever_reads_a_source_pass(store, tmp_path, error):
    (tmp_path / "a.txt").write_bytes(b"a")
    source = source_of(store, str(tmp_path / "a.txt"), "s")
    with pytest.raises(error, match="wrong record"), SourceFile(source).open():
        raise error("wrong record")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache folder."""
    monkeypatch.delenv("BABELMILL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "babelmill"


def kept(cache):
    """What is in the cache, without the locks."""
    return [file.name for file in cache.glob("*") if file.suffix != ".lock"]


def test_a_remote_file_is_fetched_once(any_store, root, crawl, cache):
    source = source_of(any_store, f"{crawl}/a.txt", "s")
    copy = local_copy(source)
    with open(copy, "rb") as handle:
        assert handle.read() == b"a.txt"
    if root.startswith(("memory", "s3")):
        assert copy == str(cache / source.digest)
        filesystem, path = locate(f"{crawl}/a.txt")
        filesystem.rm_file(path)
        assert local_copy(source) == copy
    else:
        assert copy == f"{crawl}/a.txt"
        assert not cache.exists()


def test_a_remote_file_that_has_changed_is_not_taken_for_the_old_one(s3_root, cache):
    put(f"{s3_root}/a.txt", b"old")
    source = source_of(Store(s3_root), f"{s3_root}/a.txt", "s")
    put(f"{s3_root}/a.txt", b"new")
    with pytest.raises(SourceError, match="has changed"):
        local_copy(source)
    assert kept(cache) == []


def test_a_remote_file_that_is_gone_leaves_nothing_in_the_cache(s3_root, cache):
    put(f"{s3_root}/a.txt", b"old")
    source = source_of(Store(s3_root), f"{s3_root}/a.txt", "s")
    filesystem, path = locate(f"{s3_root}/a.txt")
    filesystem.rm_file(path)
    with pytest.raises(SourceError, match="cannot fetch"):
        local_copy(source)
    assert kept(cache) == []
    assert read_bytes(filesystem, path) is None
