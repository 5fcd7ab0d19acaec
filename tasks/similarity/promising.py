"""Scores of a tile in, the pairs whose cosines might belong on one of their two lists out: on a CPU or a GPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from tasks.similarity.compiled import compiled
from tasks.similarity.products import Rounded, allowances

_LANES = 32  # scores that are compared with their limits before anything is done about one of them

Limits = tuple[np.ndarray, np.ndarray]  # float32, of the rows (n,) and the columns (m,): cosines below both are no use


class Pairs(NamedTuple):
    """Pairs of a row and a column of a tile, by rows, and what their cosine can be at most."""

    rows: np.ndarray  # int32
    columns: np.ndarray  # int32
    ceilings: np.ndarray  # float32

    @classmethod
    def room(cls, count: int) -> Pairs:
        """Room for so many."""
        return cls(np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32))


def promising(scores: torch.Tensor, sides: tuple[Rounded, Rounded], limits: Limits, room: Pairs) -> Pairs:
    """The pairs whose score (n, m), with all that rounding can have taken from it, reaches either of its limits.

    On a CPU they lie in the room, which must have a place per score and one more.
    """
    allowed, scales = allowances(*sides), (sides[0].scales, sides[1].scales)
    if scores.is_cuda:
        return on_device(scores, scales, limits, allowed)
    if scores.dtype in {torch.bfloat16, torch.float16}:
        scores = scores.float()
    count = _filter(scores.numpy(), scales, limits, allowed, room)
    return Pairs(*(column[:count] for column in room))


def on_device(scores: torch.Tensor, scales: Limits, limits: Limits, allowed: np.ndarray) -> Pairs:
    """The same, where the scores are."""
    (row_scales, column_scales), (row_limits, column_limits), (allowance,) = (
        [torch.from_numpy(one).to(scores.device) for one in several] for several in (scales, limits, (allowed,))
    )
    ceilings = scores.float() * column_scales * row_scales[:, None] + allowance[:, None]
    rows, columns = torch.nonzero(ceilings >= torch.minimum(row_limits[:, None], column_limits), as_tuple=True)
    found = rows.int(), columns.int(), ceilings[rows, columns]
    return Pairs(*(one.numpy(force=True) for one in found))


@compiled
def _filter(scores: np.ndarray, scales: Limits, limits: Limits, allowed: np.ndarray, room: Pairs) -> int:
    """Write the pairs that pass into the room, and return how many they are."""
    (row_scales, column_scales), (row_limits, column_limits) = scales, limits
    rows, columns, ceilings = room
    whole = scores.shape[1] // _LANES * _LANES
    count = 0
    for row in range(len(scores)):
        scale, limit, allowance = row_scales[row], row_limits[row], allowed[row]
        for start in range(0, whole, _LANES):
            stop = start + _LANES
            line, factors, others = scores[row, start:stop], column_scales[start:stop], column_limits[start:stop]
            hit = np.int32(0)
            for lane in range(_LANES):  # without branches, so that the compiler makes it eight or more at a time
                hit |= np.int32(np.float32(line[lane]) * factors[lane] * scale + allowance >= min(limit, others[lane]))
            for lane in range(start, stop if hit else start):
                ceiling = np.float32(scores[row, lane]) * column_scales[lane] * scale + allowance
                rows[count], columns[count], ceilings[count] = row, lane, ceiling
                count += ceiling >= min(limit, column_limits[lane])
        for lane in range(whole, scores.shape[1]):
            ceiling = np.float32(scores[row, lane]) * column_scales[lane] * scale + allowance
            rows[count], columns[count], ceilings[count] = row, lane, ceiling
            count += ceiling >= min(limit, column_limits[lane])
    return count
