from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from flows.cli import app
from flows.config import CorpusConfig
from flows.loading import load_config

FAILED, ASKED_WRONGLY = 1, 2
SAMPLES = Path(__file__).parents[2] / "samples"
pytestmark = pytest.mark.usefixtures("in_process")  # should a build start that ought to be refused
COMMANDS = sorted(get_command(app).commands)


def babelmill(*arguments):
    """Run a command in this process; an exception that is not a message and an exit code fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def refused(*arguments):
    """The one message of a command that was asked wrongly."""
    result = babelmill(*arguments)
    assert result.exit_code == ASKED_WRONGLY, result.output
    assert not result.stdout
    assert result.stderr.startswith("babelmill: ")
    return result.stderr


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
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_settings_that_cannot_work_are_named(asked, changes, told):
    message = refused("build", asked(**changes))
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
def test_a_file_that_holds_no_settings_is_refused(tmp_path, monkeypatch, content, told):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "corpus.yaml"
    config.write_bytes(content)
    assert told in refused("build", config)


def test_a_missing_file_of_settings_is_named(tmp_path):
    assert f"cannot read {tmp_path}/none.yaml" in refused("build", tmp_path / "none.yaml")
    assert f"cannot read {tmp_path}" in refused("train", tmp_path)


def test_a_crawl_without_files_is_refused(asked, tmp_path):
    (tmp_path / "crawl").mkdir()
    (tmp_path / "crawl" / "_SUCCESS").touch()
    message = refused("build", asked(crawls=[{"name": "void", "path": str(tmp_path / "crawl")}]))
    assert "crawls.void.path: there is no file at" in message


def test_a_root_that_cannot_be_written_is_refused(asked, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = refused("build", asked(root=str(tmp_path / "file")))
    assert "root: cannot write to" in message
    assert (tmp_path / "file").read_text() == "in the way"


def test_wrong_use_shows_the_usage():
    for arguments in (["biuld"], ["build"], ["mine", "a", "b", "--k", "four"], ["mine", "a", "b", "--dim", "0"]):
        result = babelmill(*arguments)
        assert result.exit_code == ASKED_WRONGLY
        assert "Usage: " in result.stderr


# --- build: what fails on the way, as real processes


@pytest.fixture(scope="module")
def failures(build_config, prefect_environment, tmp_path_factory):
    """Builds that must fail, started at once: exit code, output and errors of each."""
    folder = tmp_path_factory.mktemp("failures")
    contents = {
        "unreadable": b"this is no archive" * 100,
        "void": b"WARC/1.0\r\nWARC-Type: warcinfo\r\nWARC-Record-ID: <urn:uuid:1>\r\nContent-Length: 0\r\n\r\n\r\n\r\n",
    }
    for name, content in contents.items():
        (folder / name).mkdir()
        (folder / name / "one.warc").write_bytes(content)
    changes = {
        **{name: {"crawls": [{"name": name, "path": str(folder / name)}]} for name in contents},
        "language": {"languages": ["eng_Latn", "nno_Latn"]},
    }
    started = {}
    for name, change in changes.items():
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(build_config(folder / "root", ("2024-11",), **change)))
        command = [sys.executable, "-m", "flows.cli", "build", str(config)]
        started[name] = subprocess.Popen(
            command, env=prefect_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    try:
        told = {name: process.communicate(timeout=300) for name, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    assert not list((folder / "root").glob("snapshots/**/*"))
    return {name: (started[name].returncode, *told[name]) for name in started}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("unreadable", "crawl unreadable: there is no document in its 1 files - one.warc: "),
        ("void", "crawl void: there is no document in its 1 files"),
        ("language", "languages: there is no sentence in nno_Latn in these crawls; leave it out"),
    ],
)
def test_a_build_that_fails_says_why_and_nothing_else(failures, name, told):
    code, output, errors = failures[name]
    assert code == FAILED
    assert errors.splitlines()[-1].startswith(f"babelmill: {told}"), errors
    assert "Traceback" not in output + errors


def test_a_server_that_does_not_answer_is_named(asked, prefect_environment, tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", "build", str(asked())],
        env=prefect_environment | {"PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == FAILED
    assert result.stderr.startswith("babelmill: no Prefect server answers at http://127.0.0.1:9/api: ")
    assert "Traceback" not in result.stdout + result.stderr
    assert not list((tmp_path / "root").glob("datasets/**/*"))


# --- train and evaluate


def test_train_makes_an_encoder_that_evaluate_scores_and_mine_uses(texts, tmp_path):
    for path in texts:
        (tmp_path / "tatoeba").mkdir(exist_ok=True)
        (tmp_path / "tatoeba" / f"tatoeba.deu-eng.{path.stem[:3]}").write_bytes(path.read_bytes())
    tests = {"kind": "tatoeba", "path": str(tmp_path / "tatoeba")}
    recipe = {
        "bitext": [{"path": str(SAMPLES / "seed" / "seed.tsv"), "where": {"source_language": ["deu_Latn"]}}],
        "vocabulary": {"size": 500},
        "training": {"architecture": {"kind": "static", "dimension": 16}, "steps": 20},
    }
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump({"root": str(tmp_path / "root"), "recipe": recipe, "evaluation": [tests]}))
    result = babelmill("train", config)
    assert result.exit_code == 0, result.output
    (model,) = (tmp_path / "root").glob("artifacts/encoder/**/model.safetensors")
    assert f"The encoder is at {model.parent};" in result.stdout
    config.write_text(yaml.safe_dump({"root": str(tmp_path / "root"), "encoder": str(model.parent), "sets": [tests]}))
    told = "\n".join(lines_of(babelmill("evaluate", config)))
    assert "tatoeba: percent" in told
    assert "│ deu " in told
    assert len(lines_of(babelmill("mine", *texts, "--encoder", model.parent, "--threshold", "0"))) > 0


def test_evaluate_and_train_name_what_is_missing(texts, tiny_encoder, tmp_path):
    config = tmp_path / "settings.yaml"
    root = {"root": str(tmp_path / "root")}
    config.write_text(yaml.safe_dump(root | {"encoder": tiny_encoder}))
    assert "sets: name at least one" in refused("evaluate", config)
    tests = {"kind": "tatoeba", "path": str(tmp_path / "none")}
    config.write_text(yaml.safe_dump(root | {"encoder": tiny_encoder, "sets": [tests]}))
    assert f"there is no file at {tmp_path / 'none'}" in refused("evaluate", config)
    config.write_text(yaml.safe_dump(root))
    assert "recipe: Field required" in refused("train", config)
    config.write_text(yaml.safe_dump(root | {"recipe": {"bitext": [{"path": str(texts[0])}]}}))
    assert "bitext: deu_Latn.txt: bitext is .parquet, .tsv or .tsv.gz" in refused("train", config)


# --- after a build


def test_status_shows_every_corpus(whole):
    result = babelmill("status", "--root", whole.config.root)
    assert result.exit_code == 0
    assert f"tiny: version {whole.report.version} of " in result.stdout
    assert "crawls: 2024-10, 2024-11" in result.stdout
    assert whole.report.release in result.stdout
    rows = sum(one.rows for one in whole.snapshot.find("corpus"))
    assert any(f" {rows:,} " in line for line in result.stdout.splitlines() if line.startswith("│ corpus "))


def test_status_of_a_place_without_corpora_is_refused(tmp_path):
    assert f"there is no corpus at {tmp_path}" in refused("status", "--root", tmp_path)
    assert not list(tmp_path.iterdir())


def told_of(pair_id, built):
    """What `trace` says of a pair in this corpus; a root may hold others that have the pair too."""
    result = babelmill("trace", pair_id, "--root", built.config.root)
    assert result.exit_code == 0
    text, found = result.stdout.strip(), []
    while text:
        one, end = json.JSONDecoder().raw_decode(text)
        found, text = [*found, one], text[end:].strip()
    (mine,) = (one for one in found if one["corpus"] == f"{built.report.corpus} version {built.report.version}")
    return mine


def record_at(crawl_file, offset, length):
    data = crawl_file.read_bytes()[offset : offset + length]
    return gzip.decompress(data) if crawl_file.suffix == ".gz" else data


def test_trace_leads_to_the_record_on_disk(whole):
    folders = {crawl.name: Path(crawl.path) for crawl in whole.config.crawls}
    release = Path(whole.report.release)
    for name in whole.report.pairs:
        row = pq.read_table(release / "bilingual" / f"{name}.parquet").slice(0, 1).to_pylist()[0]
        told = told_of(row["pair_id"].hex(), whole)
        assert (told["pair"], told["kept"]) == (name, True)
        assert told["margin"] == pytest.approx(row["margin"])
        assert told["scores"].keys() == {one.kind for one in whole.config.pair_filters.filters}
        for side in ("source", "target"):
            document = told[side]["document"]
            assert told[side]["text"]
            for field in ("url", "crawl", "file", "offset"):
                assert document[field] == row[f"{side}_{field}"]
            file = folders[document["crawl"]] / document["file"]
            record = record_at(file, document["offset"], document["length"])
            assert record.startswith(b"WARC/1.")
            assert f"\r\nWARC-Target-URI: {document['url']}\r\n".encode() in record


def test_trace_knows_why_a_pair_was_rejected(whole):
    part = next(one for one in whole.snapshot.find("rejected_pairs") if one.rows)
    row = pq.ParquetDataset(whole.store.paths(part)).read().slice(0, 1).to_pylist()[0]
    told = told_of(row["pair_id"].hex(), whole)
    assert told["kept"] is False
    assert told["rejected_by"]["filter"] == row["filter"]
    assert told["scores"][row["filter"]] == told["rejected_by"]["score"]
    assert json.loads(told["rejected_by"]["limit"])["kind"] == row["filter"]
    assert told["source"]["document"]["url"]


def test_a_pair_id_that_leads_nowhere_is_refused(whole, tmp_path):
    root = ("--root", whole.config.root)
    for malformed in ("12", "x" * 32, "", "00" * 17, "\x1b[31m"):
        assert "is no pair_id: it has 32 hexadecimal digits" in refused("trace", malformed, *root)
    assert f"has a pair {'0' * 32}, kept or rejected" in refused("trace", "0" * 32, *root)
    assert "there is no corpus at" in refused("trace", "0" * 32, "--root", tmp_path)


# --- mine and embed


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Sixty sentences in German and English, line by line, of which the encoder has seen none."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [line.split("\t") for line in (SAMPLES / "seed" / "multiway.tsv").read_text("utf-8").splitlines()[1:]]
    files = []
    for language in ("deu_Latn", "eng_Latn"):
        files.append(folder / f"{language}.txt")
        files[-1].write_text("".join(f"{text}\n" for _, label, text in rows if label == language), "utf-8")
    return files


def lines_of(result):
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_mine_writes_margins_and_pairs_best_first(texts, tiny_encoder, tmp_path):
    def mine(*more):
        return lines_of(babelmill("mine", *texts, "--encoder", tiny_encoder, *more))

    every = mine("--threshold", "0")
    rows = [line.split("\t") for line in every]
    sides = [set(path.read_text("utf-8").splitlines()) for path in texts]
    assert all(len(row) == 3 and row[1] in sides[0] and row[2] in sides[1] for row in rows)
    margins = [float(margin) for margin, _, _ in rows]
    assert margins == sorted(margins, reverse=True)
    middle = margins[len(margins) // 2]
    assert mine("--threshold", middle + 1e-5) == [
        line for line, one in zip(every, margins, strict=True) if one > middle
    ]
    assert mine("--threshold", "1000") == []
    assert len(mine("--threshold", "0", "--retrieval", "forward")) == 60
    assert mine("--threshold", "-1", "--margin", "absolute", "-k", "1") != every

    output = tmp_path / "pairs.tsv"
    result = babelmill("mine", *texts, "--encoder", tiny_encoder, "--threshold", "0", "-o", output)
    assert f"{len(every)} pairs: {output}" in result.stdout
    assert output.read_text("utf-8").splitlines() == every


def test_mine_takes_embeddings_as_numpy_and_as_laser_write_them(texts, tiny_encoder, tmp_path):
    arrays = [tmp_path / f"{path.stem}.npy" for path in texts]
    for text, array in zip(texts, arrays, strict=True):
        result = babelmill("embed", text, array, "--encoder", tiny_encoder)
        assert f"60 vectors of 64 dimensions: {array}" in result.stdout
    vectors = [np.load(array) for array in arrays]
    for side in vectors:
        assert (side.shape, side.dtype) == ((60, 64), np.float16)
        assert np.allclose(np.linalg.norm(side.astype(np.float32), axis=1), 1, atol=1e-3)
    mined = lines_of(babelmill("mine", *arrays, "--threshold", "0"))
    raw = [tmp_path / f"{path.stem}.emb" for path in texts]
    for side, path in zip(vectors, raw, strict=True):
        (3 * side.astype(np.float32)).tofile(path)  # of any length: mining is about directions
    from_raw = lines_of(babelmill("mine", *raw, "--dim", "64", "--threshold", "0"))
    assert [line.split("\t")[1:] for line in from_raw] == [line.split("\t")[1:] for line in mined]

    lines = [path.read_text("utf-8").splitlines() for path in texts]
    by_text = lines_of(babelmill("mine", *texts, "--encoder", tiny_encoder, "--threshold", "0"))
    pairs = {tuple(line.split("\t")[1:]) for line in by_text}
    rows = (line.split("\t")[1:] for line in mined)
    assert {(lines[0][int(row)], lines[1][int(column)]) for row, column in rows} == pairs


def test_embed_gives_an_empty_line_a_row_of_zeros(tiny_encoder, tmp_path):
    (tmp_path / "text").write_text("One sentence.\n\nAnother one.\n", "utf-8")
    assert babelmill("embed", tmp_path / "text", tmp_path / "out.npy", "--encoder", tiny_encoder).exit_code == 0
    assert np.load(tmp_path / "out.npy").any(axis=1).tolist() == [True, False, True]


def test_mine_and_embed_refuse_what_they_cannot_read(texts, tiny_encoder, tmp_path):
    encoder = ("--encoder", tiny_encoder)
    text, other = texts
    empty, binary, odd, flat, objects, wide = (
        tmp_path / name for name in ("empty.txt", "binary.txt", "odd.emb", "flat.npy", "objects.npy", "wide.npy")
    )
    empty.write_text("\n \n")
    binary.write_bytes(b"\xff\xfe\x00")
    odd.write_bytes(b"1234" * 10 + b"5")
    np.save(flat, np.ones(5, np.float32))
    np.save(objects, np.array([{}], object), allow_pickle=True)
    np.save(wide, np.ones((2, 7), np.float32))
    six = tmp_path / "six.npy"
    np.save(six, np.ones((2, 6), np.float32))
    assert "has no sentences in it" in refused("mine", text, empty, *encoder)
    assert f"cannot read {binary}" in refused("mine", binary, other, *encoder)
    assert "cannot read" in refused("mine", tmp_path / "none.txt", other, *encoder)
    assert "does not hold whole rows of 3 float32 numbers; check --dim" in refused("mine", odd, odd, "--dim", "3")
    assert "rows of vectors" in refused("mine", flat, flat)
    assert f"cannot read {objects}" in refused("mine", objects, objects)
    assert "has vectors of 6 dimensions" in refused("mine", six, wide)
    assert f"{text} is no .npy file" in refused("mine", six, text)
    assert "mine:\n  margin: " in refused("mine", text, other, *encoder, "--margin", "cosine")
    assert "mine:\n  k: " in refused("mine", text, other, *encoder, "-k", "0")
    assert "encoder: " in refused("mine", text, other, "--encoder", tmp_path / "no-encoder")
    assert "encoder: " in refused("embed", text, tmp_path / "out.npy", "--encoder", "nowhere://x")
    assert "cannot read" in refused("embed", tmp_path / "none.txt", tmp_path / "out.npy", *encoder)
    assert not (tmp_path / "out.npy").exists()


def test_an_output_that_cannot_be_written_is_a_failure(texts, tiny_encoder):
    result = babelmill("embed", texts[0], texts[1] / "out.npy", "--encoder", tiny_encoder)
    assert result.exit_code == FAILED
    assert result.stderr.startswith(f"babelmill: cannot write {texts[1]}/out.npy: ")


# --- settings and help


def test_the_settings_that_are_printed_are_those_of_a_build(tmp_path):
    printed = lines_of(babelmill("settings"))
    config = tmp_path / "corpus.yaml"
    config.write_text("\n".join(printed))
    assert load_config(config, CorpusConfig) == CorpusConfig()
    assert list(yaml.safe_load(config.read_text())) == list(CorpusConfig.model_fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_what_each_option_means(command):
    told = " ".join(word for word in babelmill(command, "--help").stdout.split() if word not in "│┃|")
    described = get_command(app).commands[command]
    first = " ".join(described.help.split("\n\n")[0].split())
    assert len(first.split()) >= 5
    assert first in told
    for parameter in described.params:
        assert parameter.help, f"{command} {parameter.name}"
        assert all(option in told for option in parameter.opts if option.startswith("--"))


def test_help_lists_every_command():
    told = babelmill("--help").stdout
    assert all(f" {command} " in told for command in COMMANDS)
    assert {"build", "demo", "train", "evaluate", "mine", "embed", "status", "trace", "settings"} <= set(COMMANDS)
