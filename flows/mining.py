"""Two files of sentences or embeddings in, mined pairs out: the first thing that a LASER user tries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
from rich.progress import track

from encoder.inference import SentenceEncoder, unit_rows
from flows.opening import named_encoder
from flows.terminal import say
from storage.errors import ConfigError
from storage.files import atomic_writer, locate
from tasks.similarity.retrieval import MineConfig, mine_vectors

_LINES = 16_384


class Mined(NamedTuple):
    """Pairs, best first: margins, and what stands on either side of each."""

    margins: npt.NDArray[np.float32]
    sources: list[str]
    targets: list[str]


def mine_files(source: Path, target: Path, encoder: str, dim: int | None, config: MineConfig) -> Mined:
    """Mine between two text files (equal lines count once), or between two files of embeddings.

    Args:
        source: text with one sentence a line, a .npy array, or raw float32 rows if `dim` is given.
        target: the other side, of the same kind.
        encoder: name of the encoder for text.
        dim: dimension of raw embeddings.
        config: margin, retrieval, k and threshold.

    Raises:
        ConfigError: if a file is missing, empty or not what it should be.
    """
    if dim is not None or source.suffix == ".npy":
        vectors = [read_vectors(path, dim) for path in (source, target)]
        texts = [[str(row) for row in range(len(side))] for side in vectors]
    else:
        model = named_encoder(encoder)
        texts = [list(dict.fromkeys(line for line in read_lines(path) if line)) for path in (source, target)]
        vectors = [
            encode_with_progress(model, side, path.name) for side, path in zip(texts, (source, target), strict=True)
        ]
    if vectors[0].shape[1] != vectors[1].shape[1]:
        raise ConfigError(
            f"{source} has vectors of {vectors[0].shape[1]} dimensions, {target} of {vectors[1].shape[1]}"
        )
    rows, columns, _, margins = mine_vectors(vectors[0], vectors[1], config)
    return Mined(margins, [texts[0][row] for row in rows], [texts[1][column] for column in columns])


def write_pairs(pairs: Mined, output: Path | None) -> None:
    """Write lines of margin, source and target, tab-separated, best first: LASER's columns."""
    lines = (
        f"{margin:.6f}\t{_cell(source)}\t{_cell(target)}\n"
        for margin, source, target in zip(pairs.margins.tolist(), pairs.sources, pairs.targets, strict=True)
    )
    if output is None:
        sys.stdout.writelines(lines)
        return
    filesystem, path = locate(str(output.absolute()))
    with atomic_writer(filesystem, path) as handle:
        handle.writelines(line.encode() for line in lines)
    say(f"{len(pairs.sources):,} pairs: {output}")


def embed_file(text: Path, output: Path, encoder: str) -> None:
    """Write the vectors of a text file's lines as a float16 .npy array; an empty line is a row of zeros.

    Raises:
        ConfigError: if the file is missing or empty.
    """
    model = named_encoder(encoder)
    lines = read_lines(text)
    vectors = encode_with_progress(model, lines, text.name)
    filesystem, path = locate(str(output.absolute()))
    with atomic_writer(filesystem, path) as handle:
        np.save(handle, vectors.astype(np.float16))
    say(f"{len(lines):,} vectors of {model.dimension} dimensions: {output}")


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without surrounding white space.

    Raises:
        ConfigError: if there is no such file, nothing in it, or something other than UTF-8.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    lines = lines[:-1] if lines and not lines[-1] else lines
    if not any(lines):
        raise ConfigError(f"{path} has no sentences in it")
    return lines


def read_vectors(path: Path, dim: int | None) -> npt.NDArray[np.float32]:
    """Return a file's embeddings as rows of unit length.

    Raises:
        ConfigError: if it is missing or does not hold whole rows.
    """
    try:
        if path.suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        elif dim is None:
            raise ConfigError(f"{path} is no .npy file; for raw float32 numbers say their dimension by --dim")
        else:
            array = np.fromfile(path, np.float32)
            if array.size % dim:
                raise ConfigError(f"{path} does not hold whole rows of {dim} float32 numbers; check --dim")
            array = array.reshape(-1, dim)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if array.ndim != 2 or not len(array):
        raise ConfigError(f"{path} holds an array of shape {array.shape}, not rows of vectors")
    return unit_rows(array.astype(np.float32))


def encode_with_progress(encoder: SentenceEncoder, lines: list[str], name: str) -> npt.NDArray[np.float32]:
    """Encode lines, with a progress bar where there is somebody to see it."""
    parts = list(_batches(lines))
    shown = track(parts, description=f"embed {name}", disable=not sys.stderr.isatty())
    return np.concatenate([encoder.encode(part) for part in cast("Iterator[list[str]]", shown)])


def _batches(lines: list[str]) -> Iterator[list[str]]:
    rest = iter(lines)
    while batch := list(islice(rest, _LINES)):
        yield batch


def _cell(text: str) -> str:
    return text.replace("\t", " ").replace("\r", " ")
