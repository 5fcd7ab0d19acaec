from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from typer.testing import CliRunner, Result

from encoder.bilstm import BiLstmConfig, BiLstmModel
from encoder.bitext import Bitext
from encoder.checkpoint import pack, pack_model
from encoder.static import StaticConfig
from encoder.training import TrainingConfig, train
from encoder.vocabulary import VocabularyConfig, train_vocabulary
from flows.build_corpus import build_corpus
from flows.cli import app
from flows.config import CorpusConfig
from flows.opening import named_encoder
from flows.report import BuildReport
from storage.manifest import Manifest, Reference
from storage.snapshots import Snapshot, load
from storage.store import Store
from tasks.formats.bitext import BitextSource, read_bitext
from tasks.train_encoder import by_languages

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "samples"
FIRST, SECOND = "2024-10", "2024-11"
# Enough of the sample web for duplicates, contact details, damage, and pages whose translation comes in the other crawl.
FILES = {
    FIRST: ["sample-2024-10-00000.warc.gz", "sample-2024-10-00005.warc.gz"],
    SECOND: ["sample-2024-11-00000.warc.gz", "sample-2024-11-00002.warc.wet.gz"],
}


@dataclass(frozen=True)
class Built:
    """A finished build, and how to look at what it left."""

    config: CorpusConfig
    report: BuildReport

    @property
    def store(self) -> Store:
        return Store(self.config.root)

    @property
    def snapshot(self) -> Snapshot:
        found = load(self.store, self.config.corpus, self.report.version)
        assert found is not None
        return found

    def manifests(self, *names: str) -> dict[Reference, Manifest]:
        """The manifests of this version, of all things or of those with these names."""
        return {one: self.store.manifest(one) for one in self.snapshot.things if not names or one.name in names}

    def parts(self) -> set[tuple[str, str, str, tuple[tuple[int, int, str], ...]]]:
        """Everything in the version: name, partition, fingerprint, and rows, bytes and digest of each shard."""
        return {
            (one.name, one.partition, one.fingerprint, tuple((s.rows, s.bytes, s.digest) for s in manifest.shards))
            for one, manifest in self.manifests().items()
        }

    def release(self) -> dict[str, bytes]:
        """The release, file by file."""
        (release,) = self.snapshot.find("release")
        filesystem, _ = self.store.place()
        files = self.store.manifest(release).shards
        paths = self.store.paths(release)
        return {file.path: filesystem.cat_file(path) for file, path in zip(files, paths, strict=True)}


def await_event(happened: Callable[[], Any], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], Any], float, str], None]:
    """Look again and again whether something has happened."""
    return await_event


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """API URL of a real server that this session has for itself."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
        "DO_NOT_TRACK": "1",
    }
    url = f"http://127.0.0.1:{port}/api"

    def is_up() -> bool:
        assert server.poll() is None, (home / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (
        (home / "server.log").open("wb") as log,
        subprocess.Popen(
            command, env=environment, cwd=home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        ) as server,
    ):
        try:
            await_event(is_up, 120, "the start of the Prefect server")
            yield url
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def prefect_environment(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process whose flow runs report to the session's server."""
    return os.environ | {
        "PREFECT_API_URL": prefect_server,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(REPOSITORY),
    }


@pytest.fixture(scope="session")
def in_process(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Flow runs of this process report to the session's server; without heartbeats, each of which costs a second."""
    settings = {
        PREFECT_API_URL: prefect_server,
        PREFECT_HOME: tmp_path_factory.mktemp("home"),
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    with temporary_settings(settings):
        yield


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of an encoder that knows enough of five languages to find some pairs."""
    torch.set_num_threads(1)
    with (SAMPLES / "seed" / "seed.tsv").open("rb") as file:
        pairs = next(read_bitext(file, "seed.tsv", BitextSource(path="seed.tsv")))
    texts = pairs["source"].to_pylist() + pairs["target"].to_pylist()
    vocabulary = train_vocabulary(texts, VocabularyConfig(size=2000))
    bitext: list[Bitext] = list(by_languages(pairs))
    training = train(TrainingConfig(architecture=StaticConfig(dimension=64), steps=150), vocabulary, bitext)
    for _ in training:
        pass
    folder = tmp_path_factory.mktemp("encoder")
    for name, data in pack(training.encoder()).items():
        (folder / name).write_bytes(data)
    return str(folder)


@pytest.fixture(scope="session")
def neural_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an encoder without token vectors."""
    vocabulary = named_encoder("default").vocabulary
    folder = tmp_path_factory.mktemp("neural")
    model = BiLstmModel(BiLstmConfig(layers=1, hidden=8, embedding=8), vocabulary.size)
    for name, data in pack_model(model, vocabulary, max_tokens=8).items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="session")
def crawls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A part of the sample web: name and folder of each crawl."""
    folder = tmp_path_factory.mktemp("crawls")
    for crawl, files in FILES.items():
        (folder / crawl).mkdir()
        for file in files:
            (folder / crawl / file).write_bytes((SAMPLES / "crawls" / crawl / file).read_bytes())
    return {crawl: str(folder / crawl) for crawl in FILES}


@pytest.fixture(scope="session")
def build_config(crawls: dict[str, str], tiny_encoder: str) -> Callable[..., dict[str, Any]]:
    """Settings of a build as plain values, as a YAML file has them: root, names of crawls, and whatever differs."""

    def settings(root: Path | str, names: tuple[str, ...] = (FIRST, SECOND), /, **changes: Any) -> dict[str, Any]:
        values = {
            "root": str(root),
            "corpus": "tiny",
            "crawls": [{"name": name, "path": crawls[name]} for name in names],
            "languages": ["deu_Latn", "eng_Latn", "fra_Latn"],
            "encoder": tiny_encoder,
            "resources": {"workers": 0, "threads": 1},
        }
        return values | changes

    return settings


@pytest.fixture(scope="session")
def build(in_process: None, build_config: Callable[..., dict[str, Any]]) -> Callable[..., Built]:
    """Run a build in this process: root, names of crawls, and whatever differs."""

    def run(root: Path | str, names: tuple[str, ...] = (FIRST, SECOND), **changes: Any) -> Built:
        config = CorpusConfig.model_validate(build_config(root, names, **changes))
        return Built(config, build_corpus(config))

    return run


@pytest.fixture(scope="session")
def whole(build: Callable[..., Built], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both crawls built at once, undisturbed."""
    return build(tmp_path_factory.mktemp("whole"))


class CommandLine:
    """The command `babelmill` in this process; an exception that is no message and exit code fails the test."""

    def __call__(self, *arguments: object) -> Result:
        """Run it with some arguments."""
        result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
        assert "Traceback" not in result.output
        return result

    def lines(self, *arguments: object) -> list[str]:
        """The output of a command that ends well."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    def refused(self, *arguments: object) -> str:
        """The one message of a command that was asked wrongly."""
        result = self(*arguments)
        assert result.exit_code == 2, result.output
        assert not result.stdout
        assert result.stderr.startswith("babelmill: ")
        return result.stderr


@pytest.fixture(scope="session")
def babelmill(in_process: None) -> CommandLine:
    """The command line; should a flow run come of it, it reports to the session's server."""
    return CommandLine()


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty sentences in German and English, line by line, of which the encoder has seen none."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [line.split("\t") for line in (SAMPLES / "seed" / "multiway.tsv").read_text("utf-8").splitlines()[1:]]
    files = [folder / "deu_Latn.txt", folder / "eng_Latn.txt"]
    for file in files:
        file.write_text("".join(f"{text}\n" for _, label, text in rows if label == file.stem), "utf-8")
    return files
