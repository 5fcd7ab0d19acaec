"""Commands in, wall and CPU seconds of all their processes out; and a Prefect server to run them on.

A pool of processes that is started by a fork server is nobody's child any more when the command ends, and the usual
accounts miss it. Here the command runs below a supervisor to which Linux gives such orphans (PR_SET_CHILD_SUBREAPER),
so that every process is waited for and counted once. The supervisor is this file as a script.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h
_GRACE_SECONDS = 60.0  # for what a command leaves running
_START_SECONDS = 120.0
# Otherwise a server that is busy loses task runs: it keeps 10,000 messages and writes them to its database one by one.
_SERVER = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Cost:
    """Seconds of a command, and how many processes outlived the one that had started them."""

    wall: float
    cpu: float
    orphans: int = 0


def measured(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Cost:
    """Run a command, with its output in a file, and return what it cost.

    Raises:
        SystemExit: naming the log if the command fails.
    """
    result = log.with_suffix(".cost.json")
    with log.open("wb") as sink:
        supervisor = [sys.executable, __file__, str(result), *command]
        around = os.environ | (environment or {})
        done = subprocess.run(supervisor, check=False, stdout=sink, stderr=subprocess.STDOUT, env=around)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... ended with {done.returncode}; see {log}")
    return Cost(**json.loads(result.read_text()))


@dataclass(frozen=True)
class Server:
    """A running Prefect server."""

    url: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find it."""
        return {"PREFECT_API_URL": self.url, "DO_NOT_TRACK": "1"}

    def cpu(self) -> float:
        """CPU seconds so far, with those of its children."""
        return sum(_family(self.pid).values())

    def task_runs(self) -> int:
        """Return how many task runs it has recorded as completed, as soon as there come no more."""
        seen = -1
        while seen != (seen := self._count()):
            time.sleep(3)
        return seen

    def _count(self) -> int:
        asked = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/task_runs/count", json.dumps(asked).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.read())


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[Server]:
    """Start a Prefect server on a free port, with its database in a folder, and stop it at the end.

    Raises:
        SystemExit: if it does not answer within two minutes.
    """
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= _SERVER | {"PREFECT_HOME": str(home)}
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            server = Server(f"http://127.0.0.1:{port}/api", process.pid)
            _await(server, process, home / "server.log")
            yield server
        finally:
            for pid in _family(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            process.wait()


def _await(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/health", timeout=5):
            return
        time.sleep(0.5)
    raise SystemExit(f"the Prefect server does not answer; see {log}")


def _family(root: int) -> dict[int, float]:
    """Return a process and all below it that run now, with the CPU seconds of each and of its ended children."""
    parents, seconds = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()  # from the third of proc_pid_stat(5) on
            parents[int(stat.parent.name)] = int(fields[1])
            seconds[int(stat.parent.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: seconds[pid] for pid in sorted(family) if pid in seconds}


def _supervise(result: Path, command: list[str]) -> int:
    """Run a command, wait for all that it leaves behind, write the cost, and return the command's exit status."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    began = time.perf_counter()
    main = subprocess.Popen(command).pid
    cpu, ended, status, orphans = 0.0, None, 1, 0
    while True:
        try:
            pid, told, usage = os.wait4(-1, 0 if ended is None else os.WNOHANG)
        except ChildProcessError:
            break
        if pid == main:
            ended, status = time.perf_counter(), os.waitstatus_to_exitcode(told)
        orphans += pid not in {0, main}
        cpu += usage.ru_utime + usage.ru_stime
        if not pid and ended is not None:
            time.sleep(0.05)
            if time.perf_counter() - ended > _GRACE_SECONDS:
                for child in _family(os.getpid()).keys() - {os.getpid()}:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
    wall = (ended or time.perf_counter()) - began
    result.write_text(json.dumps({"wall": wall, "cpu": cpu, "orphans": orphans}))
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(_supervise(Path(sys.argv[1]), sys.argv[2:]))
