"""A whole build on Dask workers, some of which are killed, makes the same bytes as a build in one process."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

LOCAL = {"kind": "local", "workers": 4, "memory_limit": "2GB"}


def dask_workers():
    """Worker processes of this process' cluster: the children that spawn started and that are nobody's tracker."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"multiprocessing.spawn" in path.read_bytes():
                found.add(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return found


def test_a_build_on_workers_of_which_two_are_killed_equals_one_in_a_single_process(build, whole, tmp_path):
    root, killed = tmp_path / "root", []
    over = threading.Event()

    def kill_two():
        while not over.is_set() and not list(root.glob("datasets/languages/**/manifest.json")):
            time.sleep(0.02)
        for process in sorted(dask_workers())[:2]:
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    killer = threading.Thread(target=kill_two)
    killer.start()
    try:
        built = build(root, resources={"threads": 1, "cluster": LOCAL})
    finally:
        over.set()
        killer.join()
    assert len(killed) == 2
    assert built.parts() == whole.parts()
    assert built.release() == whole.release()
    assert not dask_workers()  # the cluster ended with the run
