"""What a command costs includes every process that it leaves to others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BURN = "import time\nwhile time.process_time() < {seconds}: pass"
# a child that outlives its parent, as those of a fork server do
ORPHAN = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BURN.format(seconds=1)!r}])"


@pytest.fixture(scope="module")
def measuring() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "benchmarks" / "measuring.py"
    spec = importlib.util.spec_from_file_location("measuring", path)
    module = sys.modules["measuring"] = importlib.util.module_from_spec(spec)  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measuring"]


def test_processes_that_outlive_a_command_are_counted(measuring, tmp_path) -> None:
    cost = measuring.measured([sys.executable, "-c", ORPHAN], tmp_path / "log")
    assert 1.0 <= cost.cpu < 3
    assert cost.orphans == 1


def test_a_command_alone_costs_its_own(measuring, tmp_path) -> None:
    cost = measuring.measured([sys.executable, "-c", BURN.format(seconds=0.5)], tmp_path / "log")
    assert 0.5 <= cost.cpu < 2
    assert cost.wall >= 0.5
    assert cost.orphans == 0


def test_a_command_that_fails_is_told_with_its_log(measuring, tmp_path) -> None:
    with pytest.raises(SystemExit, match=r"ended with 3; see .*log"):
        measuring.measured([sys.executable, "-c", "print('why'); raise SystemExit(3)"], tmp_path / "log")
    assert (tmp_path / "log").read_text() == "why\n"
