from __future__ import annotations

import importlib
import subprocess
import sys
import types
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel, ValidationError

from flows.build_corpus import build_corpus, in_order
from flows.build_pairs import language_pairs
from flows.calibrate_threshold import CalibrateThresholdConfig
from flows.compare_encoders import CompareEncodersConfig, compare_encoders
from flows.config import CorpusConfig, Crawl, EvaluateEncoderConfig, RemoveConfig, TrainEncoderConfig
from flows.evaluate_encoder import evaluate_encoder
from flows.train_encoder import train_encoder

REPOSITORY = Path(__file__).parents[2]
SETTINGS = Path(__file__).with_name("settings.txt")
PACKAGES = ("flows", "tasks", "encoder", "storage")
CONFIGS = (CorpusConfig, TrainEncoderConfig, EvaluateEncoderConfig, CompareEncodersConfig, RemoveConfig)


def models_in(kind):
    """The settings models that a field's type speaks of, inside lists, unions and annotations."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if get_origin(kind) in (Annotated, list, tuple, dict, Union, types.UnionType):
        return [model for part in get_args(kind) for model in models_in(part)]
    return []


def fields_of(model, path=""):
    """Path and field of every setting below a model; a kind of a union is named in brackets."""
    for name, field in model.model_fields.items():
        here = f"{path}{name}"
        yield here, field
        models = models_in(field.annotation)
        for one in models:
            kind = one.model_fields.get("kind")
            mark = f"[{kind.default}]" if kind else f"[{one.__name__}]" if len(models) > 1 else ""
            yield from fields_of(one, f"{here}{mark}.")


def test_every_setting_is_listed():
    found = "".join(f"{path}\n" for path, _ in fields_of(CorpusConfig))
    told = (
        "a new setting is a decision: write it into tests/flows/settings.txt, and say in the change log what it is for"
    )
    assert SETTINGS.read_text("utf-8") == found, told


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_says_what_it_is(config):
    for path, field in fields_of(config):
        models = models_in(field.annotation)
        told = field.description or " ".join(model.__doc__ or "" for model in models)
        assert told.strip() or path.rpartition(".")[2] == "kind", path


@pytest.mark.parametrize("config", CONFIGS)
def test_settings_are_frozen_and_refuse_unknown_names(config):
    seen = {config, *(model for _, field in fields_of(config) for model in models_in(field.annotation))}
    assert len(seen) > 3
    for model in seen:
        assert model.model_config.get("frozen"), model
        assert model.model_config.get("extra") == "forbid", model


@pytest.mark.parametrize("flow", [build_corpus, train_encoder, evaluate_encoder, compare_encoders])
def test_prefect_makes_a_form_of_the_settings(flow: Flow[Any, Any]):
    schema = parameter_schema(flow.fn)
    assert list(schema.properties) == ["config"]
    model = schema.properties["config"].get("$ref", "").rpartition("/")[2] or next(
        part["$ref"].rpartition("/")[2] for part in schema.properties["config"]["allOf"]
    )
    for name, field in schema.definitions[model]["properties"].items():
        reached = field.get("$ref", "").rpartition("/")[2]
        assert field.get("description") or schema.definitions[reached]["description"], name
    assert flow.description


def test_the_form_keeps_bounds_and_choices():
    definitions = parameter_schema(build_corpus.fn).definitions
    k = definitions["MinePairsConfig"]["properties"]["k"]
    assert (k["minimum"], k["maximum"], k["default"]) == (1, 64, 4)
    assert definitions["MinePairsConfig"]["properties"]["retrieval"]["enum"] == [
        "forward",
        "backward",
        "intersection",
        "max",
        "union",
    ]


def test_settings_travel_as_json():
    config = CorpusConfig(crawls=[Crawl(name="a", path="b")], pairs=[("deu", "eng")], pivot="en")
    assert CorpusConfig.model_validate_json(config.model_dump_json()) == config
    assert config.pairs == [("deu_Latn", "eng_Latn")]


def test_two_crawls_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="the name a is used twice"):
        CorpusConfig(crawls=[Crawl(name="a", path="x"), Crawl(name="a", path="y")])


def test_pairs_are_those_that_are_named_else_those_with_the_pivot_else_all():
    languages = ["rus_Cyrl", "deu_Latn", "eng_Latn"]
    named = CorpusConfig(pairs=[("rus", "eng")])
    assert language_pairs(named, languages) == [("rus_Cyrl", "eng_Latn")]
    assert language_pairs(CorpusConfig(pivot="eng"), languages) == [("rus_Cyrl", "eng_Latn"), ("deu_Latn", "eng_Latn")]
    every = [("deu_Latn", "eng_Latn"), ("deu_Latn", "rus_Cyrl"), ("eng_Latn", "rus_Cyrl")]
    assert language_pairs(CorpusConfig(), languages) == every


def test_new_crawls_follow_in_the_order_of_the_settings():
    crawls = [Crawl(name=name, path=name) for name in "dbca"]
    assert [crawl.name for crawl in in_order(crawls, None)] == ["d", "b", "c", "a"]


# --- prefect.yaml


@pytest.fixture(scope="module")
def deployments():
    return yaml.safe_load((REPOSITORY / "prefect.yaml").read_text("utf-8"))["deployments"]


def test_every_entrypoint_is_a_flow_in_a_module(deployments):
    flows = {}
    for one in deployments:
        module, _, name = one["entrypoint"].rpartition(".")
        flows[one["name"]] = getattr(importlib.import_module(module), name)
        assert isinstance(flows[one["name"]], Flow)
    assert {flow.name for flow in flows.values()} == {
        "build-corpus",
        "train-encoder",
        "evaluate-encoder",
        "compare-encoders",
        "calibrate-threshold",
        "remove-documents",
    }


def test_the_parameters_of_every_deployment_are_settings_of_its_flow(deployments):
    configs = {
        "build-corpus": CorpusConfig,
        "remove-documents": RemoveConfig,
        "train-encoder": TrainEncoderConfig,
        "evaluate-encoder": EvaluateEncoderConfig,
        "compare-encoders": CompareEncodersConfig,
        "calibrate-threshold": CalibrateThresholdConfig,
    }
    for one in deployments:
        asked = {"hosts": ["example.org"]} if one["name"] == "remove-documents" else {}  # what the form asks for
        settings = configs[one["name"]].model_validate(one["parameters"]["config"] | asked)
        for path in paths_in(settings):
            assert (REPOSITORY / path).exists(), f"{one['name']}: {path}"


def paths_in(settings):
    """Every input that some settings name."""
    if isinstance(settings, BaseModel):
        for name, value in settings:
            yield from [value] if name == "path" else paths_in(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from paths_in(value)


# --- names


def test_no_flow_file_is_named_like_an_importable_module():
    files = {path.stem for path in (REPOSITORY / "flows").glob("*.py")} - {"__init__"}
    assert not files & (sys.stdlib_module_names | set(packages_distributions()))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_claims_our_names(package):
    assert set(packages_distributions().get(package, ())) <= {"babelmill"}


def test_the_command_starts_without_heavy_packages():
    told = "import sys, flows.cli; print(*({'torch', 'prefect', 'polars', 'faiss', 'numba'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", told], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert not result.stdout.strip()
