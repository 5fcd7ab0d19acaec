"""Token ids in, the maxima over time of bidirectional LSTMs out, on a CPU near the speed of its matrix products.

Sentences are columns: every step of every layer is a product of a weight matrix, as it lies in memory, and a few
columns. No product's shape depends on the length of any sentence, and none is shared among threads, so that the sums
of a sentence are added in the same order in whatever company.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

# Tokens per second by the number of columns, in parts of what 96 give: measured at LASER's sizes with MKL on AVX-512,
# one thread. With 96 the products reach nine tenths of the rate of large square ones.
SPEEDS = {8: 0.25, 32: 0.8, 96: 1.0}
_VECTOR = 32  # torch's sigmoid and tanh round the numbers that are left after the last whole vector in another way
_PROBE_PLACES = 3
_INT8_LIMIT = 127


@dataclass(frozen=True, eq=False)
class _Direction:
    """One direction of one layer; the gates are in the order in, forget, out, cell."""

    from_inputs: torch.Tensor
    from_states: torch.Tensor
    bias: torch.Tensor
    leftward: bool


@dataclass(frozen=True, eq=False)
class _WholeDirection:
    """The same in int8: times a row's scale, a product of whole inputs and states is what the gates see."""

    weights: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor
    leftward: bool


class ColumnLstm:
    """The layers of a BiLSTM, made ready for many batches."""

    def __init__(self, embedding: nn.Embedding, layers: Sequence[Sequence[nn.Module]], *, int8: bool = False) -> None:
        """Copy the weights of pairs of a rightward and a leftward LSTM.

        With int8 all layers but the first multiply whole numbers: what they read lies between -1 and 1, and is
        rounded to steps of 1/127; their weights have a scale per row.
        """
        self._embedding = embedding.weight.detach()
        self._layers = [
            [_direction(lstm, leftward=bool(side), int8=int8 and place > 0) for side, lstm in enumerate(pair)]
            for place, pair in enumerate(layers)
        ]
        self.speeds = self._equal_widths()

    @torch.inference_mode()
    def __call__(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Vectors of shape (sentences, numbers); tokens of shape (sentences, longest), the shortest sentence first."""
        ended = torch.searchsorted(lengths, torch.arange(tokens.shape[1]), right=True).tolist()
        states = self._embedding[tokens.T].transpose(1, 2).contiguous()
        for pair in self._layers:
            hidden = len(pair[0].bias) // 4
            outputs = torch.empty(len(states), 2 * hidden, len(tokens))
            for side, direction in enumerate(pair):
                part = outputs[:, side * hidden : (side + 1) * hidden]
                if isinstance(direction, _Direction):
                    _read(direction, states, ended, part)
                else:
                    _read_whole(direction, states, ended, part)
            states = outputs
        return _maxima(states, ended).T

    def _equal_widths(self) -> Mapping[int, float]:
        """Find the widths whose products add in the order of the widest ones on this machine.

        The order depends on the shape alone: numbers as random as weights are show it if it is another.
        """
        hidden, widest = len(self._layers[0][0].bias) // 4, max(SPEEDS)
        tokens = torch.arange(widest * _PROBE_PLACES).view(widest, -1) % len(self._embedding)
        lengths = torch.full((widest,), _PROBE_PLACES)
        wanted = self(tokens, lengths)
        return {
            width: speed
            for width, speed in SPEEDS.items()
            if hidden * width % _VECTOR == 0 and torch.equal(self(tokens[:width], lengths[:width]), wanted[:width])
        }


def _direction(lstm: nn.Module, *, leftward: bool, int8: bool) -> _Direction | _WholeDirection:
    state = {name: _reordered(weight.detach()) for name, weight in lstm.named_parameters()}
    bias = (state["bias_ih_l0"] + state["bias_hh_l0"])[:, None]
    if not int8:
        return _Direction(state["weight_ih_l0"], state["weight_hh_l0"], bias, leftward)
    both = torch.cat([state["weight_ih_l0"], state["weight_hh_l0"]], dim=1)
    step = both.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny) / _INT8_LIMIT
    return _WholeDirection((both / step).round_().to(torch.int8), step / _INT8_LIMIT, bias, leftward)


def _reordered(weight: torch.Tensor) -> torch.Tensor:
    """Put torch's gates (in, forget, cell, out) in an order in which the three sigmoids are side by side."""
    entry, forget, cell, out = weight.chunk(4)
    return torch.cat([entry, forget, out, cell])


def _read(direction: _Direction, inputs: torch.Tensor, ended: Sequence[int], outputs: torch.Tensor) -> None:
    """Fill outputs of shape (places, hidden, columns) from inputs of shape (places, numbers, columns)."""
    _, hidden, columns = outputs.shape
    gates, cell, state = (torch.zeros(size, columns) for size in (4 * hidden, hidden, hidden))
    for place in _order(direction, len(inputs)):
        torch.addmm(direction.bias, direction.from_inputs, inputs[place], out=gates)
        gates.addmm_(direction.from_states, state)
        state = outputs[place]
        _step(gates, cell, state)
        _forget(direction, ended[place], cell, state)


def _read_whole(direction: _WholeDirection, inputs: torch.Tensor, ended: Sequence[int], outputs: torch.Tensor) -> None:
    _, hidden, columns = outputs.shape
    width = inputs.shape[1]
    whole = _whole(inputs)
    gates, cell = (torch.zeros(size, columns) for size in (4 * hidden, hidden))
    read = torch.zeros(width + hidden, columns, dtype=torch.int8)
    sums = torch.empty(4 * hidden, columns, dtype=torch.int32)
    for place in _order(direction, len(inputs)):
        read[:width] = whole[place]
        torch._int_mm(direction.weights, read, out=sums)  # noqa: SLF001 - torch has no other product of whole numbers
        torch.addcmul(direction.bias, sums.float(), direction.scale, out=gates)
        _step(gates, cell, outputs[place])
        _forget(direction, ended[place], cell, outputs[place])
        read[width:] = _whole(outputs[place])


def _whole(states: torch.Tensor) -> torch.Tensor:
    return (states * _INT8_LIMIT).round_().to(torch.int8)


def _order(direction: _Direction | _WholeDirection, places: int) -> range:
    return range(places - 1, -1, -1) if direction.leftward else range(places)


def _step(gates: torch.Tensor, cell: torch.Tensor, state: torch.Tensor) -> None:
    """Move the cells on by one token, and write the new state."""
    hidden = len(cell)
    gates[: 3 * hidden].sigmoid_()
    gates[3 * hidden :].tanh_()
    cell.mul_(gates[hidden : 2 * hidden]).addcmul_(gates[:hidden], gates[3 * hidden :])
    torch.tanh(cell, out=state)
    state.mul_(gates[2 * hidden : 3 * hidden])


def _forget(direction: _Direction | _WholeDirection, ended: int, cell: torch.Tensor, state: torch.Tensor) -> None:
    """Let those who read leftward begin their sentence with nothing in mind, though padding came before it."""
    if direction.leftward and ended:
        cell[:, :ended] = 0
        state[:, :ended] = 0


def _maxima(states: torch.Tensor, ended: Sequence[int]) -> torch.Tensor:
    best = states[0].clone()
    for place in range(1, len(states)):
        inside = best[:, ended[place] :]
        torch.maximum(inside, states[place, :, ended[place] :], out=inside)
    return best
