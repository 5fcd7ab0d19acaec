"""Vectors in; the same as they are multiplied, and how far a product can be from the true cosine, out."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch

from tasks.similarity.different import NORM_TOLERANCE

Product = Literal["float32", "bfloat16", "float16", "int8"]
Device = Literal["cpu", "cuda"]

UNIT = 2.0**-24  # unit roundoff of float32
_LONGEST = 1 + NORM_TOLERANCE
_STEPS = 127  # of int8, on either side of zero


class Rounded(NamedTuple):
    """Vectors (n, d) as they are multiplied: values times scale is no farther from a true vector than its distance."""

    true: np.ndarray  # (n, d) float32
    values: torch.Tensor  # (n, d) of the product's type, where it is computed
    scales: np.ndarray  # (n,) float32
    distances: np.ndarray  # (n,) float64

    @property
    def is_exact(self) -> bool:
        """Whether nothing was rounded."""
        return self.values.dtype is torch.float32


def rounded(vectors: np.ndarray, product: Product, device: Device = "cpu") -> Rounded:
    """Round float32 rows that are not zero to what is multiplied; int8 has a scale per row."""
    true = torch.from_numpy(vectors).to(device)
    scales = torch.ones(len(true), device=device)
    if product == "float32":
        return Rounded(vectors, true, scales.numpy(force=True), np.zeros(len(true)))
    if product == "int8":
        scales = true.abs().amax(dim=1) / _STEPS
        values = (true / scales[:, None]).round_().to(torch.int8)
    else:
        values = true.to(getattr(torch, product))
    distances = torch.linalg.vector_norm(true - values.float() * scales[:, None], dim=1).double()
    if true.shape[1] == 1:  # torch 2.13 multiplies matrices of int8 wrongly if they have one column
        values = torch.nn.functional.pad(values, (0, 1))
    slack = 1e-3 * distances + UNIT  # the difference and its norm were computed in float32
    return Rounded(vectors, values, scales.numpy(force=True), (distances + slack).numpy(force=True))


def multiply(rows: Rounded, columns: Rounded, out: torch.Tensor) -> torch.Tensor:
    """The products (n, m) of all rows' values with all columns', in a buffer of at least as many numbers."""
    shape = len(rows.values), len(columns.values)
    found = out[: shape[0] * shape[1]].view(shape)
    if rows.values.dtype is torch.int8:
        return torch._int_mm(rows.values, columns.values.T, out=found)  # noqa: SLF001 - there is no public one
    return torch.mm(rows.values, columns.values.T, out=found)


def buffer(count: int, product: Product, device: Device = "cpu") -> torch.Tensor:
    """Room for so many products."""
    return torch.empty(count, dtype=torch.int32 if product == "int8" else getattr(torch, product), device=device)


def allowances(rows: Rounded, columns: Rounded) -> np.ndarray:
    """For each row, by how much its true cosine with any of the columns can exceed the scaled product (n,) float32.

    With x = x' + r and y = y' + s, x y = x' y' + x s + r y' exceeds the product of the rounded ones by at most
    |x| |s| + |r| |y'|; products of 16 bits are themselves rounded to them.
    """
    farthest = columns.distances.max()
    moved = _LONGEST * (rows.distances + farthest) + rows.distances * farthest
    kind = rows.values.dtype
    lost = torch.finfo(kind).eps / 2 if kind.is_floating_point and kind is not torch.float32 else 0.0
    error = score_error(rows.true.shape[1]) + 8 * UNIT + 1.1 * lost
    return np.asarray(np.nextafter((moved + error).astype(np.float32), np.float32(np.inf)))


def score_error(dimension: int) -> float:
    """Bound on |float32 dot product - exact cosine| of two vectors that are normalised within NORM_TOLERANCE.

    A float32 dot product in any order, fused or not, is within d u / (1 - d u) of sum |x_i y_i| (Higham 2002, section
    3.1), which is at most |x| |y|. The rest pays for rounding the exact one to float32, the norms and the denominator.
    """
    return 1.05 * (dimension + 4) * UNIT


def fastest_product(device: Device) -> Product:
    """Return float16 for a GPU; int8 where a CPU has instructions for its dot products (VNNI, AMX); else float32."""
    if device == "cuda":
        return "float16"
    capabilities = torch.cpu.get_capabilities()
    has_int8 = any(capabilities.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    return "int8" if has_int8 and hasattr(torch, "_int_mm") else "float32"


def fastest_device() -> Device:
    """Return a GPU if there is one that torch can use, and have it add up in float32 whatever it multiplies."""
    if not torch.cuda.is_available():
        return "cpu"
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False
    return "cuda"
