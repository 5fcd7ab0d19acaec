"""prefect.yaml on a real server with a real worker: every deployment is created, runs and shows what it did."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.automations import HEARTBEAT_SECONDS, TAG, Patience
from flows.serving import read_pools, service_environment, working
from flows.watching import ARRIVED
from storage.snapshots import latest
from storage.store import Store

REPOSITORY = Path(__file__).parents[2]
DEPLOYMENTS = {
    "build-corpus",
    "train-encoder",
    "evaluate-encoder",
    "compare-encoders",
    "calibrate-threshold",
    "remove-documents",
}
HOST = "www.harbour-lantern.example"  # one of the sample web's


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """The folder in which deployed runs start; the sample web is in it, and their results will be."""
    folder = tmp_path_factory.mktemp("workplace")
    for name in ("samples", "prefect.yaml"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


@pytest.fixture(scope="module")
def worker(prefect_server, workplace):
    """All deployments of prefect.yaml on the session's server, and a worker for them; its log."""
    pools = read_pools(workplace / "prefect.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
        environment = service_environment(workplace / "home", workplace)
        with working(prefect_server, environment, workplace, pools) as [worker]:
            yield worker.log


@pytest.fixture(scope="module")
def client(prefect_server, worker):
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def deployments(client):
    return {one.name: one for one in client.read_deployments()}


def test_every_deployment_is_there_and_says_what_it_is(deployments):
    assert set(deployments) == DEPLOYMENTS
    for one in deployments.values():
        assert one.description.endswith("."), one.name
        assert len(one.description) > 60, one.name
        assert "\n" not in one.description, one.name
        assert TAG in one.tags, one.name
        assert one.enforce_parameter_schema, one.name


def test_two_runs_of_a_deployment_wait_for_each_other(deployments):
    for one in deployments.values():
        assert one.global_concurrency_limit.limit == 1, one.name
        assert one.concurrency_options.collision_strategy.value == "ENQUEUE", one.name


def test_the_build_is_scheduled_nightly(client, deployments, wait_until):
    (schedule,) = deployments["build-corpus"].schedules
    assert schedule.active
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 2 * * *", "UTC")

    def nights():
        runs = client.get_scheduled_flow_runs_for_deployments([deployments["build-corpus"].id])
        return [run for run in runs if run.expected_start_time.hour == 2]

    wait_until(nights, 60, "a run that is scheduled for the night")


def test_the_build_starts_when_a_crawl_arrives(client, deployments):
    [automation] = client.read_resource_related_automations(f"prefect.deployment.{deployments['build-corpus'].id}")
    assert automation.enabled
    assert automation.trigger.expect == {ARRIVED}
    assert automation.trigger.match.root == {"prefect.resource.id": "babelmill.crawl.*"}
    [action] = automation.actions
    assert (action.type, action.parameters) == ("run-deployment", None)  # crawl_folder says where to look


def test_the_form_of_a_run_describes_every_field(deployments):
    for one in deployments.values():
        schema = one.parameter_openapi_schema
        models = schema["definitions"]
        for title, model in models.items():
            for field, shape in model.get("properties", {}).items():
                parts = [shape, *shape.get("allOf", [])]
                named = [models[part["$ref"].rpartition("/")[2]] for part in parts if "$ref" in part]
                is_choice = "const" in shape  # the kind of one of several models: there is nothing to fill in
                described = is_choice or any(part.get("description") for part in (*parts, *named))
                assert described, f"{one.name}: {title}.{field}"


def test_a_worker_may_be_silent_for_three_heartbeats():
    values = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text("utf-8"))
    heartbeat = int(values["definitions"]["environment"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert heartbeat == HEARTBEAT_SECONDS
    assert Patience().silent_seconds >= 3 * heartbeat


@pytest.mark.parametrize("kind", ["process", "docker", "kubernetes"])
def test_a_deployment_moves_to_another_pool_with_one_line(tmp_path, kind):
    lines = (REPOSITORY / "prefect.yaml").read_text("utf-8").splitlines()
    moved = [f"    work_pool: *{kind}" if line.startswith("    work_pool:") else line for line in lines]
    (tmp_path / "prefect.yaml").write_text("\n".join(moved))
    [(name, found)] = read_pools(tmp_path / "prefect.yaml").items()
    assert found == kind
    pool = yaml.safe_load("\n".join(moved))["deployments"][0]["work_pool"]
    assert pool["name"] == name
    assert pool["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_SECONDS)
    assert ("image" in pool["job_variables"]) == (kind != "process")
    # a container has no worker from which it could learn where to start
    assert ("BABELMILL_HOME" in pool["job_variables"]["env"]) == (kind != "process")


def completed(client, worker, name, parameters=None):
    """Run a deployment to its end; return the keys of what it shows."""
    deployment = client.read_deployment_by_name(f"{name}/{name}")
    run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters or {})
    deadline = time.monotonic() + 300
    while not (run := client.read_flow_run(run.id)).state.is_final():
        assert time.monotonic() < deadline, worker.read_text()
        time.sleep(0.5)
    assert run.state.is_completed(), f"{run.state.message}\n{worker.read_text()}"
    shown = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id])))
    return {artifact.key for artifact in shown}


def test_a_worker_builds_the_sample_and_takes_a_host_out_of_it(client, worker, workplace):
    assert {"sample-funnel", "sample-report", "sample-plan"} <= completed(client, worker, "build-corpus")
    store = Store(str(workplace / "runs"))
    assert latest(store, "sample").crawls == sorted(os.listdir(REPOSITORY / "samples" / "crawls"))
    removal = {"config": {"root": "runs", "corpus": "sample", "hosts": [HOST]}}
    assert "sample-report" in completed(client, worker, "remove-documents", removal)
    assert latest(store, "sample").number == 2


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_is_asked_before_a_version_is_made(client, worker, workplace, wait_until, answer):
    corpus = f"asked-{answer}".lower()
    config = {"root": "runs", "corpus": corpus, "crawl_folder": "samples/crawls", "approval": True}
    deployment = client.read_deployment_by_name("build-corpus/build-corpus")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": config}).id

    def state():
        return client.read_flow_run(run).state

    wait_until(lambda: state().name == "Suspended", 120, "the question")
    store = Store(str(workplace / "runs"))
    assert latest(store, corpus) is None
    client.resume_flow_run(run, run_input={"approve": answer})
    wait_until(lambda: state().is_final(), 120, "the end of the run")
    assert state().is_completed() == answer, f"{state().message}\n{worker.read_text()}"
    assert (latest(store, corpus) is not None) == answer


def test_a_worker_trains_an_encoder(client, worker, workplace):
    completed(client, worker, "train-encoder")
    assert list((workplace / "runs" / "artifacts" / "encoder" / "sample").glob("*/model.safetensors"))


def test_a_worker_evaluates_an_encoder(client, worker):
    assert "evaluation-multiway-multiway-tsv" in completed(client, worker, "evaluate-encoder")


def test_a_worker_compares_two_encoders(client, worker):
    assert "encoder-comparison" in completed(client, worker, "compare-encoders")


def test_a_worker_calibrates_a_threshold(client, worker):
    keys = {"calibration-deu-latn-eng-latn", "calibration-deu-latn-eng-latn-curve"}
    assert keys <= completed(client, worker, "calibrate-threshold")
