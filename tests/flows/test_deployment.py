"""prefect.yaml on a real server with a real worker: every deployment is created, runs and shows what it did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.settings import PREFECT_API_URL, temporary_settings

REPOSITORY = Path(__file__).parents[2]
DEPLOYMENTS = {"build-corpus", "train-encoder", "evaluate-encoder"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """The folder in which deployed runs start; the sample web is in it, and their results will be."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "samples").symlink_to(REPOSITORY / "samples")
    return folder


@pytest.fixture(scope="module")
def worker(prefect_server, workplace):
    """A worker that serves all deployments of prefect.yaml."""
    environment = os.environ | {
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(workplace / ".prefect"),
        "BABELMILL_HOME": str(workplace),
        "DO_NOT_TRACK": "1",
    }
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    for command in (["work-pool", "create", "babelmill", "--type", "process"], ["deploy", "--all"]):
        done = subprocess.run(
            [*prefect, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with (workplace / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*prefect, "worker", "start", "--pool", "babelmill"],
            cwd=workplace,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        yield workplace / "worker.log"
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def client(prefect_server, worker):
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        yield client


def test_every_deployment_is_there_and_the_build_is_scheduled_nightly(client):
    deployments = {one.name: one for one in client.read_deployments()}
    assert set(deployments) == DEPLOYMENTS
    (schedule,) = deployments["build-corpus"].schedules
    assert schedule.active
    assert schedule.schedule.cron == "0 2 * * *"
    assert all(one.description and one.tags for one in deployments.values())


@pytest.mark.parametrize("name", ["build-corpus", "train-encoder", "evaluate-encoder"])
def test_a_worker_runs_the_deployment(client, worker, workplace, name):
    deployment = client.read_deployment_by_name(f"{name}/{name}")
    run = client.create_flow_run_from_deployment(deployment.id)
    deadline = time.monotonic() + 300
    while not (run := client.read_flow_run(run.id)).state.is_final():
        assert time.monotonic() < deadline, worker.read_text()
        time.sleep(1)
    assert run.state.is_completed(), f"{run.state.message}\n{worker.read_text()}"
    shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id])))
    keys = {artifact.key for artifact in shown}
    if name == "build-corpus":
        assert {"sample-funnel", "sample-report", "sample-extract-documents"} <= keys
        assert len(list((workplace / "runs" / "snapshots" / "sample").iterdir())) == 1
    if name == "train-encoder":
        assert list((workplace / "runs" / "artifacts" / "encoder" / "sample").glob("*/model.safetensors"))
    if name == "evaluate-encoder":
        assert "evaluation-multiway" in keys
