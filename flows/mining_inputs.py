"""Files of sentences, embeddings or both in; their lines and unit vectors, mapped where they are large, out."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from pydantic import Field
from rich.progress import track

from encoder.inference import SentenceEncoder, unit_rows
from flows.calibrations import read_calibration, way
from flows.opening import named_encoder
from storage.errors import ConfigError, SourceError
from tasks.judge_candidates import check_alignment
from tasks.mine_pairs import ALIGNED_THRESHOLDS
from tasks.similarity.judging import AlignmentJudge, EncoderJudge
from tasks.similarity.retrieval import MineConfig

LASER_DIMENSION = 1024  # the default of LASER's mine_bitexts.py

_LINES = 16_384
_VECTORS = 16_384  # normalised at once: 64 MB of 1024 dimensions

Vectors = npt.NDArray[np.floating]
Rows = npt.NDArray[np.int64]


class MineFilesConfig(MineConfig):
    """What is wanted of two files, and how they are to be read."""

    mode: Annotated[
        Literal["mine", "search", "score"],
        Field(description="Pairs among all lines, the best target of each source line, or a score for each two lines"),
    ] = "mine"
    encoder: Annotated[str, Field(description="What embeds text that comes without embeddings")] = "default"
    dim: Annotated[int | None, Field(ge=1, description="Dimension of raw embeddings")] = None
    fp16: Annotated[bool, Field(description="Raw embeddings are float16, not float32")] = False
    unify: Annotated[bool, Field(description="Equal lines count once")] = True
    guards: Annotated[bool, Field(description="Copies and near-copies are no candidates")] = True
    encoding: Annotated[str, Field(description="Of texts and output")] = "utf-8"
    judge: Annotated[
        AlignmentJudge | None, Field(description="Who looks again at what is plausible, and gives it its margin")
    ] = None
    calibrated_for: Annotated[
        tuple[str, str] | None,
        Field(description="Fingerprints of the encoders that the threshold belongs to; no others may embed the texts"),
    ] = None

    @property
    def is_judged(self) -> bool:
        """Whether a second judge gives the margins."""
        return self.judge is not None

    @property
    def default_threshold(self) -> float:
        """Least margin of a pair where nothing says which, as in a build."""
        return ALIGNED_THRESHOLDS[self.margin] if self.is_judged else super().default_threshold


class Side(NamedTuple):
    """The lines of one file, or the numbers of its rows, and the unit vectors of those that take part."""

    lines: Sequence[str]
    used: Rows  # the line of each vector: those that are not empty, or the first of equals
    vector_of: Rows  # the vector of each line, -1 for an empty one
    vectors: Vectors


def calibrated(given: dict[str, Any], place: str) -> dict[str, Any]:
    """Fill settings up with what a calibration's file says of threshold, margin, retrieval, k and judge.

    Raises:
        ConfigError: if it cannot be read, is judged by an encoder, or its threshold is for other settings than given.
    """
    found = read_calibration(place)
    if isinstance(found.judge, EncoderJudge):
        raise ConfigError(f"--calibration: {place} has an encoder as its judge, which only builds can ask")
    judge = None if found.judge is None else found.judge.model_dump(exclude_none=True)
    known = {"margin": found.margin, "retrieval": found.retrieval, "k": found.k, "judge": judge}
    other = [name for name, value in known.items() if given.get(name, value) != value]
    if other and "threshold" not in given:
        raise ConfigError(
            f"--{other[0]}: the threshold of {place} is for {way(found)}; leave --{other[0]} out, or give --threshold"
        )
    return {**known, "threshold": found.threshold.value, "calibrated_for": found.encoders} | given


def own_encoder(config: MineFilesConfig) -> SentenceEncoder:
    """Load the encoder that embeds texts without embeddings.

    Raises:
        ConfigError: if there is none, the judge cannot judge by it, or the threshold was calibrated for another.
    """
    encoder = named_encoder(config.encoder)
    if config.judge is not None:
        check_alignment(encoder, "--judge")
    if config.calibrated_for not in (None, (encoder.fingerprint, encoder.fingerprint)):
        raise ConfigError(
            f"--calibration: its threshold is of another encoder than {config.encoder}: name that one by --encoder, or "
            "calibrate for this one"
        )
    return encoder


def sides_of_text(
    paths: tuple[Path, Path], config: MineFilesConfig, by: SentenceEncoder | tuple[Path, Path]
) -> tuple[Side, Side]:
    """Read two text files, and their embeddings, a row per line, from files or by an encoder.

    Raises:
        ConfigError: if a file is missing, empty or not what it should be.
    """
    texts = [read_lines(path, config.encoding) for path in paths]
    places = [places_of(lines, unify=config.unify) for lines in texts]
    if isinstance(by, tuple):
        vectors: list[Vectors] = [
            _beside(path, len(lines), file, used, config)
            for path, lines, file, (used, _) in zip(paths, texts, by, places, strict=True)
        ]
    else:
        vectors = [
            encode_with_progress(by, [lines[line] for line in used.tolist()], path.name)
            for path, lines, (used, _) in zip(paths, texts, places, strict=True)
        ]
    left, right = (Side(lines, *place, one) for lines, place, one in zip(texts, places, vectors, strict=True))
    return left, right


def side_of_rows(path: Path, config: MineFilesConfig) -> Side:
    """Read a file of embeddings alone.

    Raises:
        ConfigError: if it is missing or does not hold whole rows of numbers.
    """
    stored = map_vectors(path, config.dim, fp16=config.fp16)
    rows = np.arange(len(stored))
    return Side([str(row) for row in range(len(stored))], rows, rows, unit_vectors(stored, rows, path))


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return a text file's lines without surrounding white space; the last one may end with the file.

    Raises:
        ConfigError: if there is no such file, nothing in it, or something other than text of this encoding.
    """
    try:
        text = path.read_text(encoding)
    except LookupError as error:
        raise ConfigError(f"--encoding {encoding}: there is no such encoding of text; try utf-8") from error
    except UnicodeError as error:
        raise ConfigError(f"cannot read {path}: {error}; if it is not {encoding}, say so by --encoding") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    lines = [line.strip() for line in text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").split("\n")]
    lines = lines if lines[-1] else lines[:-1]
    if not any(lines):
        raise ConfigError(f"{path} has no sentences in it")
    return lines


def map_vectors(path: Path, dim: int | None, *, fp16: bool = False) -> Vectors:
    """Return a file's embeddings as they are: mapped, not read.

    Raises:
        ConfigError: if it is missing or does not hold whole rows of numbers.
    """
    kind = np.dtype(np.float16 if fp16 else np.float32)
    try:
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        elif dim is None:
            raise ConfigError(f"{path} is no .npy file; for raw {kind} numbers say their dimension by --dim")
        elif not path.stat().st_size or path.stat().st_size % (dim * kind.itemsize):
            raise ConfigError(f"{path} does not hold whole rows of {dim} {kind} numbers; check --dim and --fp16")
        else:
            array = np.memmap(path, kind, "r").reshape(-1, dim)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, np.floating):
        raise ConfigError(f"{path} holds {array.dtype} of shape {array.shape}, not rows of vectors")
    return cast("Vectors", array)


def unit_vectors(stored: Vectors, rows: Rows, path: Path) -> npt.NDArray[np.float32]:
    """Return some rows at unit length, in float32, mapped from a nameless file that vanishes with the array.

    Raises:
        ConfigError: if a row has something that is no finite number.
        SourceError: if there is no room for them where temporary files lie.
    """
    try:
        with tempfile.TemporaryFile() as file:
            for start in range(0, len(rows), _VECTORS):
                block = np.asarray(stored[rows[start : start + _VECTORS]], np.float32)
                if not np.isfinite(block).all():
                    raise ConfigError(f"{path} holds numbers that are not finite; check --dim and --fp16")
                file.write(unit_rows(block).data)
            file.flush()
            return np.memmap(file, np.float32, "r", shape=(len(rows), stored.shape[1]))
    except OSError as error:
        raise SourceError(
            f"cannot write {len(rows) * stored.shape[1] * 4:,} bytes of unit vectors to {tempfile.gettempdir()}: "
            f"{error}; the environment variable TMPDIR names another place"
        ) from error


def encode_with_progress(encoder: SentenceEncoder, lines: list[str], name: str) -> npt.NDArray[np.float32]:
    """Encode lines, with a progress bar where there is somebody to see it."""
    parts = list(_batches(lines))
    shown = track(parts, description=f"embed {name}", disable=not sys.stderr.isatty())
    return np.concatenate([encoder.encode(part) for part in cast("Iterator[list[str]]", shown)])


def _beside(text: Path, lines: int, path: Path, used: Rows, config: MineFilesConfig) -> Vectors:
    stored = map_vectors(path, config.dim or LASER_DIMENSION, fp16=config.fp16)
    if len(stored) != lines:
        raise ConfigError(
            f"{text} has {lines:,} lines, but {path} has {len(stored):,} rows of {stored.shape[1]} {stored.dtype} "
            "numbers; check --dim and --fp16"
        )
    return unit_vectors(stored, used, path)


def places_of(lines: list[str], *, unify: bool) -> tuple[Rows, Rows]:
    """Return the lines that have a vector, and the vector of each line."""
    if not unify:
        used = np.flatnonzero(np.fromiter(map(bool, lines), np.bool_, len(lines)))
        vector_of = np.full(len(lines), -1, np.int64)
        vector_of[used] = np.arange(len(used))
        return used, vector_of
    vectors: dict[str, int] = {"": -1}
    vector_of = np.fromiter((vectors.setdefault(line, len(vectors) - 1) for line in lines), np.int64, len(lines))
    numbers, first = np.unique(vector_of, return_index=True)
    return first[numbers >= 0], vector_of


def _batches(lines: list[str]) -> Iterator[list[str]]:
    rest = iter(lines)
    while batch := list(islice(rest, _LINES)):
        yield batch
