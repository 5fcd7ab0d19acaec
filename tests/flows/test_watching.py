"""Which crawls have arrived: from listings alone, then from a real folder, a real bucket and a real server."""

from __future__ import annotations

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.watching import ARRIVED, Listing, Watch, arrival, arrived, group, list_crawls, look, observe, watch
from storage.errors import ConfigError, SourceError

RESTS = Watch(url="crawls", stable_seconds=60)
MARKED = Watch(url="crawls", stable_seconds=60, marker="_SUCCESS")


def told(settings, looks):
    """What each look announces: looks are (time, listings)."""
    seen, announced = {}, []
    for now, listings in looks:
        seen = observe(seen, listings, now)
        names = arrived(seen, listings, now, settings)
        seen |= {name: seen[name].model_copy(update={"announced": seen[name].content}) for name in names}
        announced.append(names)
    return announced


def crawl(*sizes, is_marked=False):
    return Listing(files={f"{place}.warc.gz": size for place, size in enumerate(sizes)}, is_marked=is_marked)


def test_a_crawl_without_a_marker_arrives_when_it_has_rested():
    looks = [(0, {"a": crawl(1)}), (59, {"a": crawl(1)}), (60, {"a": crawl(1)}), (600, {"a": crawl(1)})]
    assert told(RESTS, looks) == [[], [], ["a"], []]


def test_a_crawl_that_is_still_written_does_not_arrive():
    looks = [(0, {"a": crawl(1)}), (50, {"a": crawl(2)}), (100, {"a": crawl(2, 1)}), (160, {"a": crawl(2, 1)})]
    assert told(RESTS, looks) == [[], [], [], ["a"]]


def test_a_marked_crawl_arrives_at_once_and_an_unmarked_one_never():
    looks = [(0, {"a": crawl(1), "b": crawl(1, is_marked=True)}), (6000, {"a": crawl(1)})]
    assert told(MARKED, looks) == [["b"], []]


@pytest.mark.parametrize("settings", [RESTS, MARKED])
def test_a_crawl_that_grows_is_announced_again_when_it_has_rested(settings):
    looks = [(now, {"a": crawl(1, is_marked=True)}) for now in (0, 60)]
    looks += [(now, {"a": crawl(1, 1, is_marked=True)}) for now in (70, 129, 130, 500)]
    announced = told(settings, looks)
    assert [name for names in announced[:2] for name in names] == ["a"]
    assert announced[2:] == [[], [], ["a"], []]


def test_a_crawl_that_is_out_of_sight_for_a_while_is_not_announced_again():
    looks = [(0, {"a": crawl(1)}), (60, {"a": crawl(1)}), (120, {}), (180, {"a": crawl(1)}), (240, {"a": crawl(1)})]
    assert told(RESTS, looks) == [[], ["a"], [], [], []]


SIZES = st.lists(st.integers(1, 3), max_size=2)
LISTINGS = st.dictionaries(st.sampled_from("abc"), SIZES.map(lambda sizes: crawl(*sizes)))


@given(st.lists(st.tuples(st.integers(1, 90), LISTINGS), max_size=12))
def test_the_same_content_is_never_announced_twice_in_a_row(steps):
    now, looks = 0, []
    for seconds, listings in steps:
        now += seconds
        looks.append((now, listings))
    last = {}
    for names, (_, listings) in zip(told(RESTS, looks), looks, strict=True):
        for name in names:
            assert last.get(name) != listings[name].content
            last[name] = listings[name].content


def test_files_are_sorted_into_crawls():
    files = [("a/x.warc", 1), ("a/deep/y.warc", 2), ("a/_SUCCESS", 0), ("b/.part", 3), ("_tmp/z", 4), ("loose.warc", 5)]
    assert group(files, "_SUCCESS") == {"a": Listing(files={"x.warc": 1, "deep/y.warc": 2}, is_marked=True)}
    assert not group(files, None)["a"].is_marked


def test_the_digest_of_a_crawl_depends_on_names_and_sizes_but_not_on_their_order():
    contents = {
        Listing(files=files).content
        for files in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}, {"a": 1}, {"a1": 1, "b": 2})
    }
    assert len(contents) == 4


def write(folder, name, size=1):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"." * size)


def test_a_folder_that_cannot_be_a_crawl_is_reported_and_left_out(tmp_path, caplog):
    write(tmp_path / "2024-10", "a.warc")
    write(tmp_path / "week 41", "a.warc")
    assert set(list_crawls(str(tmp_path), None)) == {"2024-10"}
    assert "'week 41' cannot be the name of a crawl" in caplog.text


def test_there_is_nothing_in_a_folder_that_is_not_there(tmp_path):
    assert not list_crawls(str(tmp_path / "later"), None)


def test_an_event_says_what_arrived_and_where(tmp_path):
    event = arrival(str(tmp_path), "2024-10", crawl(3, 4), 17.0)
    assert event.event == ARRIVED
    assert event.resource.id == "babelmill.crawl.2024-10"
    assert event.resource["babelmill.folder"] == str(tmp_path)
    assert event.payload == {"crawl": "2024-10", "path": f"{tmp_path}/2024-10", "files": 2, "bytes": 7}
    assert event.id == arrival(str(tmp_path), "2024-10", crawl(3, 4), 17.0).id
    assert event.id != arrival(str(tmp_path), "2024-10", crawl(3, 5), 17.0).id


def test_the_event_of_a_bucket_has_its_whole_address(s3_root):
    assert arrival(s3_root, "2024-10", crawl(1), 0.0).payload["path"] == f"{s3_root}/2024-10"


@pytest.fixture
def events(in_process):
    """The paths of the crawls that the server was told of."""

    def read():
        with get_client(sync_client=True) as client:
            found = client.request("POST", "/events/filter", json={"filter": {"event": {"name": [ARRIVED]}}}).json()
        return [event["payload"]["path"] for event in found["events"]]

    return read


def test_each_arrival_is_one_event_over_restarts_too(tmp_path, events, wait_until):
    folder, root = tmp_path / "crawls", str(tmp_path / "root")
    settings = Watch(url=str(folder), root=root, stable_seconds=0)
    write(folder / "one", "a.warc")
    assert look(settings, 0.0) == ["one"]
    write(folder / "two", "a.warc")
    assert look(settings, 1.0) == ["two"]
    assert look(settings, 2.0) == []
    write(folder / "one", "b.warc")
    assert look(settings, 3.0) == ["one"]
    expected = sorted(str(folder / name) for name in ("one", "one", "two"))
    wait_until(lambda: sorted(one for one in events() if one.startswith(str(folder))) == expected, 30, "three events")


def test_what_was_seen_is_remembered_in_a_bucket(s3_root, events):
    filesystem = fsspec.filesystem("s3")
    filesystem.pipe_file(f"{s3_root}/crawls/2024-10/a.warc", b"...")
    settings = Watch(url=f"{s3_root}/crawls", root=s3_root, stable_seconds=60)
    assert look(settings, 0.0) == []
    assert look(settings, 60.0) == ["2024-10"]
    assert look(settings, 120.0) == []


def test_what_the_server_did_not_take_is_announced_later(tmp_path, events):
    write(tmp_path / "crawls" / "one", "a.warc")
    settings = Watch(url=str(tmp_path / "crawls"), root=str(tmp_path / "root"), stable_seconds=0)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(SourceError, match=r"babelmill\.crawl\.one"),
    ):
        look(settings, 0.0)
    assert look(settings, 1.0) == ["one"]


def test_once_looks_one_time(tmp_path, events):
    write(tmp_path / "crawls" / "one", "a.warc")
    settings = Watch(url=str(tmp_path / "crawls"), root=str(tmp_path / "root"), stable_seconds=0)
    watch(settings, once=True)
    assert look(settings, 1.0) == []


def test_a_kind_of_storage_that_nobody_knows_is_refused_at_once():
    with pytest.raises(ConfigError):
        watch(Watch(url="nowhere://crawls"))


def test_a_failure_of_storage_is_logged_and_tried_again(tmp_path, events, wait_until, caplog):
    write(tmp_path / "crawls" / "one", "a.warc")
    write(tmp_path, "root")  # a file where a folder must be
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            (tmp_path / "root").unlink()
        if len(waits) == 3:
            raise KeyboardInterrupt

    settings = Watch(url=str(tmp_path / "crawls"), root=str(tmp_path / "root"), stable_seconds=0, every_seconds=7)
    with pytest.raises(KeyboardInterrupt):
        watch(settings, sleep=sleep)
    assert waits == [7, 7, 7]
    assert caplog.text.count("trying again in 7 s") == 2
    wait_until(lambda: str(tmp_path / "crawls" / "one") in events(), 30, "the event")
