"""Gradients of sums of table rows in, a table whose used rows took one step of Adam out."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np
import numpy.typing as npt
import torch

from encoder.vocabulary import Ragged

FloatMatrix = npt.NDArray[np.float32]


@numba.njit(nogil=True)
def _sentences_by_token(
    ids: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    starts = np.zeros(size + 1, np.int64)
    for token in ids:
        starts[token + 1] += 1
    for token in range(size):
        starts[token + 1] += starts[token]
    free = starts.copy()
    sentences = np.empty(len(ids), np.int32)
    for sentence in range(len(offsets) - 1):
        for position in range(offsets[sentence], offsets[sentence + 1]):
            token = ids[position]
            sentences[free[token]] = sentence
            free[token] += 1
    return starts, sentences


@numba.njit(nogil=True, error_model="numpy")
def _update_rows(
    rows: tuple[int, int],
    occurrences: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]],
    gradients: FloatMatrix,
    state: tuple[FloatMatrix, FloatMatrix, FloatMatrix],
    constants: tuple[np.float32, np.float32, np.float32, np.float32],
) -> None:
    starts, sentences = occurrences
    table, first, second = state
    rate, beta1, beta2, epsilon = constants
    one = np.float32(1)
    gradient = np.empty(table.shape[1], np.float32)
    for row in range(rows[0], rows[1]):
        if starts[row] == starts[row + 1]:
            continue
        gradient[:] = 0
        for position in range(starts[row], starts[row + 1]):
            gradient += gradients[sentences[position]]
        for column in range(len(gradient)):
            slope = gradient[column]
            mean = beta1 * first[row, column] + (one - beta1) * slope
            square = beta2 * second[row, column] + (one - beta2) * slope * slope
            first[row, column] = mean
            second[row, column] = square
            table[row, column] -= rate * mean / (np.sqrt(square) + epsilon)


class SparseAdam:
    """Adam (Kingma & Ba 2015) that touches only the rows of a table that a batch used, as torch's SparseAdam does.

    The gradient of a row is added up and used while it is in the processor's cache, so no gradient table exists.
    """

    def __init__(self, table: torch.Tensor, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        """Start at rest; the table is changed in place."""
        self._table: FloatMatrix = table.numpy()
        self._first = np.zeros_like(self._table)
        self._second = np.zeros_like(self._table)
        self._betas, self._epsilon, self._steps = (beta1, beta2), epsilon, 0

    @property
    def untouched(self) -> npt.NDArray[np.bool_]:
        """Mask of the rows that no step has used."""
        return np.logical_not(self._second.any(axis=1))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The state, without the table, sharing memory with it."""
        state = {"first": self._first, "second": self._second, "steps": np.array([self._steps])}
        return {name: torch.from_numpy(value) for name, value in state.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state that `tensors` gave."""
        self._first[:], self._second[:] = tensors["first"].numpy(), tensors["second"].numpy()
        self._steps = int(tensors["steps"])

    def step(self, tokens: Ragged, gradients: FloatMatrix, learning_rate: float) -> None:
        """Descend along the gradients of the sentences' sums, shape (sentences, dimension)."""
        self._steps += 1
        occurrences = _sentences_by_token(tokens.ids, tokens.offsets, len(self._table))
        corrections = [1 - beta**self._steps for beta in self._betas]
        rate, epsilon = learning_rate * corrections[1] ** 0.5 / corrections[0], self._epsilon * corrections[1] ** 0.5
        constants = (np.float32(rate), np.float32(self._betas[0]), np.float32(self._betas[1]), np.float32(epsilon))
        state = (self._table, self._first, self._second)
        parts = torch.get_num_threads()
        cuts = np.searchsorted(occurrences[0], np.linspace(0, len(tokens.ids), parts + 1)[1:-1]).tolist()
        bounds = [0, *cuts, len(self._table)]
        with ThreadPoolExecutor(parts) as pool:
            jobs = [
                pool.submit(_update_rows, rows, occurrences, gradients, state, constants) for rows in pairwise(bounds)
            ]
            for job in jobs:
                job.result()
