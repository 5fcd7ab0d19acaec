"""The files of deploy/ agree with the code, with prefect.yaml and with each other, as far as that is seen without Docker."""

from __future__ import annotations

import json
import logging
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings.legacy import _get_valid_setting_names
from prefect.settings.models.root import Settings
from prefect.utilities.templating import find_placeholders

from flows.serving import service_environment
from flows.terminal import OUR_LOGGERS, quiet_defaults

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
SERVICES = {"database", "storage", "bucket", "server", "deploy", "worker"}
OURS = "babelmill:latest"
# Of the package prefect-kubernetes, which tests do not have: read in prefect_kubernetes/settings.py, 0.8.0
KUBERNETES = {
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME",
    "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY",
    "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES",
}


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())


@pytest.fixture(scope="module")
def manifests():
    found = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "worker.yaml").read_text()))
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


@pytest.fixture(scope="module")
def container(manifests):
    (found,) = manifests["Deployment", "babelmill-worker"]["spec"]["template"]["spec"]["containers"]
    return found


@pytest.fixture(scope="module")
def template():
    return json.loads((DEPLOY / "kubernetes" / "base-job-template.json").read_text())


@pytest.fixture(scope="module")
def pools():
    """Name and variables of each work pool in prefect.yaml, by its type."""
    return yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["definitions"]["pools"]


def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments."""
    text = re.sub(r"(?m)^#.*\n", "", (DEPLOY / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def is_pinned(image: str) -> bool:
    return re.fullmatch(r"[\w./-]+:(RELEASE\.[\w-]+|\d+\.\d+[\w.-]*)", image) is not None


def test_the_services_are_there_and_only_what_exists_is_waited_for(compose):
    assert set(compose["services"]) == SERVICES
    for service in compose["services"].values():
        for name, condition in service.get("depends_on", {}).items():
            awaited = compose["services"][name]
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in awaited
            else:
                assert condition["condition"] == "service_completed_successfully"
                assert awaited["restart"] == "on-failure"
    assert set(compose["volumes"]) == {
        place.split(":")[0]
        for service in compose["services"].values()
        for place in service.get("volumes", [])
        if not place.startswith("$")
    }


def test_other_peoples_images_have_exact_versions(compose):
    images = {service["image"] for service in compose["services"].values()}
    assert all(is_pinned(image) for image in images - {OURS})
    bases = [arguments.split()[0] for name, arguments in dockerfile() if name == "FROM"]
    assert all(is_pinned(image) for image in bases)
    assert len(set(bases)) == 1
    assert not any(is_pinned(image) for image in ("postgres", "postgres:latest", "postgres:17", "minio/minio:edge"))


def test_no_port_is_open_to_other_machines(compose):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port) for port in ports)


def test_every_variable_is_a_setting_of_prefect(compose, container):
    names = {name for service in compose["services"].values() for name in service.get("environment", {})}
    names |= {one["name"] for one in container["env"]}
    names |= {word.split("=")[0] for kind, words in dockerfile() if kind == "ENV" for word in shlex.split(words)}
    prefect = {name for name in names if name.startswith("PREFECT_")}
    assert len(prefect) > 10
    assert prefect <= _get_valid_setting_names(Settings) | KUBERNETES


@pytest.fixture
def log_levels():
    """Whatever a test does to our loggers is undone: with their lines on, Prefect warns of those outside of runs."""
    levels = {name: logging.getLogger(name).level for name in OUR_LOGGERS}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_the_server_is_set_up_as_the_local_service_is(compose, tmp_path, log_levels):
    server = compose["services"]["server"]["environment"]
    local = service_environment(tmp_path, tmp_path)
    defaults: dict[str, str] = {}
    quiet_defaults(defaults)
    expected = {name: local[name] for name in (*defaults, *local) if name.startswith("PREFECT_SERVER_")}
    del expected["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]  # of servers that a command starts for itself
    assert expected.items() <= server.items()
    assert "lease_storage.filesystem" in server["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]


def test_secrets_come_from_the_environment_and_the_example_has_none(compose):
    example = dict(
        line.split("=", 1) for line in (DEPLOY / ".env.example").read_text().splitlines() if not line.startswith("#")
    )
    text = (DEPLOY / "docker-compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == set(example)
    assert [name for name, value in example.items() if not value] == [
        "POSTGRES_PASSWORD",
        "PREFECT_AUTH",
        "STORAGE_SECRET_KEY",
    ]
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|AUTH_STRING|CONNECTION_URL", name):
                assert "${" in value
    assert (DEPLOY / example["PREFECT_YAML"]).resolve() == REPOSITORY / "prefect.yaml"
    ignored = subprocess.run(["git", "check-ignore", "deploy/.env"], cwd=REPOSITORY, check=False, capture_output=True)
    assert ignored.returncode in (0, 128)  # 128: not a checkout


def test_what_the_image_is_made_of_exists_and_is_let_in():
    allowed = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = [
        source
        for kind, arguments in dockerfile()
        if kind == "COPY" and "--from" not in arguments
        for source in [word for word in arguments.split() if not word.startswith("--")][:-1]
    ]
    assert set(copied) == set(allowed)
    assert all((REPOSITORY / name).exists() for name in copied)


def test_the_image_has_what_the_package_is_made_of():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    copied = {words.split()[0] for kind, words in dockerfile() if kind == "COPY"}
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied
    extras = re.search(r"'\.\[([\w,]+)\]'", (DEPLOY / "Dockerfile").read_text())[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])


def test_the_image_is_not_run_by_root_and_has_exact_versions(manifests, template):
    instructions = dockerfile()
    assert [words for kind, words in instructions if kind == "USER"] == ["babelmill"]
    text = (DEPLOY / "Dockerfile").read_text()
    (user,) = re.findall(r"useradd --uid (\d+)", text)
    pod = manifests["Deployment", "babelmill-worker"]["spec"]["template"]["spec"]
    job = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    assert {pod["securityContext"]["runAsUser"], job["securityContext"]["runAsUser"]} == {int(user)}
    assert "--constraint exact.txt" in text
    (pattern,) = re.findall(r"s/\^\\\((.+)\\\)\$/", text)
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert len([line for line in lines if re.fullmatch(pattern, line)]) == 1


def test_work_pools_are_those_of_prefect_yaml(compose, container, pools):
    created = re.findall(r"work-pool create (\S+) --type (\S+)", str(compose["services"]["deploy"]["command"]))
    created += re.findall(r"work-pool create (\S+) --type (\S+)", (DEPLOY / "README.md").read_text())
    started = [compose["services"]["worker"]["command"], container["command"]]
    created += [(words[words.index("--pool") + 1], words[words.index("--type") + 1]) for words in started]
    known = {(pool["name"], kind) for kind, pool in pools.items()}
    assert set(created) <= known
    assert {kind for _, kind in created} == {"process", "kubernetes"}
    for name in re.findall(r"`(babelmill(?:-\w+)?)`(?= \(|,\n|\.)", (DEPLOY / "README.md").read_text().split("##")[0]):
        assert name in {pool["name"] for pool in pools.values()}


def test_runs_start_where_the_image_has_its_folder(pools):
    environment = dict(
        word.split("=", 1)
        for kind, words in dockerfile()
        if kind == "ENV"
        for word in shlex.split(words)
        if "=" in word
    )
    assert environment["BABELMILL_HOME"] == "/data"
    for kind in ("docker", "kubernetes"):
        variables = pools[kind]["job_variables"]
        assert variables["env"]["BABELMILL_HOME"] == environment["BABELMILL_HOME"]
        assert variables["image"] == OURS


def test_the_job_template_takes_what_prefect_yaml_gives(template, pools):
    WorkPoolCreate(name="any", type="kubernetes", base_job_template=template)  # refuses what Prefect cannot read
    variables = template["variables"]["properties"]
    assert set(pools["kubernetes"]["job_variables"]) <= set(variables)
    used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
    assert used == set(variables)
    assert all(one["description"] and one["title"] for one in variables.values())
    given, default = pools["kubernetes"]["job_variables"], {name: one.get("default") for name, one in variables.items()}
    for name in ("image", "namespace", "service_account_name"):
        assert given[name] == default[name]


def test_accounts_secrets_and_namespace_agree(manifests, container, template):
    assert {one["metadata"].get("namespace", "babelmill") for one in manifests.values()} == {"babelmill"}
    variables = template["variables"]["properties"]
    assert ("ServiceAccount", variables["service_account_name"]["default"]) in manifests
    binding = manifests["RoleBinding", "babelmill-worker"]
    for one in (binding["roleRef"], *binding["subjects"]):
        assert (one["kind"], one["name"]) in manifests
    readme = (DEPLOY / "README.md").read_text()
    auth = next(one for one in container["env"] if one["name"] == "PREFECT_API_AUTH_STRING")["valueFrom"][
        "secretKeyRef"
    ]
    assert f"secret generic {auth['name']} --from-literal={auth['key']}=" in readme
    assert f"secret generic {variables['storage_secret']['default']} " in readme
    packages = re.findall(
        r"PACKAGES=(\S+)",
        readme + (DEPLOY / "Dockerfile").read_text() + (DEPLOY / "kubernetes/worker.yaml").read_text(),
    )
    assert len({Requirement(one).name for one in packages}) == len(set(packages)) == 1


def test_the_examples_of_the_readme_are_yaml(manifests):
    found = [
        yaml.safe_load(one) for one in re.findall(r"```yaml\n(.+?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
    ]
    cluster, settings = found
    assert cluster["kind"] == "DaskCluster"
    assert settings["resources"]["cluster"]["address"].startswith(f"tcp://{cluster['metadata']['name']}-scheduler.")


def test_the_server_in_the_image_is_one_that_starts():
    """Prefect before 3.9 needs an older fastapi than it asks for: the constraints must have such a one."""
    exact = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line)
    assert Version(exact["fastapi"]) < Version("0.151")


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode != 0,
    reason="there is no docker compose",
)
def test_docker_compose_reads_the_file(tmp_path):
    example = (DEPLOY / ".env.example").read_text()
    (tmp_path / "env").write_text(re.sub(r"(?m)^(\w+)=$", r"\1=secret", example))
    subprocess.run(
        [
            "docker",
            "compose",
            "--env-file",
            tmp_path / "env",
            "-f",
            DEPLOY / "docker-compose.yaml",
            "config",
            "--quiet",
        ],
        check=True,
    )
