"""bitext + encoders -> calibration (artifact: the threshold for a wanted precision or the best F1, as JSON)"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pydantic import Field

from storage.errors import ConfigError
from storage.handles import Files, Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks import stage
from tasks.embed_sentences import EncoderReference
from tasks.evaluation.bucc import Hidden, hide, unrelated
from tasks.similarity.calibration import LEAST_GOLD, Calibration, Found, HeldOut, TargetConfig, choose
from tasks.similarity.judges import Reader, mine_judged
from tasks.similarity.judging import EncoderJudge, Judge
from tasks.similarity.retrieval import MarginConfig, MineConfig, mine_vectors

VERSION = 2

_HEAD, _PAIRS, _FILE = "held_out.json", "found.parquet", "calibration.json"

_Pair = tuple[EncoderReference, EncoderReference]

_logger = logging.getLogger(__name__)


class CalibrateConfig(TargetConfig, MarginConfig):
    """What a threshold is chosen for, and how pairs are hidden; they are mined and judged as in the build."""

    judge: Annotated[
        Judge | None, Field(description="Who looks again at what is plausible, as in the build; null: nobody")
    ] = None
    gold_share: Annotated[
        float, Field(gt=0, lt=1, description="Sentences of a side that have a translation; it decides the best F1")
    ] = 0.1
    pairs: Annotated[int, Field(ge=1, description="Pairs of the text used at most, drawn by the seed")] = 50_000


@stage(task_run_name="calibrate-{pair[0]}-{pair[1]}")
def calibrate_threshold(  # noqa: PLR0913, PLR0917 - a judge may have an encoder of its own
    store: Store,
    pair: tuple[str, str],
    encoders: tuple[EncoderReference, EncoderReference],
    bitext: list[Dataset],
    config: CalibrateConfig,
    judge: EncoderReference | None = None,
) -> Artifact:
    """Hide translations among other sentences, mine, let the judge look, and choose the least margin of a pair.

    What was mined is kept beside the calibration, so that another target costs nothing.

    Args:
        store: where both are kept.
        pair: labels of source and target.
        encoders: of source and target, in one space.
        bitext: parallel text that the encoders have not learnt from; what is of other languages is passed over.
        config: the target, what is hidden, and how it is mined and judged.
        judge: the encoder of a judge of that kind; an alignment is by those of the sentences.

    Raises:
        ConfigError: if there is too little text, no threshold reaches the wanted precision, or the judge cannot judge.
    """
    name, target = "-".join(pair), TargetConfig(**config.model_dump(include=set(TargetConfig.model_fields)))
    if isinstance(config.judge, EncoderJudge) != (judge is not None):
        raise ValueError("the encoder of a judge goes with a judge of kind encoder")
    named = [*pair, *(one.fingerprint for one in (*encoders, judge) if one is not None)]
    inputs: tuple[tuple[Dataset, ...] | str, ...] = (tuple(bitext), *named)
    later = frozenset(TargetConfig.model_fields) - {"seed"}
    mined = Job(
        "mine_held_out",
        VERSION,
        config,
        inputs,
        (Slot("held_out", name),),
        partial(_mine, store.bare(), encoders, judge),
        later,
        need="gpu",
    )
    slots = (Slot("calibration", name),)
    return store.make(Job("calibrate_threshold", VERSION, target, (store.make(mined),), slots, _choose, need="core"))


def calibration_of(store: Store, artifact: Artifact) -> Calibration:
    """Return what the stage has found."""
    return Calibration.model_validate_json(store.files(artifact).read()[_FILE])


def _mine(
    store: Store,
    encoders: _Pair,
    judge: EncoderReference | None,
    _: Tally,
    config: CalibrateConfig,
    bitext: list[Rows],
    *named: str,
) -> Iterator[tuple[str, list[bytes]]]:
    pair, fingerprints = (named[0], named[1]), (named[2], named[3])
    sources, targets = _texts(bitext, pair)
    hidden = _hide(sources, targets, pair, config)
    texts = [sources[row] for row in hidden.source_rows], [targets[row] for row in hidden.target_rows]
    rows, columns, margins = _found(store, encoders, judge, texts, config)
    head = HeldOut(
        pair=pair,
        encoders=fingerprints,
        **_way(config),
        judge=config.judge,
        judge_encoder=None if judge is None else judge.fingerprint,
        gold=len(hidden.gold),
        distractors=len(hidden.source_rows) - len(hidden.gold),
    )
    _logger.info("calibrate %s: %s pairs mined from held-out text", "-".join(pair), f"{len(margins):,}")
    yield _HEAD, [head.model_dump_json(indent=1).encode()]
    yield _PAIRS, [_parquet(_marked(hidden, rows, columns).with_columns(margin=pl.Series(margins)))]


def _found(
    store: Store,
    encoders: _Pair,
    judge: EncoderReference | None,
    texts: tuple[list[str], list[str]],
    config: CalibrateConfig,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the rows of both sides and the margin of each pair that is found without a threshold.

    Raises:
        ConfigError: if vectors cannot be compared, or the judge cannot judge.
    """
    x, y = (_vectors(store, encoder, side) for encoder, side in zip(encoders, texts, strict=True))
    if x.shape[1] != y.shape[1]:
        raise ConfigError(f"encoders: vectors of {x.shape[1]} and of {y.shape[1]} dimensions cannot be compared")
    mine = MineConfig(**_way(config), threshold=-np.inf)
    if config.judge is None:
        rows, columns, _cosines, margins = mine_vectors(x, y, mine)
        return rows, columns, margins
    by = encoders if judge is None else (judge, judge)
    strings = pa.array(texts[0], pa.large_string()), pa.array(texts[1], pa.large_string())
    reader = Reader(config.judge, (by[0].load(store), by[1].load(store)), strings)
    try:
        rows, columns, _cosines, margins = mine_judged(x, y, mine, reader)
    except ValueError as error:
        raise ConfigError(f"calibration.judge: {error}") from error
    return rows, columns, margins


def _way(config: CalibrateConfig) -> dict[str, Any]:
    return config.model_dump(include=set(MarginConfig.model_fields))


def _texts(bitext: list[Rows], pair: tuple[str, str]) -> tuple[list[str], list[str]]:
    """Return both sides of the pairs in two languages, whichever is called the source; copies are no translations.

    Raises:
        ConfigError: if there are none.
    """
    labels = pl.concat_str("source_language", pl.lit("-"), "target_language")
    turned = labels == "-".join(reversed(pair))
    sides = {
        "source": pl.when(turned).then("target").otherwise("source"),
        "target": pl.when(turned).then("source").otherwise("target"),
    }
    parts, others = list[pl.DataFrame](), set[str]()
    for rows in bitext:
        for batch in rows.batches(["source_language", "target_language", "source", "target"]):
            frame = pl.DataFrame(batch).filter(pl.col("source") != pl.col("target"))
            parts.append(frame.filter((labels == "-".join(pair)) | turned).select(**sides))
            others |= set(frame.select(labels).to_series().unique())
    every = pl.concat(parts)
    if every.is_empty():
        raise ConfigError(f"bitext: there is no pair of {'-'.join(pair)}, but of {', '.join(sorted(others)[:20])}")
    return every["source"].to_list(), every["target"].to_list()


def _hide(sources: list[str], targets: list[str], pair: tuple[str, str], config: CalibrateConfig) -> Hidden:
    """Hide a share of the pairs among the sides of the others.

    Raises:
        ConfigError: if they are too few.
    """
    different = unrelated(sources, targets)
    rows = np.sort(np.random.default_rng(config.seed).permutation(different)[: config.pairs])
    # of n pairs, g are hidden and each side gets half of the others: g / (g + (n - g) / 2) is the share
    gold = round(len(rows) * config.gold_share / (2 - config.gold_share))
    if gold < LEAST_GOLD:
        raise ConfigError(
            f"bitext: {len(rows):,} different pairs of {'-'.join(pair)} are too few: a share of {config.gold_share:g} "
            f"are {gold} hidden translations, and {LEAST_GOLD} are needed; add text, or raise gold_share"
        )
    hidden = hide([sources[row] for row in rows], [targets[row] for row in rows], gold, config.seed)
    return Hidden(rows[hidden.source_rows], rows[hidden.target_rows], hidden.gold)


def _vectors(store: Store, encoder: EncoderReference, texts: list[str]) -> npt.NDArray[np.float16]:
    """Return vectors as a build stores them."""
    return encoder.load(store).encode(texts).astype(np.float16)


def _marked(hidden: Hidden, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Return mined pairs with their sources numbered anew, those with a translation first."""
    count = len(hidden.source_rows)
    target_of = np.full(count, -1, np.int64)
    target_of[hidden.gold[:, 0]] = hidden.gold[:, 1]
    number = np.empty(count, np.int64)
    number[np.argsort(target_of < 0, kind="stable")] = np.arange(count)
    return pl.DataFrame({"source": number[rows], "is_right": target_of[rows] == columns})


def _parquet(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd", statistics=False)
    return out.getvalue()


def _choose(_: Tally, target: TargetConfig, held_out: Files) -> Iterator[tuple[str, list[bytes]]]:
    files = held_out.read()
    head = HeldOut.model_validate_json(files[_HEAD])
    pairs = pl.read_parquet(io.BytesIO(files[_PAIRS]))
    sources, margins, is_right = (pairs[name].to_numpy() for name in ("source", "margin", "is_right"))
    try:
        choice = choose(Found(sources, margins, is_right, head.gold, head.distractors), target)
    except ValueError as error:
        raise ConfigError(f"calibrate {'-'.join(head.pair)}: {error}") from error
    yield _FILE, [Calibration(**choice.model_dump(), **head.model_dump()).model_dump_json(indent=1).encode()]
