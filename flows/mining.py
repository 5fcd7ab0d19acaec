"""Two files of sentences, embeddings or both in, mined pairs out: the first thing that a LASER user tries."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from encoder.inference import SentenceEncoder
from flows.mining_inputs import (
    MineFilesConfig,
    Rows,
    Side,
    encode_with_progress,
    own_encoder,
    read_lines,
    side_of_rows,
    sides_of_text,
)
from flows.opening import named_encoder
from flows.terminal import say
from storage.errors import ConfigError
from storage.files import atomic_writer, locate
from tasks.filters import Overlap
from tasks.similarity.judges import Reader, mine_judged
from tasks.similarity.retrieval import mine_vectors, score_vectors

_CONTROLS = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]+"  # what ends a field or a line, or plays tricks on a terminal


class Mined(NamedTuple):
    """Columns of equal length to write, and what to tell people about them."""

    columns: list[Sequence[str]]
    told: str


def mine_files(
    source: Path, target: Path, config: MineFilesConfig, embeddings: tuple[Path, Path] | None = None
) -> Mined:
    """Mine between two text files, or between two files of embeddings, whose row numbers stand for the lines.

    Args:
        source: text with one sentence a line; or embeddings: .npy, or raw if the settings have `dim` or `fp16`.
        target: the other side, of the same kind.
        config: what is wanted.
        embeddings: of both texts, a row per line, .npy or raw; without them the encoder makes them.

    Returns:
        LASER's columns: margin, source and target; of `search`, the target of each source line alone.

    Raises:
        ConfigError: if a file is missing, empty or not what it should be, or there is a limit that nothing asks for.
    """
    paths = source, target
    are_vectors = embeddings is None and bool(config.dim or config.fp16 or source.suffix == ".npy")
    _check(config, by_encoder=embeddings is None and not are_vectors)
    encoder = None
    if are_vectors:
        left, right = (side_of_rows(path, config) for path in paths)
    elif embeddings is not None:
        left, right = sides_of_text(paths, config, embeddings)
    else:
        encoder = own_encoder(config)
        left, right = sides_of_text(paths, config, encoder)
    if left.vectors.shape[1] != right.vectors.shape[1]:
        first, second = embeddings or paths
        raise ConfigError(
            f"{first} has vectors of {left.vectors.shape[1]} dimensions, {second} of {right.vectors.shape[1]}"
        )
    if config.mode == "mine":
        return _mined(left, right, config, encoder, guarded=config.guards and not are_vectors)
    return _searched(left, right, config) if config.mode == "search" else _scored(left, right, config, paths)


def write_mined(found: Mined, output: Path | None, encoding: str = "utf-8") -> None:
    """Write tab-separated lines, in which control characters are spaces, and tell people how many there are."""
    columns = [pc.replace_substring_regex(pa.array(one, pa.large_string()), _CONTROLS, " ") for one in found.columns]
    rows = pc.binary_join_element_wise(*columns, pa.scalar("\t", pa.large_string()))
    lines = (f"{row}\n" for row in rows.to_pylist())
    if output is None:
        sys.stdout.writelines(lines)
        sys.stderr.write(f"{found.told}\n")
        return
    filesystem, path = locate(str(output.absolute()))
    with atomic_writer(filesystem, path) as handle:
        handle.writelines(codecs.iterencode(lines, encoding))
    say(f"{found.told}: {output}")


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


def _check(config: MineFilesConfig, *, by_encoder: bool) -> None:
    """Refuse what nothing can come of, before the work.

    Raises:
        ConfigError: naming the option.
    """
    if config.mode != "mine" and (config.threshold is not None or config.maximum is not None):
        raise ConfigError(
            f"--threshold, --maximum, --calibration: --mode {config.mode} writes every line; leave them out"
        )
    if config.mode != "mine" and config.judge is not None:
        raise ConfigError(f"--judge: it chooses among candidates, and --mode {config.mode} has none; leave it out")
    if not by_encoder and config.judge is not None:
        raise ConfigError("--judge: it aligns the tokens of the encoder that embeds the texts: give texts alone")
    if not by_encoder and config.calibrated_for is not None:
        raise ConfigError(
            f"--calibration: nothing says which encoder has made the embeddings; if it was that one, give "
            f"--threshold {config.threshold:g} --margin {config.margin} --retrieval {config.retrieval} -k {config.k}"
        )


def _mined(
    source: Side, target: Side, config: MineFilesConfig, encoder: SentenceEncoder | None, *, guarded: bool
) -> Mined:
    refused = 0

    def refuse(rows: Rows, columns: Rows) -> npt.NDArray[np.bool_]:
        nonlocal refused
        overlap = Overlap()
        score = overlap.score(pa.table({"source": _taken(source, rows), "target": _taken(target, columns)}))
        is_refused = ~overlap.accept(score)
        refused = int(is_refused.sum())
        return np.asarray(is_refused)

    vectors, guard = (source.vectors, target.vectors), refuse if guarded else None
    if config.judge is None or encoder is None:
        rows, columns, _, margins = mine_vectors(*vectors, config, refuse=guard)
    else:
        reader = Reader(config.judge, (encoder, encoder), (_texts(source), _texts(target)))
        rows, columns, _, margins = mine_judged(*vectors, config, reader, refuse=guard)
    told = f"{len(rows):,} pairs" + (f", and {refused:,} candidates that are copies" if refused else "")
    return Mined([_written(margins), _taken(source, rows), _taken(target, columns)], told)


def _searched(source: Side, target: Side, config: MineFilesConfig) -> Mined:
    """The best target of each source line, and how many of them are not in the same place."""
    forward = config.model_copy(update={"retrieval": "forward", "threshold": -np.inf})
    rows, columns, *_ = mine_vectors(source.vectors, target.vectors, forward)
    best = np.full(len(source.vectors), -1, np.int64)
    best[rows] = columns
    chosen = np.append(best, -1)[source.vector_of]
    told = f"{len(chosen):,} lines"
    if len(source.lines) == len(target.lines):
        errors = int((chosen != target.vector_of).sum())
        told += f", of which {errors:,} ({100 * errors / len(chosen):.2f} %) are not those of the same number"
    lines = np.append(target.used, -1)[chosen].tolist()
    return Mined([[target.lines[line] if line >= 0 else "" for line in lines]], told)


def _scored(source: Side, target: Side, config: MineFilesConfig, paths: tuple[Path, Path]) -> Mined:
    """The margin of each source line with the target line of the same number; -inf if one of them is empty."""
    if len(source.lines) != len(target.lines):
        raise ConfigError(
            f"--mode score compares line i with line i, but {paths[0]} has {len(source.lines):,} and {paths[1]} has "
            f"{len(target.lines):,}; --mode mine finds which belong together"
        )
    both = np.flatnonzero((source.vector_of >= 0) & (target.vector_of >= 0))
    margins = np.full(len(source.lines), -np.inf, np.float32)
    pairs = source.vector_of[both], target.vector_of[both]
    margins[both] = score_vectors(source.vectors, target.vectors, pairs, config)
    return Mined([_written(margins), source.lines, target.lines], f"{len(margins):,} lines")


def _texts(side: Side) -> pa.Array:
    return pa.array(_taken(side, np.arange(len(side.used))), pa.large_string())


def _taken(side: Side, rows: Rows) -> list[str]:
    return [side.lines[line] for line in side.used[rows].tolist()]


def _written(margins: npt.NDArray[np.float32]) -> list[str]:
    return [f"{margin:.6f}" for margin in margins.tolist()]
