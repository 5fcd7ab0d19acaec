"""Names of Prefect blocks in, storage that is logged in to out."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.filesystems import RemoteFileSystem

from storage.credentials import Credentials
from storage.errors import ConfigError, SourceError

_FORM = '{"s3": {"key": "...", "secret": "..."}}'


def use_blocks(names: list[str]) -> None:
    """Log in to storage with what Prefect's blocks hold, in this process and those that it starts.

    What a block says goes before the environment; of two blocks for one protocol the later goes before the earlier.

    Args:
        names: each a block's type and name. "remote-file-system/lake" gives its settings to the protocol of its base
            path; "secret/lake" holds JSON: fsspec's settings by protocol, such as {"s3": {"key": "...", "secret":
            "..."}}.

    Raises:
        ConfigError: if there is no such block, or it holds something else.
        SourceError: if Prefect's server does not answer.
    """
    found = [_settings(name) for name in names]
    for settings in found:
        Credentials(settings).apply()


def _settings(name: str) -> dict[str, dict[str, Any]]:
    block = _load(name)
    if isinstance(block, RemoteFileSystem):
        return {urlsplit(block.basepath).scheme: block.settings}
    if not isinstance(block, Secret):
        raise ConfigError(f"credentials: {name} is neither a remote-file-system nor a secret block")
    value: Any = block.get()  # parsed, if it is JSON
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise ConfigError(f"credentials: {name} must hold JSON, settings by protocol: {_FORM}")
    return value


def _load(name: str) -> Any:
    if name.count("/") != 1:
        raise ConfigError(f"credentials: {name!r} must be a block's type and name, such as remote-file-system/lake")
    try:
        return Block.load(name)
    except ValueError as error:  # unknown type, unknown name
        raise ConfigError(f"credentials: there is no block {name} on this Prefect server") from error
    except Exception as error:
        raise SourceError(f"credentials: cannot load block {name}: {type(error).__name__}") from error
