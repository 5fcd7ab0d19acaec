"""The name of an encoder in, the encoder out."""

from __future__ import annotations

from importlib import resources

import fsspec

from encoder.checkpoint import FILES, unpack
from encoder.inference import Encoder, SentenceEncoder
from encoder.laser2 import load_laser2
from encoder.outside import load_sentence_transformer
from encoder.precision import Precision

DEFAULT = "default"
LASER2 = "laser2:"
SENTENCE_TRANSFORMERS = "sentence-transformers:"


def load_encoder(name: str, precision: Precision = "float32", *, download: bool = False) -> SentenceEncoder:
    """Load an encoder by its name, to compute in the precision given.

    "default" is the one that comes with this package. A folder, or any URL of one that fsspec can read, holds one that
    was trained with it. "laser2:PATH" is LASER2: a folder, a .pt file, or a URL of either. "sentence-transformers:NAME"
    is a folder or a model of the Hugging Face hub, fetched only if `download` or $BABELMILL_DOWNLOAD=1 says so.

    ValueError if a file or a package is not there or broken, or if the encoder does not have the precision.
    """
    try:
        if name.startswith(SENTENCE_TRANSFORMERS):
            return load_sentence_transformer(name.removeprefix(SENTENCE_TRANSFORMERS), precision, download=download)
        encoder = _ours(name)
        return encoder if precision == "float32" else encoder.at(precision)
    except ValueError as error:
        message = f"encoder {name!r}: {error}"
        raise ValueError(message) from error


def _ours(name: str) -> Encoder:
    if name.startswith(LASER2):
        return load_laser2(name.removeprefix(LASER2))
    return unpack(_packaged() if name == DEFAULT else _fetched(name))


def _packaged() -> dict[str, bytes]:
    folder = resources.files("encoder").joinpath(DEFAULT)
    return {name: folder.joinpath(name).read_bytes() for name in FILES if folder.joinpath(name).is_file()}


def _fetched(name: str) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(str(name))
    paths = {file: f"{root.rstrip('/')}/{file}" for file in FILES}
    return {file: files.cat_file(path) for file, path in paths.items() if files.isfile(path)}
