"""Stored vectors in; those that differ, with the rows that have each of them, out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from tasks.similarity.compiled import compiled

NORM_TOLERANCE = 0.01  # float16 components are within 2**-11 of the true ones, so norms well within this
_ROWS = 32_768  # looked at together: 32 MB of 256 dimensions in float32


class Different(NamedTuple):
    """The different non-zero vectors of one side; equal ones share their search, so that none hides another.

    The vectors stay where and as they are (on disk, float16); what is asked for is read.
    """

    stored: np.ndarray  # (n, d) float16 or float32, in memory or mapped
    rows: np.ndarray  # (u,) int64, ascending: the first row of each different vector
    places: np.ndarray  # (u,) place of the first id that has the vector
    row_places: np.ndarray  # (n,) place of each row's id
    group: np.ndarray  # (n,) which vector each row has, -1 for a zero row
    members: np.ndarray  # rows, grouped by vector, in the order of ids
    starts: np.ndarray  # (u + 1,) where each group starts in members

    @property
    def size(self) -> int:
        """Number of different vectors."""
        return len(self.rows)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Some vectors that follow each other, as new float32 rows."""
        rows = self.rows[start:stop]
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
            return _float32(np.array(self.stored[rows[0] : rows[-1] + 1]))
        return self.take(np.arange(start, min(stop, len(self.rows))))

    def take(self, vectors: np.ndarray) -> np.ndarray:
        """Some vectors by their numbers, as new float32 rows."""
        return _float32(self.stored[self.rows[vectors]])


def different(stored: np.ndarray, places: np.ndarray) -> Different:
    """Bring equal vectors together and leave zeros out.

    Args:
        stored: L2-normalised or zero rows (n, d), float16 or float32, in memory or mapped.
        places: place of each row's id in the order of ids (n,), int64.

    Raises:
        ValueError: if a row is neither zero nor normalised.
    """
    stored = np.asarray(stored)  # of a mapped file too, without reading it
    hashes, is_zero = np.empty(len(stored), np.uint64), np.empty(len(stored), np.bool_)
    for start in range(0, len(stored), _ROWS):
        part = slice(start, start + _ROWS)
        vectors = _float32(np.array(stored[part]))
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        is_zero[part] = norms == 0
        if not np.all(is_zero[part] | (np.abs(norms - 1) <= NORM_TOLERANCE)):
            raise ValueError("vectors must be L2-normalised or zero")
        hashes[part] = _row_hashes(vectors.view(np.uint32))
    order = np.lexsort((places, hashes))
    order = order[~is_zero[order]]
    starts = _starts(_bits(stored), hashes, order)
    return _renumbered(stored, places, order, starts)


def _float32(vectors: np.ndarray) -> np.ndarray:
    """As float32; numpy takes ten times as long for float16."""
    return np.asarray(torch.from_numpy(vectors).float().numpy())


def _bits(stored: np.ndarray) -> np.ndarray:
    """The same rows as whole numbers, which are equal where all bits are."""
    return stored.view(np.dtype(f"u{stored.dtype.itemsize}"))


def _renumbered(stored: np.ndarray, places: np.ndarray, order: np.ndarray, starts: np.ndarray) -> Different:
    """Number the groups, whose rows follow each other in `order`, by their first rows, as they lie on disk."""
    sizes = np.diff(starts)
    firsts = np.minimum.reduceat(order, starts[:-1]) if len(sizes) else np.empty(0, np.int64)
    by_row = np.argsort(firsts)
    renumbered = np.repeat(np.argsort(by_row), sizes)  # the new number of the group of each place in the order
    members = order[np.argsort(renumbered, kind="stable")]
    group = np.full(len(stored), -1, np.int64)
    group[order] = renumbered
    new_starts = np.concatenate([[0], np.cumsum(sizes[by_row])]).astype(np.int64)
    return Different(stored, firsts[by_row], places[members[new_starts[:-1]]], places, group, members, new_starts)


@compiled
def _row_hashes(bits: np.ndarray) -> np.ndarray:
    """One 64-bit hash per row, to bring equal rows together; a collision costs nothing but time."""
    hashes = np.empty(len(bits), np.uint64)
    for row in range(len(bits)):
        value = np.uint64(0)
        for word in bits[row]:
            value = (value ^ np.uint64(word)) * np.uint64(0x9E3779B97F4A7C15)
            value ^= value >> np.uint64(32)
        hashes[row] = value
    return hashes


@compiled
def _starts(bits: np.ndarray, hashes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Where each run of equal rows starts in the order, and its end."""
    starts = np.empty(len(order) + 1, np.int64)
    count = 0
    for place in range(len(order)):
        row = order[place]
        first = order[starts[count - 1]] if count else row
        if count == 0 or hashes[row] != hashes[first] or not np.array_equal(bits[row], bits[first]):
            starts[count] = place
            count += 1
    starts[count] = len(order)
    return starts[: count + 1].copy()
