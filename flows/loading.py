"""A YAML file in, the same settings model that the UI's form fills out."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from storage.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_config(path: Path, model: type[_Model], variables: Mapping[str, str] = os.environ) -> _Model:
    """Read settings from a YAML file; ${NAME} stands for an environment variable.

    Raises:
        ConfigError: naming the field and what is wrong with it.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    return parse_config(_expanded(values or {}, path, variables), model, str(path))


def parse_config(values: Any, model: type[_Model], origin: str) -> _Model:
    """Check plain values against a settings model.

    Raises:
        ConfigError: naming every wrong field.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join([f"{origin}:", *(_told(problem) for problem in error.errors())])) from error


def _told(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"  {field}: there is no such setting; check its spelling and its place"
    return f"  {field}: {problem['msg']}"


def _expanded(value: Any, path: Path, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(one, path, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [_expanded(one, path, variables) for one in value]
    return _VARIABLE.sub(lambda found: _value(found[1], path, variables), value) if isinstance(value, str) else value


def _value(name: str, path: Path, variables: Mapping[str, str]) -> str:
    if name not in variables:
        raise ConfigError(f"{path} uses ${{{name}}}, but the environment variable {name} is not set")
    return variables[name]
