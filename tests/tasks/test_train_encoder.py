from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from encoder.batching import LanguageBatches
from encoder.objectives import TranslationRanking
from encoder.static import StaticConfig
from encoder.training import TrainingConfig
from storage.errors import ConfigError
from storage.garbage import collect, find_garbage
from storage.jobs import Job, Slot
from storage.manifest import Dataset
from storage.planning import PlanningStore
from storage.schemas import check
from storage.store import Store
from tasks.train_encoder import CURVE, STATE, Curve, portions_of

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("small_training", HERE / "small_training.py")
small = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small)

STATIC = TrainingConfig(
    architecture=StaticConfig(dimension=16, storage="float32"),
    objectives=(TranslationRanking(),),
    batches=LanguageBatches(languages=1, pairs=64),
    steps=20,
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def states(store: Store) -> list[Path]:
    return list(Path(store.root).glob(f"artifacts/encoder/**/{STATE}"))


def files(store: Store, encoder) -> dict[str, bytes]:
    return store.files(encoder).read()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of an encoder whose training nobody disturbed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    store = Store(str(folder / "root"))
    encoder = small.train(store, folder / "text.tsv", keep_seconds=3600.0)
    assert not states(store)
    return files(store, encoder)


def test_a_training_that_is_killed_goes_on_to_the_same_curve_and_the_same_bytes(whole, tmp_path, caplog):
    store = Store(str(tmp_path / "root"))
    command = [sys.executable, str(HERE / "small_training.py"), store.root]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=environment, stderr=log) as child:
        try:
            deadline = time.monotonic() + 120
            while not states(store) and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
        finally:
            child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert states(store)
    with caplog.at_level(logging.INFO, "tasks.train_encoder"):
        encoder = small.train(store, Path(store.root).with_suffix(".tsv"), keep_seconds=3600.0)
    (told,) = (record.getMessage() for record in caplog.records if "goes on after step" in record.getMessage())
    assert 1 <= int(told.rpartition(" ")[2]) < small.CONFIG.steps
    found = files(store, encoder)
    assert Curve.model_validate_json(found[CURVE]) == Curve.model_validate_json(whole[CURVE])
    assert found == whole
    assert not states(store)


def test_the_curve_holds_what_was_seen(whole):
    points = Curve.model_validate_json(whole[CURVE]).points
    assert points[-1].step == small.CONFIG.steps
    assert [point.step for point in points if point.held_out_xsim is not None] == [*range(7, 40, 7), 40]
    assert all(one.step < other.step for one, other in pairwise(points))
    assert points[-1].loss < points[0].loss


class PowerCut(BaseException):
    """Nothing catches it, and nothing is tidied up after it that a killed process would leave."""


class Cut(logging.Handler):
    """Ends a training at a look at held-out pairs, which it tells of."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._told = f"step {step} of "

    def emit(self, record: logging.LogRecord) -> None:
        if self._told in record.getMessage():
            raise PowerCut


def abandoned(store: Store, folder: Path, config: TrainingConfig, step: int = 7) -> Path:
    """Begin a training, or go on with it, until it dies at a step; the state that it leaves."""
    logger, handler = logging.getLogger("tasks.train_encoder"), Cut(step)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        with pytest.raises(PowerCut):
            small.train(store, folder / "text.tsv", config)
    finally:
        logger.removeHandler(handler)
    (state,) = states(store)
    return state


LOOKING = STATIC.model_copy(update={"validation": small.CONFIG.validation})


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"\x80\x04N.", lambda _: b""])
def test_a_broken_state_is_named_with_what_to_do(store, tmp_path, damage):
    state = abandoned(store, tmp_path, LOOKING)
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        small.train(store, tmp_path / "text.tsv", LOOKING)
    assert str(caught.value).endswith(f"; remove {state} to begin anew")
    assert not list(state.parent.glob("manifest.json"))
    state.unlink()
    assert files(store, small.train(store, tmp_path / "text.tsv", LOOKING))


def test_a_plan_leaves_a_state_where_it_is(store, tmp_path):
    state = abandoned(store, tmp_path, LOOKING)
    kept = state.read_bytes()
    small.train(PlanningStore.of(store), tmp_path / "text.tsv", LOOKING)
    assert state.read_bytes() == kept


def test_cleaning_removes_a_state_that_nobody_comes_back_to(store, tmp_path):
    encoder = small.train(store, tmp_path / "text.tsv", STATIC)
    state = abandoned(store, tmp_path, LOOKING)
    assert find_garbage(store).everything == []
    os.utime(state, (0, 0))
    gone = collect(store, lambda: find_garbage(store), contextlib.nullcontext)
    assert [Path(one.path).name for one in gone.everything] == [STATE]
    assert not states(store)
    assert files(store, encoder)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which can")
def test_half_precision_without_a_gpu_is_refused(store, tmp_path):
    with pytest.raises(ConfigError, match=r"recipe\.training\.precision: float16 needs a GPU"):
        small.train(store, tmp_path / "text.tsv", small.CONFIG.model_copy(update={"precision": "float16"}))


def _rows(tally, config, language, begin, end):
    numbers = [f"{language} {number}" for number in range(int(begin), int(end))]
    labels = {"source_language": [language] * len(numbers), "target_language": ["eng_Latn"] * len(numbers)}
    yield "bitext", check("bitext", pa.table(labels | {"source": numbers, "target": numbers}))


def dataset(store: Store, language: str, rows: int) -> Dataset:
    inputs = (language, "0", str(rows))
    return store.derive(Job("write", 1, None, inputs, (Slot("bitext", language),), _rows))[0]


@pytest.mark.parametrize("pairs", [7, 1_000, 5_000, 20_000])
def test_portions_together_are_everything_once_and_each_is_bounded(store, pairs):
    sizes = {"xaa_Latn": 3, "xbb_Latn": 9_000, "xcc_Latn": 1, "xdd_Latn": 40, "xee_Latn": 4_100}
    if pairs < 1_000:
        sizes = {language: min(rows, 30) for language, rows in sizes.items()}
    bitext = [store.rows(dataset(store, language, rows)) for language, rows in sizes.items()]
    portions = portions_of(bitext, pairs)
    assert len(portions) == -(-sum(sizes.values()) // pairs)
    read = [[text for part in portion() for text in part.sources.to_pylist()] for portion in portions]
    assert all(0 < len(texts) <= pairs + (4_096 if pairs > 4_096 else 0) for texts in read)
    together = sorted(text for texts in read for text in texts)
    assert together == sorted(f"{language} {number}" for language, rows in sizes.items() for number in range(rows))


def test_bitext_that_does_not_fit_is_trained_on_in_portions_and_taken_up_again_across_them(tmp_path):
    config = LOOKING.model_copy(update={"resident_pairs": 150})  # a portion is three batches
    whole, broken = (Store(str(tmp_path / name)) for name in ("whole", "broken"))
    wanted = files(whole, small.train(whole, tmp_path / "text.tsv", config, keep_seconds=3600.0))
    assert json.loads(wanted[CURVE])["points"][-1]["step"] == 20
    for step in (7, 14):
        abandoned(broken, tmp_path, config, step)
    assert files(broken, small.train(broken, tmp_path / "text.tsv", config)) == wanted
    in_memory = files(whole, small.train(whole, tmp_path / "text.tsv", LOOKING))
    assert in_memory["model.safetensors"] != wanted["model.safetensors"]
