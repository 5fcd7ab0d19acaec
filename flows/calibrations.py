"""Calibrated thresholds of a corpus: kept as files below the root, and found again by the builds that they hold for."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from storage.errors import ConfigError
from storage.files import is_local, read_bytes, write_bytes
from storage.fingerprint import Settings, digest
from storage.garbage import list_files
from storage.manifest import Partition, Reference
from storage.store import Store
from tasks.similarity.calibration import Calibration
from tasks.similarity.retrieval import MineConfig

Pair = tuple[str, str]  # labels of source and target
Encoders = tuple[str, str]  # fingerprints of those of source and target
Key = tuple[Pair, Encoders, str, str, int]  # and margin, retrieval, k: what a threshold belongs to
Calibrations = Mapping[Key, Calibration]

_Mine = TypeVar("_Mine", bound=MineConfig)

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

    It takes the place of the one for the same pair, encoders, margin, retrieval and k; others stay beside it.
    """
    kept = Kept(
        corpus=corpus,
        calibration=calibration,
        artifact=Reference(**artifact.model_dump()),
        created=datetime.now(UTC),
        run=store.run,
    )
    filesystem, root = store.place()
    name = digest(json.dumps(_key(calibration)).encode())[:16]
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
        try:
            calibration = Kept.model_validate_json(data).calibration
        except ValidationError as error:
            raise ConfigError(f"{root}/{file.path} is no calibration: remove it, and calibrate again") from error
        found[_key(calibration)] = calibration
    return found


def threshold_for(known: Calibrations, pair: Pair, encoders: Encoders, mine: MineConfig) -> Calibration | None:
    """Return the calibration of a language pair for these encoders and this way of mining, if there is one.

    A pair that was calibrated the other way round counts: margins are symmetric. A judge's margins are other ones.
    """
    if mine.is_judged:
        return None
    retrieval = _TURNED.get(mine.retrieval, mine.retrieval)
    straight = (pair, encoders, mine.margin, mine.retrieval, mine.k)
    turned = ((pair[1], pair[0]), (encoders[1], encoders[0]), mine.margin, retrieval, mine.k)
    return known.get(straight) or known.get(turned)


def resolve(mine: _Mine, known: Calibrations, pair: Pair, encoders: Encoders) -> _Mine:
    """Return settings whose threshold is a number: that of the settings, the calibrated one, or the default."""
    name, calibration = "-".join(pair), threshold_for(known, pair, encoders, mine)
    if mine.threshold is not None:
        _logger.info("threshold of %s: %.4f, from the settings", name, mine.threshold)
        return mine
    if calibration is not None:
        _logger.info("threshold of %s: %.4f, calibrated for %s", name, calibration.threshold.value, aim(calibration))
        return mine.model_copy(update={"threshold": calibration.threshold.value})
    default = mine.default_threshold
    _logger.info(
        "threshold of %s: %.4f, the default; none is calibrated for this encoder, %s, %s and k = %d",
        *(name, default, mine.margin, mine.retrieval, mine.k),
    )
    return mine.model_copy(update={"threshold": default})


def aim(calibration: Calibration) -> str:
    """Return in words what a threshold was chosen for."""
    if calibration.target == "f1":
        return "the best F1"
    return f"a precision of {calibration.target:g}{' with 95 % confidence' if calibration.confident else ''}"


def _key(calibration: Calibration) -> Key:
    one = calibration
    return (one.pair, one.encoders, one.margin, one.retrieval, one.k)
