from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml


def living(group):
    """Processes of a group, without those that have ended and only wait to be looked at."""
    stats = (path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists())
    return [fields for fields in stats if int(fields[2]) == group and fields[0] not in "ZX"]


def manifests(root, name="*"):
    return {path: path.stat().st_mtime_ns for path in root.glob(f"datasets/{name}/**/manifest.json")}


def killed_at(stage, kill, config, environment, wait_until):
    """Start a build and kill it when the first output of a stage is there."""
    root = Path(config.parent / "root")
    log = config.with_suffix(f".{stage}.log")
    command = [sys.executable, "-m", "flows.cli", "build", str(config)]
    with log.open("wb") as output:
        build = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(lambda: manifests(root, stage) or build.poll() is not None, 120, f"the first of {stage}")
    finally:
        kill(build.pid, signal.SIGKILL)
        build.wait(30)
    assert build.returncode == -signal.SIGKILL, log.read_text()
    try:
        wait_until(lambda: not living(build.pid), 20, "the end of all processes")
    finally:
        if living(build.pid):
            os.killpg(build.pid, signal.SIGKILL)


def test_a_build_that_is_killed_three_times_ends_as_one_that_was_not(
    build, build_config, whole, prefect_environment, wait_until, tmp_path
):
    root, config = tmp_path / "root", tmp_path / "corpus.yaml"
    done = {}
    # in the middle it has children, and only their parent is killed, as the kernel does when memory ends
    for stage, kill, workers in (("languages", os.killpg, 0), ("sentences", os.kill, 2), ("neighbours", os.killpg, 0)):
        config.write_text(yaml.safe_dump(build_config(root, resources={"workers": workers, "threads": 1})))
        killed_at(stage, kill, config, prefect_environment, wait_until)
        now = manifests(root)
        assert {path: now.get(path) for path in done} == done  # what was done before was not done again
        assert len(now) > len(done)
        done = now
        assert not list(root.glob("snapshots/**/*"))
        assert not list(root.glob("artifacts/release/**/manifest.json"))
    ended = build(root)
    assert ended.report.is_new
    assert ended.report.version == 1
    now = manifests(root)
    assert {path: now[path] for path in done} == done
    assert len(now) > len(done)
    assert ended.parts() == whole.parts()
    assert ended.release() == whole.release()
