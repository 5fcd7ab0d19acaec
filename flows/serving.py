"""A folder with a prefect.yaml in; a Prefect server with its deployments, automations and workers out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.states import Crashed
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from flows.automations import Patience, ensure_automations
from flows.supervision import Child, end, interruptible, start, started_by, wait_while_running
from flows.terminal import quiet_defaults, say
from storage.errors import ConfigError, SourceError

HOST = "127.0.0.1"
_PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
_START_SECONDS = 120.0  # 8 on an idle machine of two cores
_END_SECONDS = 30.0
_SETTLE_SECONDS = 10.0
_SERVER = {
    # with leases in memory, a restart of the server crashes every run of a deployment that has a concurrency limit
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


def serve(home: Path | None = None, port: int = 4200, patience: Patience = Patience()) -> None:
    """Serve the deployments of the prefect.yaml in the current folder until interrupted.

    Args:
        home: folder of the server's records; if not given PREFECT_HOME, or else .babelmill in the current folder.
        port: of the server's page and API; they are reached from this machine only.
        patience: with runs that crash or do not end.

    Raises:
        ConfigError: if there is no usable prefect.yaml, or the port is taken.
        SourceError: if the server or a worker does not start, or ends.
    """
    project = Path.cwd()
    pools = read_pools(project / "prefect.yaml")
    environment = service_environment(home, project)
    with contextlib.suppress(KeyboardInterrupt), interruptible(), contextlib.ExitStack() as stack:
        api = get_current_settings().api.url
        children = []
        if api is None:
            say("Starting a Prefect server ...")
            server = stack.enter_context(local_server(environment, port))
            children, api = [server], f"http://{HOST}:{port}/api"
        say("Deploying ...")
        children += stack.enter_context(working(api, environment, project, pools, patience))
        say(f"Page: {_page(api)}   Logs: {environment['PREFECT_HOME']}/*.log   End: Ctrl-C")
        wait_while_running(children)


def read_pools(file: Path) -> dict[str, str]:
    """Return the work pools that the deployments of a prefect.yaml use: name and type.

    Raises:
        ConfigError: if the file is not there, or does not say of what type a pool is.
    """
    try:
        values = yaml.safe_load(file.read_text("utf-8"))
        types = {pool["name"]: kind for kind, pool in values["definitions"]["pools"].items()}
        used = [deployment["work_pool"]["name"] for deployment in values["deployments"]]
        return {name: types[name] for name in used}
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}; start this in a checkout of babelmill, or in a folder with a copy "
            "of its prefect.yaml whose parameters name your own crawls"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file}: each deployment needs a work_pool that stands under definitions.pools, by its type ({error!r})"
        ) from error


def service_environment(home: Path | None, project: Path) -> dict[str, str]:
    """Return the environment of server and workers: what is set stays, the rest is as measured to be best."""
    environment = dict(os.environ)
    quiet_defaults(environment)
    for name, value in _SERVER.items():
        environment.setdefault(name, value)
    environment.setdefault("PREFECT_HOME", str(project / ".babelmill"))
    return environment | ({"PREFECT_HOME": str(home.absolute())} if home else {})


@contextlib.contextmanager
def local_server(environment: dict[str, str], port: int) -> Iterator[Child]:
    """Run a Prefect server that is reached from this machine only.

    Raises:
        ConfigError: if the port is taken.
        SourceError: if the server does not start.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} is taken, perhaps by an earlier service; choose another one, or use the Prefect server "
                f"that runs there: PREFECT_API_URL=http://{HOST}:{port}/api"
            ) from error
    home = Path(environment["PREFECT_HOME"])
    environment = {"PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api"} | environment  # its page assumes port 4200
    command = [*_PREFECT, "server", "start", "--host", HOST, "--port", str(port)]
    server = start("Prefect server", command, home / "server.log", environment, Path.cwd())
    try:
        _await_health(server, f"http://{HOST}:{port}/api/health")
        yield server
    finally:
        end(server, _END_SECONDS)


@contextlib.contextmanager
def working(
    api: str, environment: Mapping[str, str], project: Path, pools: Mapping[str, str], patience: Patience = Patience()
) -> Iterator[list[Child]]:
    """Deploy a project on a server and run a worker for each of its pools; it may have been deployed before.

    Raises:
        ConfigError: if it cannot be deployed.
        SourceError: if the server does not answer.
    """
    environment = dict(environment) | {"PREFECT_API_URL": api}
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        if failure := client.api_healthcheck():
            raise SourceError(f"no Prefect server answers at {api}: {failure}") from failure
        for name, kind in pools.items():
            _ensure_pool(client, name, kind)
        _deploy(environment, project)
        ensure_automations(client, patience)
    home, folder = Path(environment["PREFECT_HOME"]), {"BABELMILL_HOME": str(project)}
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(_worker(name, home / f"worker-{name}.log", folder | environment, project))
            for name in pools
        ]


@contextlib.contextmanager
def _worker(pool: str, log: Path, environment: Mapping[str, str], project: Path) -> Iterator[Child]:
    """Run a worker; with it end its runs, which start again when there is a worker again."""
    command = [*_PREFECT, "worker", "start", "--pool", pool, "--name", f"{pool}-{socket.gethostname()}"]
    worker = start(f"worker of {pool}", command, log, environment, project)
    try:
        yield worker
    finally:
        with (
            contextlib.suppress(httpx.HTTPError, RuntimeError),  # a server that is gone: heartbeats will be missed
            temporary_settings({PREFECT_API_URL: environment["PREFECT_API_URL"]}),
            get_client(sync_client=True) as client,
        ):
            runs = _runs_of(client, worker)
            end(worker, _END_SECONDS)
            _crash(client, [run.id for run in runs])
        end(worker, _END_SECONDS)


def _runs_of(client: SyncPrefectClient, worker: Child) -> list[FlowRun]:
    """Return the runs that are processes of a worker; those in containers go on without it."""
    begun = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=begun)))
    pids = {str(pid) for pid in started_by(worker)}
    return [run for run in runs if run.infrastructure_pid in pids]


def _crash(client: SyncPrefectClient, runs: list[UUID]) -> None:
    """Say that runs have crashed, which a worker that is stopped does not; wait until they are scheduled again."""
    for run in runs:
        client.set_flow_run_state(run, Crashed(message="Its worker was stopped"))
    deadline = time.monotonic() + _SETTLE_SECONDS
    while any(client.read_flow_run(run).state_type == StateType.CRASHED for run in runs):
        if time.monotonic() > deadline:
            return
        time.sleep(0.2)


def _ensure_pool(client: SyncPrefectClient, name: str, kind: str) -> None:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = asyncio.run(get_default_base_job_template_for_infrastructure_type(kind))
        if template is None:
            raise ConfigError(f"prefect.yaml: definitions.pools: {kind} is no type of work pool") from None
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))


def _deploy(environment: Mapping[str, str], project: Path) -> None:
    # BABELMILL_HOME is for the run to read, where it runs: in a container it is another folder
    environment = {name: value for name, value in environment.items() if name != "BABELMILL_HOME"}
    done = subprocess.run(  # noqa: S603 - the command is ours
        [*_PREFECT, "deploy", "--all"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"{project / 'prefect.yaml'} cannot be deployed:\n{done.stdout.strip()}")


def _await_health(server: Child, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        server.check()
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise SourceError(f"the Prefect server does not answer after {_START_SECONDS:g} s; see {server.log}")


def _page(api: str) -> str:
    return get_current_settings().ui_url or api.removesuffix("/api")
