from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.errors import SourceError
from storage.files import read_bytes, write_bytes
from storage.leases import Pace, hold
from storage.store import Store

REPOSITORY = Path(__file__).parents[2]
QUICK = Pace(renew=0.05, dead=0.5, look=0.02, tell=0.2)
BUILD = "build/sample"


def lease_of(store):
    filesystem, root = store.place()
    data = read_bytes(filesystem, f"{root}/leases/{BUILD}.json")
    return None if data is None else json.loads(data)


def put_lease(store, **changed):
    """Leave the lease of somebody elsewhere, who may be dead."""
    filesystem, root = store.place()
    holder = {
        "token": "0badcafe",
        "run": "another-run",
        "host": "elsewhere",
        "machine": "elsewhere 1",
        "pid": 7,
        "since": "2024-11-01T00:00:00Z",
        "renewed": "2024-11-01T00:00:00Z",
    }
    write_bytes(filesystem, f"{root}/leases/{BUILD}.json", json.dumps(holder | changed).encode())


def files_of(store):
    filesystem, root = store.place()
    filesystem.invalidate_cache()
    return [name.removeprefix(f"{root}/") for name in filesystem.find(root)]


def await_that(happened, seconds=20):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_is_there_while_it_is_held_and_gone_after(any_store):
    with hold(any_store, BUILD, 0, QUICK):
        lease = lease_of(any_store)
        assert (lease["run"], lease["pid"]) == (any_store.run, os.getpid())
    assert files_of(any_store) == []


def test_it_is_gone_after_an_error_too(store):
    with pytest.raises(ZeroDivisionError), hold(store, BUILD, 0, QUICK):
        raise ZeroDivisionError
    assert files_of(store) == []


def test_it_is_renewed_by_the_same_holder(any_store):
    with hold(any_store, BUILD, 0, QUICK):
        first = lease_of(any_store)
        await_that(lambda: lease_of(any_store)["renewed"] != first["renewed"])
        assert {**lease_of(any_store), "renewed": 0, "renewal": 0} == {**first, "renewed": 0, "renewal": 0}


def test_a_second_holder_is_refused_after_its_time_and_told_who_and_what_to_remove(any_store):
    with hold(any_store, BUILD, 0, QUICK):
        begun = time.monotonic()
        with (
            pytest.raises(SourceError, match=f"{BUILD} is held by run {any_store.run} on ") as refused,
            hold(Store(any_store.root), BUILD, 1.0, QUICK),
        ):
            pass
        assert 1.0 <= time.monotonic() - begun < 5  # twice as long as a lease may go without renewal
        assert "remove" in str(refused.value)
        assert f"leases/{BUILD}.json" in str(refused.value)
        assert lease_of(any_store)["run"] == any_store.run
    with hold(any_store, BUILD, 0, QUICK):
        pass


def test_other_names_are_other_leases(store):
    with hold(store, BUILD, 0, QUICK), hold(store, "build/another", 0, QUICK):
        assert len(files_of(store)) == 2


def test_a_name_cannot_leave_the_folder(store):
    with pytest.raises(ValueError, match="may hold letters"), hold(store, "../build", 0, QUICK):
        pass


def test_who_waits_says_so_once_and_then_now_and_again(store, caplog):
    with caplog.at_level(logging.INFO, "storage.leases"), hold(store, BUILD, 0, QUICK):
        with pytest.raises(SourceError), hold(Store(store.root), BUILD, 0.1, QUICK):
            pass
        [line] = caplog.messages
        assert line.startswith(f"{BUILD}: waiting for run {store.run} on ")
        caplog.clear()
        with pytest.raises(SourceError), hold(Store(store.root), BUILD, 0.7, QUICK):
            pass
        assert 3 <= len(caplog.messages) <= 4


@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_holders_never_overlap_and_all_have_their_turn(kind, request):
    store = Store(request.getfixturevalue("s3_root")) if kind == "s3" else request.getfixturevalue("store")
    inside, most, turns = [], [], []
    pace = Pace(renew=0.2, dead=10, look=0.01)

    def work(number):
        with hold(Store(store.root, run=f"run-{number}"), BUILD, 30, pace):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)
            turns.append(number)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(12)))
    assert max(most) == 1
    assert sorted(turns) == list(range(12))
    assert files_of(store) == []


def test_one_that_is_not_renewed_is_taken_over_and_not_before(any_store, caplog):
    put_lease(any_store)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING), hold(any_store, BUILD, 10, QUICK):
        assert time.monotonic() - begun >= QUICK.dead
        assert lease_of(any_store)["run"] == any_store.run
    assert "taken over from run another-run on elsewhere" in caplog.text
    assert files_of(any_store) == []


def test_one_that_is_renewed_by_a_machine_whose_clock_is_wrong_is_alive(store):
    ended = threading.Event()

    def renew():
        turn = 0
        while not ended.wait(0.05):
            turn += 1
            put_lease(store, renewed=f"1970-01-01T00:00:00.{turn:03d}Z")

    put_lease(store)
    renewing = threading.Thread(target=renew)
    renewing.start()
    with pytest.raises(SourceError, match="run another-run"), hold(store, BUILD, 1.5, QUICK):
        pass
    ended.set()
    renewing.join()
    assert lease_of(store)["run"] == "another-run"


def test_of_many_who_take_over_one_wins(any_store):
    put_lease(any_store)
    inside, most = [], []

    def work(number):
        with hold(Store(any_store.root, run=f"run-{number}"), BUILD, 30, Pace(renew=0.1, dead=1.0, look=0.01)):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.05)
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert most == [1] * 8
    assert files_of(any_store) == []


def test_who_dies_while_taking_over_holds_nobody_up(store):
    put_lease(store)
    filesystem, root = store.place()
    write_bytes(filesystem, f"{root}/leases/{BUILD}.0badcafe-1.claim", b"{}")
    with hold(store, BUILD, 10, QUICK):
        assert lease_of(store)["run"] == store.run


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"token": 1}', b"\xff", b'{"token": "../../../x"}'])
def test_what_is_no_lease_is_taken_over_like_a_dead_one(store, content):
    filesystem, root = store.place()
    write_bytes(filesystem, f"{root}/leases/{BUILD}.json", content)
    with (
        pytest.raises(SourceError, match="is held by run unknown on unknown"),
        hold(store, BUILD, 0.1, QUICK),
    ):
        pass
    with hold(store, BUILD, 10, QUICK):
        assert lease_of(store)["run"] == store.run
    assert files_of(store) == []


def test_who_loses_the_lease_is_warned_works_on_and_leaves_it_to_the_other(store, caplog):
    with caplog.at_level(logging.WARNING, "storage.leases"), hold(store, BUILD, 0, QUICK):
        put_lease(store)
        await_that(lambda: caplog.messages)
    [warning] = caplog.messages
    assert warning.startswith(f"{BUILD}: the lease is lost, it is held by run another-run on elsewhere")
    assert lease_of(store)["run"] == "another-run"


def test_storage_that_fails_while_it_is_held_is_a_warning(tmp_path, caplog):
    store = Store(str(tmp_path / "root"))
    with caplog.at_level(logging.WARNING, "storage.leases"), hold(store, BUILD, 0, QUICK):
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").write_text("no folder")
        await_that(lambda: any("cannot renew" in line for line in caplog.messages))
        (tmp_path / "root").unlink()
        (tmp_path / "away").rename(tmp_path / "root")
        renewed = lease_of(store)["renewed"]
        await_that(lambda: lease_of(store)["renewed"] != renewed)
    assert files_of(store) == []


HOLDER = """
import sys, time
from storage.leases import Pace, hold
from storage.store import Store

root, name = sys.argv[1:]
with hold(Store(root, run="holder"), name, 0, Pace(renew=0.05)):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(request):
    """Start a process that holds the lease of a store until it is killed."""
    started = []

    def start(root):
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", HOLDER, root, BUILD]
        process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["disk", "s3"])
def test_a_process_of_this_machine_that_was_killed_is_succeeded_at_once(kind, request, holder):
    root = request.getfixturevalue("s3_root" if kind == "s3" else "tmp_path")
    store = Store(f"{root}/store")
    process = holder(store.root)
    with (
        pytest.raises(SourceError, match=rf"run holder on .* \(process {process.pid}\)"),
        hold(store, BUILD, 0.3, Pace(look=0.05)),
    ):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    begun = time.monotonic()
    with hold(store, BUILD, 10, Pace(look=0.05)):
        assert time.monotonic() - begun < 5
    assert files_of(store) == []


def test_a_process_of_this_machine_that_hangs_is_taken_for_dead_by_its_silence(tmp_path, holder):
    store = Store(str(tmp_path / "store"))
    process = holder(store.root)
    process.send_signal(signal.SIGSTOP)
    with hold(store, BUILD, 10, QUICK):
        assert lease_of(store)["run"] == store.run
        process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
        assert lease_of(store)["run"] == store.run  # awake again, it does not take the lease back


def test_an_equal_process_number_on_another_machine_means_nothing(store):
    """A number that no process of this machine has."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(10)
    put_lease(store, pid=gone.pid, host=os.uname().nodename)
    with pytest.raises(SourceError, match="run another-run"), hold(store, BUILD, 0.2, QUICK):
        pass


def test_a_process_ended_by_a_signal_that_python_sees_leaves_no_lease(tmp_path, holder):
    store = Store(str(tmp_path / "store"))
    process = holder(store.root)
    process.send_signal(signal.SIGINT)
    process.wait(10)
    assert files_of(store) == []
