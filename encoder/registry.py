"""The name of an encoder in, the encoder out."""

from __future__ import annotations

from importlib import resources

import fsspec

from encoder.checkpoint import FILES, unpack
from encoder.inference import Encoder

DEFAULT = "default"


def load_encoder(name: str) -> Encoder:
    """Load "default" (the one that comes with this package), a folder, or any URL of a folder that fsspec can read.

    ValueError if one of the files is not there or broken.
    """
    try:
        return unpack(_packaged() if name == DEFAULT else _fetched(name))
    except ValueError as error:
        message = f"encoder {name!r}: {error}"
        raise ValueError(message) from error


def _packaged() -> dict[str, bytes]:
    folder = resources.files("encoder").joinpath(DEFAULT)
    return {name: folder.joinpath(name).read_bytes() for name in FILES if folder.joinpath(name).is_file()}


def _fetched(name: str) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(str(name))
    paths = {file: f"{root.rstrip('/')}/{file}" for file in FILES}
    return {file: files.cat_file(path) for file, path in paths.items() if files.isfile(path)}
