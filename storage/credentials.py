"""How to log in to storage: as fsspec's defaults in this process and its children, and kept out of every text."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import fsspec.config

_Result = TypeVar("_Result")

_SECRET = re.compile(
    r"secret|token|password|passphrase|account_key|private_key|(^|_)sas(_|$)|connection_string|^key$", re.IGNORECASE
)
_SHORTEST = 6  # characters: a shorter value is no secret, and would be found in words


@dataclass(frozen=True, repr=False)
class Credentials:
    """What fsspec is told by default, protocol by protocol; its own text names the protocols and nothing else.

    Called with a function and its arguments, it calls the function with these defaults in force: so a computation can
    be sent to another process, which started before they were known, or to another machine.
    """

    by_protocol: Mapping[str, Mapping[str, Any]]

    def __repr__(self) -> str:
        """Read as the protocols."""
        return f"Credentials({', '.join(sorted(self.by_protocol))})"

    def __call__(self, function: Callable[..., _Result], *args: object) -> _Result:
        """Call a function with these in force."""
        self.apply()
        return function(*args)

    def apply(self) -> None:
        """Make them the defaults of this process, and of the processes that it starts from now on.

        fsspec reads the variable FSSPEC_<PROTOCOL> when it is imported.
        """
        for protocol, settings in self.by_protocol.items():
            whole = fsspec.config.conf.get(protocol, {}) | dict(settings)
            fsspec.config.conf[protocol] = whole
            os.environ[f"FSSPEC_{protocol.upper()}"] = json.dumps(whole)


def in_force() -> Credentials:
    """Return what fsspec is told by default in this process."""
    return Credentials(copy.deepcopy(fsspec.config.conf))


def without_secrets(text: str) -> str:
    """Return a text in which every secret of this process's storage that is known here is three stars."""
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets() -> Iterator[str]:
    for settings in fsspec.config.conf.values():
        yield from _below(settings, secret=False)
    for name, value in os.environ.items():
        if name.startswith(("AWS_", "AZURE_")) and not name.endswith("_FILE"):
            yield from _below({name: value}, secret=False)


def _below(value: Any, *, secret: bool) -> Iterator[str]:
    """Yield the texts below a key that sounds like a secret's."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _below(one, secret=secret or bool(_SECRET.search(str(key))))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _below(one, secret=secret)
    elif secret and isinstance(value, str) and len(value) >= _SHORTEST:
        yield value
