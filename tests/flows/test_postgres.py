"""A Prefect server that keeps its records in PostgreSQL, under a flow of many tasks: none of them is lost."""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, TaskRunFilter, TaskRunFilterState
from prefect.client.schemas.filters import TaskRunFilterStateType as OfType
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.serving import service_environment
from flows.terminal import OUR_LOGGERS

TASKS = 500


def _programs() -> Path | None:
    """The folder with PostgreSQL's programs; Debian keeps those of a server out of PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders += [Path(found).resolve().parent] if found else []
    return next((one for one in folders if (one / "initdb").exists() and (one / "postgres").exists()), None)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def postgres(wait_until):
    """URL of a PostgreSQL server that lives for this module; it refuses to run as root, so another user runs it."""
    programs, user = _programs(), None
    if programs is None:
        pytest.skip("PostgreSQL is not installed (on Debian: apt-get install postgresql)")
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    drop = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    # not below pytest's folder, which nobody but its owner may enter
    with tempfile.TemporaryDirectory(prefix="babelmill-postgres-") as name:
        folder, port = Path(name), _free_port()
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        options = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **drop}
        made = subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", "prefect", "--auth=trust", "--no-sync", "-E", "UTF8"],
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        assert made.returncode == 0, made.stderr
        command = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        command += ["-c", "fsync=off", "-c", "synchronous_commit=off"]
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, **options) as server:
            try:

                def answers() -> bool:
                    assert server.poll() is None, (folder / "log").read_text()
                    with socket.socket() as probe:
                        return (
                            probe.connect_ex(("127.0.0.1", port)) == 0
                            and "ready to accept" in (folder / "log").read_text()
                        )

                wait_until(answers, 60, "the start of PostgreSQL")
                yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # a fast shutdown: it does not wait for its clients
                server.wait(30)


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory, wait_until):
    """API URL of a Prefect server on it, with the settings of `babelmill serve`."""
    home, port = tmp_path_factory.mktemp("prefect"), _free_port()
    levels = {name: logging.getLogger(name).level for name in OUR_LOGGERS}
    environment = service_environment(home, home) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres,
        "PREFECT_SERVER_UI_ENABLED": "false",
    }
    for name, level in levels.items():  # our lines are wanted by a service, and by no other test
        logging.getLogger(name).setLevel(level)
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (home / "server.log").open("wb") as log,
        subprocess.Popen(
            command, env=environment, cwd=home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):

        def is_up() -> bool:
            assert process.poll() is None, (home / "server.log").read_text()
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        try:
            wait_until(is_up, 120, "the start of the Prefect server")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def test_every_task_of_a_large_flow_is_recorded(server, wait_until, tmp_path):
    environment = os.environ | {
        "PREFECT_API_URL": server,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    script = Path(__file__).with_name("many_tasks.py")
    done = subprocess.run(
        [sys.executable, script, str(TASKS)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run, total = done.stdout.split()
    assert int(total) == TASKS * (TASKS - 1)
    completed = TaskRunFilter(state=TaskRunFilterState(type=OfType(any_=[StateType.COMPLETED])))
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:

        def recorded() -> int:
            pages = (
                client.read_task_runs(flow_run_filter=of_run, task_run_filter=completed, limit=200, offset=offset)
                for offset in range(0, TASKS + 200, 200)
            )
            return len({one.id for page in pages for one in page})

        wait_until(lambda: recorded() == TASKS, 90, f"the record of {TASKS} task runs")
        assert client.read_flow_run(run).state.is_completed()
