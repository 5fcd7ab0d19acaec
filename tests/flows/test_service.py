"""The service whole: a server, a worker and a bucket; crawls arrive, are announced, and are built without anybody."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fsspec
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterName,
)
from prefect.events.schemas.events import Event, RelatedResource, Resource
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Crashed, Running

from flows.automations import TAG, Patience, automations, ensure_automations
from flows.serving import local_server, read_pools, service_environment, working
from flows.watching import Watch, watch
from storage.errors import ConfigError, SourceError
from storage.snapshots import latest
from storage.store import Store

REPOSITORY = Path(__file__).parents[2]
FIRST, SECOND = "2024-10", "2024-11"
SERVE = (
    "import sys; from pathlib import Path; from flows.serving import serve; serve(Path(sys.argv[1]), int(sys.argv[2]))"
)


@dataclass
class Service:
    """A running `serve`, and what was put into its bucket."""

    process: subprocess.Popen
    folder: Path
    port: int
    bucket: str

    @property
    def api(self):
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def root(self):
        return f"{self.bucket}/root"

    def logs(self):
        return "\n".join(f"== {log.name}\n{log.read_text()[-4000:]}" for log in self.folder.rglob("*.log"))

    def is_up(self):
        assert self.process.poll() is None, self.logs()
        return "Page: " in (self.folder / "serve.log").read_text()

    def drop(self, crawl, files):
        """Put a crawl into the bucket, its marker last."""
        filesystem = fsspec.filesystem("s3")
        for file in files:
            filesystem.pipe_file(f"{self.bucket}/crawls/{crawl}/{file.name}", file.read_bytes())
        filesystem.pipe_file(f"{self.bucket}/crawls/{crawl}/_SUCCESS", b"")

    def look(self):
        with temporary_settings({PREFECT_API_URL: self.api}):
            watch(Watch(url=f"{self.bucket}/crawls", root=self.root, marker="_SUCCESS"), once=True)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def served(folder, port, bucket):
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | {
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(folder / "home"), str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Service(process, folder, port, bucket)


@pytest.fixture(scope="module")
def service(tmp_path_factory, s3_secret, tiny_encoder, wait_until):
    """`babelmill serve` as a user has it: a prefect.yaml whose build is about a folder in a bucket."""
    folder, bucket = tmp_path_factory.mktemp("service"), f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(bucket)
    values = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text("utf-8"))
    values["deployments"] = [one for one in values["deployments"] if one["name"] == "build-corpus"]
    values["deployments"][0]["parameters"]["config"] = {
        "root": f"s3://{bucket}/root",
        "corpus": "tiny",
        "crawl_folder": f"s3://{bucket}/crawls",
        "crawl_marker": "_SUCCESS",
        "languages": ["deu_Latn", "eng_Latn"],
        "encoder": tiny_encoder,
        "resources": {"workers": 0, "threads": 1},
    }
    (folder / "prefect.yaml").write_text(yaml.safe_dump(values))
    service = served(folder, free_port(), f"s3://{bucket}")
    try:
        wait_until(service.is_up, 240, "the start of the service")
        yield service
    finally:
        service.process.terminate()
        service.process.wait(90)


@pytest.fixture(scope="module")
def client(service):
    with temporary_settings({PREFECT_API_URL: service.api}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def builds(service, client):
    """Runs of build-corpus that somebody or something has started, oldest first."""

    def read():
        named = DeploymentFilter(name=DeploymentFilterName(any_=["build-corpus"]))
        runs = [run for run in client.read_flow_runs(deployment_filter=named) if not run.auto_scheduled]
        return sorted(runs, key=lambda run: run.created)

    return read


@pytest.fixture
def built(service, builds, wait_until):
    """Wait until so many builds are done; return the last one. A crash is not the end: the server starts it again."""

    def ended():
        state = builds()[-1].state
        return (state.is_final() and not state.is_crashed()) or not service.is_up()

    def wait(count):
        wait_until(lambda: len(builds()) == count, 240, f"build {count}")
        wait_until(ended, 480, "the end of the build")
        run = builds()[-1]
        assert run.state.is_completed(), f"{run.state.message}\n{service.logs()}"
        return run

    return wait


def artifacts_of(client, run):
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    return {one.key: one.data for one in client.read_artifacts(artifact_filter=chosen)}


def writers(store):
    """Of each thing in the newest version: name and partition, and the run that wrote it."""
    snapshot = latest(store, "tiny")
    return {(one.name, one.partition): store.manifest(one).run for one in snapshot.things}


def run_name(run):
    return str(run.id).replace("-", "")[:12]


def processes_with(variable):
    """The ids of processes that have a variable in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def kill_when_running(builds, count, wait_until):
    """Kill the processes of a build, as a machine without memory does."""
    wait_until(lambda: len(builds()) == count and builds()[-1].state.is_running(), 240, f"build {count}")
    for pid in processes_with(f"PREFECT__FLOW_RUN_ID={builds()[-1].id}"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_crawls_that_arrive_in_a_bucket_become_versions_by_themselves(
    service, client, built, builds, crawls, wait_until
):
    store = Store(service.root)
    service.drop(FIRST, sorted(Path(crawls[FIRST]).iterdir())[:1])
    service.look()
    first = built(1)
    before = writers(store)
    assert set(before.values()) == {run_name(first)}

    service.look()  # nothing has arrived since
    service.drop(SECOND, sorted(Path(crawls[SECOND]).iterdir())[:1])
    service.look()
    kill_when_running(builds, 2, wait_until)
    wait_until(lambda: builds()[-1].run_count >= 2, 240, "the second start of the build")
    second = built(2)
    assert [state.name for state in client.read_flow_run_states(second.id)].count("AwaitingRetry") == 1
    snapshot, after = latest(store, "tiny"), writers(store)
    assert (snapshot.number, snapshot.crawls) == (2, [FIRST, SECOND])
    assert {run for (_, partition), run in after.items() if SECOND in partition} == {run_name(second)}
    written_again = {thing for thing, run in after.items() if before.get(thing, run) != run}
    assert not {partition for _, partition in written_again if FIRST in partition}
    funnels = [artifacts_of(client, run)["tiny-funnel"] for run in (first, second)]
    assert all("kept documents" in funnel for funnel in funnels)
    assert funnels[0] != funnels[1]
    assert len(builds()) == 2


def test_the_server_keeps_its_leases_on_disk_and_tells_nobody_of_us(service):
    server = children_of(service.process.pid)["server"]
    environment = Path(f"/proc/{server}/environ").read_bytes().decode().split("\0")
    assert "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem" in environment
    assert {"PREFECT_SERVER_ANALYTICS_ENABLED=false", "DO_NOT_TRACK=1"} <= set(environment)
    assert (service.folder / "home" / "prefect.db").exists()


def children_of(pid):
    """The process ids of server and worker."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        found |= {word: int(child) for word in ("server", "worker") if word in words}
    return found


def test_its_page_finds_its_api(service):
    with urllib.request.urlopen(f"http://127.0.0.1:{service.port}/ui-settings", timeout=10) as answer:
        assert service.api in answer.read().decode()


@pytest.fixture
def quiet_pool(client):
    """For the time of a test no worker takes a run."""
    client.update_work_pool("babelmill", WorkPoolUpdate(is_paused=True))
    yield
    ensure_automations(client, Patience())
    for run in [run for run in client.read_flow_runs() if not run.state.is_final()]:
        client.set_flow_run_state(run.id, Cancelled(), force=True)
    client.update_work_pool("babelmill", WorkPoolUpdate(is_paused=False))


@pytest.fixture
def running(client, quiet_pool):
    """Make runs of the deployment that are in the state Running, but have no process."""

    def make():
        run = client.create_flow_run_from_deployment(client.read_deployment_by_name("build-corpus/build-corpus").id)
        client.set_flow_run_state(run.id, Running(), force=True)
        return run.id

    return make


def send_heartbeat(client, run):
    sent = Event(
        event="prefect.flow-run.heartbeat",
        resource=Resource({"prefect.resource.id": f"prefect.flow-run.{run}"}),
        related=[RelatedResource({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})],
    )
    client.request("POST", "/events", json=[sent.model_dump(mode="json")])


def test_automations_are_updated_only_where_they_differ(client):
    assert ensure_automations(client, Patience()) == []
    hasty = Patience(stuck_hours=1)
    assert ensure_automations(client, hasty) == ["babelmill: a stuck build is cancelled"]
    assert ensure_automations(client, hasty) == []
    ours = [client.read_automations_by_name(one.name) for one in automations(hasty)]
    assert [len(one) for one in ours] == [1, 1, 1]
    assert [action.type for [one] in ours for action in one.actions] == [
        *("change-flow-run-state", "change-flow-run-state", "cancel-flow-run")
    ]
    assert ensure_automations(client, Patience()) == ["babelmill: a stuck build is cancelled"]


@pytest.fixture
def until_one(running, wait_until):
    """Make runs until what is expected happens to one of them, which is returned.

    The server forgets a changed automation before it reads it anew (`automation_changed` in Prefect's
    server/events/triggers.py), and an event of the time between, seconds on a busy machine, is lost for it.
    """

    def make(begin, happened, what):
        for _ in range(4):
            run = running()
            begin(run)
            with contextlib.suppress(AssertionError):
                wait_until(partial(happened, run), 90, what)
                return run
        raise AssertionError(f"{what} did not happen to any of four runs")

    return make


def test_a_silent_run_crashes_and_starts_again_but_not_for_ever(client, running, until_one, wait_until):
    def crash(run):
        client.set_flow_run_state(run, Crashed())

    def starts_again(run):
        return client.read_flow_run(run).state.name == "AwaitingRetry"

    ensure_automations(client, Patience(silent_seconds=10, restart_seconds=10, restarts=2))
    until_one(crash, starts_again, "another start")
    crashing = running()
    for _ in range(2):
        crash(crashing)
        wait_until(lambda: starts_again(crashing), 240, "another start")
        client.set_flow_run_state(crashing, Running(), force=True)
    crash(crashing)
    # it crashes later than the other one and is started again, so that one's time has passed as well
    silent = until_one(lambda run: send_heartbeat(client, run), starts_again, "the end of a silent run")
    states = [(state.name, state.message) for state in client.read_flow_run_states(silent)]
    assert ("Crashed", "No heartbeat: its process is gone") in states
    assert client.read_flow_run(crashing).state.name == "Crashed"


def test_a_build_that_does_not_end_is_cancelled(client, until_one):
    ensure_automations(client, Patience(stuck_hours=10 / 3600))
    until_one(lambda run: None, lambda run: client.read_flow_run(run).state.is_cancelling(), "the end of a stuck build")


def test_it_ends_with_ctrl_c_and_goes_on_when_served_again(service, client, builds, built, wait_until):
    def counts():
        return len(client.read_deployments()), len(client.read_automations()), len(client.read_work_pools())

    children, before = children_of(service.process.pid), counts()
    count = len(builds()) + 1
    client.create_flow_run_from_deployment(client.read_deployment_by_name("build-corpus/build-corpus").id)
    wait_until(lambda: len(builds()) == count and builds()[-1].state.is_running(), 240, "a build")
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(90) == 0, service.logs()
    assert set(children) == {"server", "worker"}
    assert not [pid for pid in children.values() if Path(f"/proc/{pid}").exists()]
    assert not processes_with(f"PREFECT_HOME={service.folder / 'home'}")

    service.process = served(service.folder, service.port, service.bucket).process
    wait_until(service.is_up, 240, "the second start of the service")
    assert counts() == before
    assert built(count).run_count >= 2


def test_it_needs_a_prefect_yaml_that_says_where_runs_run(tmp_path):
    file = tmp_path / "prefect.yaml"
    with pytest.raises(ConfigError, match=r"a copy of its prefect\.yaml"):
        read_pools(file)
    file.write_text("deployments: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        read_pools(file)
    file.write_text("deployments: [{name: a, work_pool: {name: b}}]\ndefinitions: {pools: {process: {name: c}}}")
    with pytest.raises(ConfigError, match=r"definitions\.pools"):
        read_pools(file)


def test_a_port_that_is_taken_is_refused(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"port {port} is taken.*PREFECT_API_URL=http://127.0.0.1:{port}/api"),
            local_server(service_environment(tmp_path, tmp_path), port),
        ):
            pass


def test_a_server_that_does_not_answer_is_reported(tmp_path):
    with (
        pytest.raises(SourceError, match="no Prefect server answers at http"),
        working("http://127.0.0.1:9/api", service_environment(tmp_path, tmp_path), tmp_path, {}),
    ):
        pass


def test_what_the_user_has_set_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", "/somewhere")
    monkeypatch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "true")
    environment = service_environment(None, tmp_path)
    assert (environment["PREFECT_HOME"], environment["PREFECT_SERVER_ANALYTICS_ENABLED"]) == ("/somewhere", "true")
    assert service_environment(tmp_path, tmp_path)["PREFECT_HOME"] == str(tmp_path)
    monkeypatch.delenv("PREFECT_HOME")
    assert service_environment(None, tmp_path)["PREFECT_HOME"] == str(tmp_path / ".babelmill")
