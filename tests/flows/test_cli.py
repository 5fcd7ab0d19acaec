from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.main import get_command

from flows.cli import app
from flows.config import CorpusConfig
from flows.loading import load_config

FAILED, ASKED_WRONGLY = 1, 2
COMMANDS = sorted(get_command(app).commands)


# --- build: what is refused before anything is done


@pytest.fixture
def asked(build_config, tmp_path):
    """Write a build's settings with some changes to a file."""

    def write(**changes):
        path = tmp_path / "corpus.yaml"
        path.write_text(yaml.safe_dump(build_config(tmp_path / "root", **changes)))
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"crawlz": []}, ["crawlz: there is no such setting"]),
        ({"mine": {"treshold": 1.1}}, ["mine.treshold: there is no such setting"]),
        ({"mine": {"margin": "ration"}}, ["mine.margin: ", "'ratio', 'distance' or 'absolute'"]),
        ({"mine": {"k": 0}, "corpus": "../up"}, ["mine.k: ", "corpus: "]),
        ({"languages": ["deu_Latn", "nonsense"]}, ["languages.1: ", "'nonsense' is no language label"]),
        ({"languages": ["deu", "de"]}, ["languages: deu_Latn is named twice"]),
        ({"pairs": [["eng", "rus"]]}, ["pairs: rus_Cyrl is not among the languages"]),
        ({"pairs": [["eng", "en"]]}, ["pairs: eng_Latn cannot be paired with itself"]),
        ({"pairs": [["eng", "deu"], ["en", "de"]]}, ["pairs: eng_Latn-deu_Latn is named twice"]),
        ({"pivot": "rus"}, ["pivot: rus_Cyrl is not among the languages"]),
        ({"pair_filters": {"filters": [{"kind": "lenght_ratio"}]}}, ["pair_filters.filters.0: ", "'length_ratio'"]),
        ({"encoder": {"bitext": []}}, ["encoder.EncoderRecipe.bitext: "]),
        ({"crawls": []}, ["crawls: name at least one"]),
        ({"crawls": [{"name": "a", "path": "/no/such/place"}]}, ["crawls.a.path: ", "/no/such/place"]),
        ({"crawls": [{"name": "a", "path": "nowhere://bucket/a"}]}, ["nowhere://bucket/a", "Protocol not known"]),
        ({"root": "nowhere://bucket/root"}, ["nowhere://bucket/root", "Protocol not known"]),
        ({"encoder": "/no/such/encoder"}, ["encoder: ", "/no/such/encoder"]),
        ({"mine": {"judge": {"kind": "encoder", "encoder": "/no/judge"}}}, ["encoder: ", "/no/judge"]),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_settings_that_cannot_work_are_named(babelmill, asked, changes, told):
    message = babelmill.refused("build", asked(**changes))
    assert all(part in message for part in told), message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"root: [", "is not YAML"),
        (b"- root\n- corpus\n", "the file: "),
        (b"root: \xff\xfe\n", "is not UTF-8"),
        (b"root: ${NO_SUCH_VARIABLE}/runs\n", "the environment variable NO_SUCH_VARIABLE is not set"),
        (b"1: 2\n", "1: Keys should be strings"),
        (b"", "crawls: name at least one"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(babelmill, tmp_path, monkeypatch, content, told):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "corpus.yaml"
    config.write_bytes(content)
    assert told in babelmill.refused("build", config)


def test_a_missing_file_of_settings_is_named(babelmill, tmp_path):
    assert f"cannot read {tmp_path}/none.yaml" in babelmill.refused("build", tmp_path / "none.yaml")
    assert f"cannot read {tmp_path}/none.yaml" in babelmill.refused("train", tmp_path / "none.yaml")


def test_a_crawl_without_files_is_refused(babelmill, asked, tmp_path):
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "_SUCCESS").touch()
    message = babelmill.refused("build", asked(crawls=[{"name": "void", "path": str(tmp_path / "crawl")}]))
    assert "crawls.void.path: there is no file at" in message


def test_a_root_that_cannot_be_written_is_refused(babelmill, asked, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = babelmill.refused("build", asked(root=str(tmp_path / "file")))
    assert "root: cannot write to" in message
    assert (tmp_path / "file").read_text() == "in the way"


def test_wrong_use_shows_the_usage(babelmill):
    for arguments in (["biuld"], ["build"], ["mine", "a", "b", "--k", "four"], ["mine", "a", "b", "--dim", "0"]):
        result = babelmill(*arguments)
        assert result.exit_code == ASKED_WRONGLY
        assert "Usage: " in result.stderr


# --- what fails on the way


@pytest.fixture(scope="module")
def junk(tmp_path_factory):
    """A folder with crawls and bitext of which nothing can be made."""
    folder = tmp_path_factory.mktemp("junk")
    contents = {
        "unreadable/one.warc": b"this is no archive" * 100,
        "void/one.warc": b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 0\r\n\r\n\r\n\r\n",
        "bitext/one.tsv": b"source\ttarget\nOne.\tEins.\n",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"crawls": "unreadable"}, "crawl unreadable: there is no document in its 1 files - one.warc: "),
        ({"crawls": "void"}, "crawl void: there is no document in its 1 files"),
        ({"languages": ["eng", "nno"]}, "languages: there is no sentence in nno_Latn in these crawls; leave it out"),
    ],
)
def test_a_build_that_fails_says_why(babelmill, asked, junk, tmp_path, changes, told):
    if name := changes.get("crawls"):
        changes = {"crawls": [{"name": name, "path": str(junk / name)}]}
    result = babelmill("build", asked(**changes))
    assert result.exit_code == FAILED
    assert result.stderr.startswith(f"babelmill: {told}")
    assert not list((tmp_path / "root").glob("snapshots/**/*"))


def test_a_process_that_fails_shows_no_traceback_in_all_that_prefect_logs(
    build_config, junk, prefect_environment, tmp_path
):
    unreadable = {"crawls": [{"name": "unreadable", "path": str(junk / "unreadable")}]}
    asked = {  # one fails in its flow, the other in a task
        "build": (build_config(tmp_path / "root", **unreadable), FAILED, "crawl unreadable: there is no document"),
        "train": (
            {"root": str(tmp_path / "root"), "recipe": {"bitext": [{"path": str(junk / "bitext")}]}},
            ASKED_WRONGLY,
            "bitext: one.tsv has no column source_language, target_language",
        ),
    }
    processes = {}
    for command, (settings, _, _) in asked.items():
        config = tmp_path / f"{command}.yaml"
        config.write_text(yaml.safe_dump(settings))
        processes[command] = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", command, str(config)],
            env=prefect_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        told_by = {command: process.communicate(timeout=120) for command, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    for command, (_, code, told) in asked.items():
        output, errors = told_by[command]
        assert processes[command].returncode == code, errors
        assert errors.splitlines()[-1].startswith(f"babelmill: {told}"), errors
        assert "Finished in state Failed" in errors
        assert "Traceback" not in output + errors


def test_a_server_that_does_not_answer_is_named(babelmill, asked, tmp_path):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        result = babelmill("build", asked())
    assert result.exit_code == FAILED
    assert result.stderr.startswith("babelmill: no Prefect server answers at http://127.0.0.1:9/api: ")
    assert not list((tmp_path / "root").glob("datasets/**/*"))


# --- settings and help


def test_the_settings_that_are_printed_are_those_of_a_build(babelmill, tmp_path):
    printed = babelmill.lines("settings")
    config = tmp_path / "corpus.yaml"
    config.write_text("\n".join(printed))
    assert load_config(config, CorpusConfig) == CorpusConfig()
    assert list(yaml.safe_load(config.read_text())) == list(CorpusConfig.model_fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_what_each_option_means(babelmill, command):
    told = " ".join(word for word in babelmill(command, "--help").stdout.split() if word not in "│┃|")
    described = get_command(app).commands[command]
    first = " ".join(described.help.split("\n\n")[0].split())
    assert len(first.split()) >= 5
    assert first in told
    for parameter in described.params:
        assert parameter.help, f"{command} {parameter.name}"
        shown = () if getattr(parameter, "hidden", False) else parameter.opts
        assert all(option in told for option in shown if option.startswith("--"))


def test_help_lists_every_command(babelmill):
    told = babelmill("--help").stdout
    assert all(f" {command} " in told for command in COMMANDS)
    assert {"build", "demo", "train", "evaluate", "mine", "embed", "status", "trace", "settings"} <= set(COMMANDS)
