"""Calibrated thresholds of a corpus: kept as files below the root, and found again by the builds that they hold for."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import ValidationError

from storage.errors import ConfigError
from storage.files import is_local, locate, read_bytes, write_bytes
from storage.fingerprint import Settings, digest
from storage.garbage import list_files
from storage.manifest import Partition, Reference
from storage.store import Store
from tasks.mine_pairs import MinePairsConfig
from tasks.similarity.calibration import Calibration
from tasks.similarity.judging import EncoderJudge, Judge
from tasks.similarity.margin import Margin

Pair = tuple[str, str]  # labels of source and target
Encoders = tuple[str, str]  # fingerprints of those of source and target
Judged = tuple[()] | tuple[str, float, str]  # kind, plausible margin, fingerprint if it is another encoder
Key = tuple[Pair, Encoders, str, str, int, Judged]  # with margin, retrieval, k: what a threshold belongs to
Calibrations = Mapping[Key, Calibration]

_FOLDER = "calibrations"
_TURNED = {"forward": "backward", "backward": "forward"}

_logger = logging.getLogger(__name__)


class Kept(Settings):
    """A calibration that a corpus uses."""

    corpus: Partition
    calibration: Calibration
    artifact: Reference  # the stage's result
    created: datetime
    run: str


def keep_calibration(store: Store, corpus: str, calibration: Calibration, artifact: Reference) -> str:
    """Put a calibration where builds of a corpus find it, and return the file's path or URL.

    It takes the place of the one for the same pair, encoders, margin, retrieval, k and judge; others stay beside it.
    """
    kept = Kept(
        corpus=corpus,
        calibration=calibration,
        artifact=Reference(**artifact.model_dump()),
        created=datetime.now(UTC),
        run=store.run,
    )
    filesystem, root = store.place()
    *search, judged = _key(calibration)
    name = digest(json.dumps([*search, *judged]).encode())[:16]  # without a judge that of files older than judges
    path = f"{root}/{_FOLDER}/{corpus}/{'-'.join(calibration.pair)}/{name}.json"
    write_bytes(filesystem, path, kept.model_dump_json(indent=1).encode())
    return path if is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def load_calibrations(store: Store, corpus: str) -> Calibrations:
    """Return all calibrations of a corpus.

    Raises:
        ConfigError: if one cannot be read: a build without it would not be the same.
    """
    filesystem, root = store.place()
    found: dict[Key, Calibration] = {}
    for file in list_files(store, f"{_FOLDER}/{corpus}"):
        data = read_bytes(filesystem, f"{root}/{file.path}") if file.path.endswith(".json") else None
        if data is None:
            continue
        calibration = _parsed(data, f"{root}/{file.path} is no calibration: remove it, and calibrate again")
        found[_key(calibration)] = calibration
    return found


def threshold_for(
    known: Calibrations, pair: Pair, encoders: Encoders, mine: MinePairsConfig, judge: str | None = None
) -> Calibration | None:
    """Return the calibration of a language pair for these encoders and this way of mining, if there is one.

    A pair that was calibrated the other way round counts: margins are symmetric. `judge` is the fingerprint of the
    encoder of a judge of that kind.
    """
    retrieval, judged = _TURNED.get(mine.retrieval, mine.retrieval), _judged(mine.judge, mine.margin, judge)
    straight = (pair, encoders, mine.margin, mine.retrieval, mine.k, judged)
    turned = ((pair[1], pair[0]), (encoders[1], encoders[0]), mine.margin, retrieval, mine.k, judged)
    return known.get(straight) or known.get(turned)


def resolve(
    mine: MinePairsConfig, known: Calibrations, pair: Pair, encoders: Encoders, judge: str | None = None
) -> MinePairsConfig:
    """Return settings whose threshold is a number: that of the settings, the calibrated one, or the default.

    The arguments are those of `threshold_for`.
    """
    name, calibration = "-".join(pair), threshold_for(known, pair, encoders, mine, judge)
    if mine.threshold is not None:
        _logger.info("threshold of %s: %.4f, from the settings", name, mine.threshold)
        return mine
    if calibration is not None:
        _logger.info("threshold of %s: %.4f, calibrated for %s", name, calibration.threshold.value, aim(calibration))
        return mine.model_copy(update={"threshold": calibration.threshold.value})
    default = mine.default_threshold
    _logger.info(
        "threshold of %s: %.4f, the default; none is calibrated for this encoder (%s)",
        *(name, default, way(mine)),
    )
    return mine.model_copy(update={"threshold": default})


def read_calibration(place: str) -> Calibration:
    """Return the calibration in a file that `keep_calibration` wrote.

    Raises:
        ConfigError: if it is not there, or something else.
    """
    data = read_bytes(*locate(place))
    if data is None:
        raise ConfigError(f"there is no file at {place}")
    return _parsed(data, f"{place} is no calibration; `babelmill calibrate` says where it has put one")


def way(of: MinePairsConfig | Calibration) -> str:
    """Return in words how pairs are mined and judged: a threshold holds for that alone."""
    told = f"{of.margin}, {of.retrieval}, k = {of.k}"
    if of.judge is None:
        return told
    by = f"encoder {of.judge.encoder}" if isinstance(of.judge, EncoderJudge) else of.judge.kind
    return f"{told}, judge {by}" + ("" if of.judge.plausible is None else f" (plausible: {of.judge.plausible:g})")


def aim(calibration: Calibration) -> str:
    """Return in words what a threshold was chosen for."""
    if calibration.target == "f1":
        return "the best F1"
    return f"a precision of {calibration.target:g}{' with 95 % confidence' if calibration.confident else ''}"


def _key(calibration: Calibration) -> Key:
    one = calibration
    return (one.pair, one.encoders, one.margin, one.retrieval, one.k, _judged(one.judge, one.margin, one.judge_encoder))


def _judged(judge: Judge | None, margin: Margin, encoder: str | None) -> Judged:
    if judge is None:
        return ()
    return judge.kind, float(judge.least(margin)), (encoder or "") if judge.kind == "encoder" else ""


def _parsed(data: bytes, told: str) -> Calibration:
    try:
        return Kept.model_validate_json(data).calibration
    except ValidationError as error:
        raise ConfigError(told) from error
