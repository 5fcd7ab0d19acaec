"""A network, a precision and a device in, what turns token ids into vectors there out."""

from __future__ import annotations

import copy
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from encoder.columns import ColumnLstm
from encoder.shapes import Batch, column_batches, padded, shaped_batches
from encoder.threads import on_one_thread_each
from encoder.vocabulary import Ragged

Precision: TypeAlias = Literal["float32", "bfloat16", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

COLUMN_TOKENS = 16_384  # 130 MB for the states of two layers of LASER's size, per thread
CPU_TOKENS = 512
GPU_TOKENS = 16_384
GPU_STEP = 8  # lengths are rounded up to a multiple of this, as tensor cores like them, so that batches are full


class Runner(Protocol):
    """A model made ready for one precision and device."""

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors, not of length one; a sentence's bits are the same in any company."""


@dataclass(frozen=True, eq=False)
class ColumnRunner:
    """A BiLSTM on the CPU, in float32 or int8."""

    lstm: ColumnLstm
    dimension: int

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors, not of length one."""
        vectors = np.empty((len(tokens), self.dimension), np.float32)

        def work(batch: Batch) -> None:
            vectors[batch.rows] = self.lstm(*padded(tokens, batch))[-len(batch.rows) :].numpy()

        on_one_thread_each(work, column_batches(tokens.lengths + 1, self.lstm.speeds, COLUMN_TOKENS))
        return vectors


class NetworkRunner:
    """Any network on any device, in floating-point numbers; every shape depends on a sentence's length alone."""

    def __init__(self, network: nn.Module, dimension: int, precision: Precision, device: torch.device) -> None:
        """Copy the network to where it is to run."""
        self._dimension, self._device = dimension, device
        kind = getattr(torch, precision)
        self._network = copy.deepcopy(network).to(device=device, dtype=kind).eval().requires_grad_(requires_grad=False)

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors, not of length one."""
        vectors = np.empty((len(tokens), self._dimension), np.float32)

        def work(batch: Batch) -> None:
            vectors[batch.rows] = self._run(tokens, batch).numpy()

        if self._device.type == "cpu":
            on_one_thread_each(work, shaped_batches(tokens.lengths + 1, CPU_TOKENS, 1))
            return vectors
        batches = shaped_batches(tokens.lengths + 1, GPU_TOKENS, GPU_STEP)
        with _full_float32():
            results = [self._run(tokens, batch) for batch in batches]  # queued: the device is not waited for
        for batch, result in zip(batches, results, strict=True):
            vectors[batch.rows] = result.cpu().numpy()
        return vectors

    @torch.inference_mode()
    def _run(self, tokens: Ragged, batch: Batch) -> torch.Tensor:
        ids, lengths = padded(tokens, batch)
        if self._device.type != "cpu":
            ids, lengths = (part.pin_memory().to(self._device, non_blocking=True) for part in (ids, lengths))
        result: torch.Tensor = self._network(ids, lengths)[-len(batch.rows) :].float()
        return result


def find_device(name: str) -> torch.device:
    """Return the device of a name as torch has it, or with "auto" a GPU if there is one; ValueError if it is not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}: it is auto, cpu, cuda, or cuda: and a number") from error
    number = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in {"cpu", "cuda"} or (device.index or 0) >= number:
        raise ValueError(f"there is no device {name!r} here")
    return device


def offered(device: torch.device, *, int8: bool) -> tuple[Precision, ...]:
    """Precisions of a network: float16 needs a GPU, int8 a CPU and an architecture that has it.

    bfloat16 on a CPU is what oneDNN computes, with instructions for it or, slower than float32, without.
    """
    if device.type == "cuda":
        return ("float32", "bfloat16", "float16")
    half = torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001
    return ("float32", *(("bfloat16",) if half else ()), *(("int8",) if int8 else ()))


def check_precision(precision: str, offers: Collection[Precision], what: str) -> None:
    """ValueError, naming those it offers, if a model does not have a precision."""
    if precision not in offers:
        raise ValueError(f"{what} has no precision {precision!r}; it offers {', '.join(offers)}")


def _full_float32() -> AbstractContextManager[None]:
    """Keep cuDNN from shortening float32 to TF32, which torch lets it do by default, and from choosing by chance."""
    if not torch.cuda.is_available():
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    return flags
