"""Token ids in, sentence vectors out, and the gradients of the vectors back into the weights: encoders in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from encoder.architectures import Model, read_model
from encoder.batching import budget_chunks
from encoder.bilstm import BiLstmConfig, BiLstmModel, draw_weights
from encoder.sparse_adam import SparseAdam
from encoder.static import StaticConfig, StaticModel
from encoder.transformer import TransformerConfig, TransformerModel
from encoder.vocabulary import EOS, PAD, Ragged

Rows = npt.NDArray[np.int64]


class Body(Protocol):
    """An encoder in training."""

    device: torch.device

    def vectors(self, tokens: Ragged, chance: Sequence[int]) -> torch.Tensor:
        """Vectors of any length, shape (sentences, dimension), with what `learn` needs kept; `chance` seeds dropout."""

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take the gradient of the vectors that were given last back to the weights."""

    def embed(self, tokens: Ragged) -> torch.Tensor:
        """Vectors as they would be if training ended now."""

    def parameters(self) -> list[nn.Parameter]:
        """Weights that a dense optimizer is to move after `learn`; none if `learn` has moved them."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that training needs to go on from here."""

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `tensors` gave."""

    def model(self) -> Model:
        """The model as it is now, on the CPU."""


class StaticBody:
    """A table of vectors, moved by its own sparse Adam."""

    device = torch.device("cpu")

    def __init__(self, config: StaticConfig, size: int, seed: int) -> None:
        """Draw the first table."""
        self._model = StaticModel.initial(config, size, seed)
        self._adam = SparseAdam(self._model.table)
        self._tokens = Ragged.of([])

    def vectors(self, tokens: Ragged, chance: Sequence[int]) -> torch.Tensor:  # noqa: ARG002 - nothing is left out
        """Sums of the tokens' vectors."""
        self._tokens = tokens
        return self._model.sums(tokens)

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:
        """Take one step of Adam on the rows that were used."""
        self._adam.step(self._tokens, gradient.numpy(), learning_rate)

    def embed(self, tokens: Ragged) -> torch.Tensor:
        """Sums of the tokens' vectors."""
        return self._model.sums(tokens)

    def parameters(self) -> list[nn.Parameter]:
        """Nothing: `learn` has moved the table."""
        return []

    def tensors(self) -> dict[str, torch.Tensor]:
        """The table and the state of its Adam."""
        return {"table": self._model.table} | self._adam.tensors()

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self._model.table.copy_(tensors["table"])
        self._adam.load(tensors)

    def model(self) -> StaticModel:
        """The model as it is now, where a subword that training never saw says nothing."""
        table = self._model.table.clone()
        table[torch.from_numpy(self._adam.untouched)] = 0
        return StaticModel(self._model.config, table)


class NeuralBody:
    """A torch module, read in chunks of similar length.

    A batch that does not fit in one chunk is read twice: first without gradients, for the vectors that the losses
    compare, and then chunk by chunk to take the gradients of the vectors on (GradCache, Gao et al. 2021). So the
    number of negatives is not bounded by the memory for activations.
    """

    def __init__(
        self, config: BiLstmConfig | TransformerConfig, size: int, seed: int, device: str, tokens: int
    ) -> None:
        """Draw the first weights; `tokens` bounds a chunk, with its padding."""
        generator = torch.Generator().manual_seed(seed)
        self._module: BiLstmModel | TransformerModel
        if isinstance(config, BiLstmConfig):
            self._module = BiLstmModel(config, size)
            draw_weights(self._module, generator)
        else:
            self._module = TransformerModel(config, size)
            self._module.draw(generator)
        self._module.to(device)
        self.device = torch.device(device)
        self._budget = tokens
        self._kept: tuple[Ragged, list[Rows], Sequence[int], torch.Tensor | None] | None = None

    def vectors(self, tokens: Ragged, chance: Sequence[int]) -> torch.Tensor:
        """Vectors of all chunks; the graph is kept if there is only one."""
        self._module.train()
        chunks = list(budget_chunks(tokens.lengths + 1, self._budget))
        single = len(chunks) == 1
        whole = torch.zeros((len(tokens), self._module.dimension), device=self.device)
        graph = None
        with torch.set_grad_enabled(single):
            for place, rows in enumerate(chunks):
                graph = self._read(tokens.take(rows), [*chance, place])
                whole[torch.from_numpy(rows).to(self.device)] = graph.detach().float()
        self._kept = tokens, chunks, tuple(chance), graph if single else None
        return whole

    def learn(self, gradient: torch.Tensor, learning_rate: float) -> None:  # noqa: ARG002 - the optimizer has it
        """Add up the gradients of the weights over the chunks."""
        if self._kept is None:
            message = "there are no vectors to learn from"
            raise RuntimeError(message)
        tokens, chunks, chance, graph = self._kept
        self._kept = None
        for place, rows in enumerate(chunks):
            vectors = self._read(tokens.take(rows), [*chance, place]) if graph is None else graph
            torch.autograd.backward(vectors, gradient[torch.from_numpy(rows).to(self.device)].to(vectors.dtype))

    @torch.inference_mode()
    def embed(self, tokens: Ragged) -> torch.Tensor:
        """Vectors without dropout."""
        self._module.eval()
        whole = torch.zeros((len(tokens), self._module.dimension), device=self.device)
        for rows in budget_chunks(tokens.lengths + 1, self._budget):
            whole[torch.from_numpy(rows).to(self.device)] = self._read(tokens.take(rows), [0]).float()
        return whole

    def parameters(self) -> list[nn.Parameter]:
        """All weights of the module."""
        return list(self._module.parameters())

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights in full precision."""
        return {name: weight.detach() for name, weight in self._module.state_dict().items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self._module.load_state_dict(dict(tensors))

    def model(self) -> Model:
        """The model as it is now."""
        return read_model(self._module.config, {name: weight.cpu() for name, weight in self.tensors().items()})

    def _read(self, tokens: Ragged, chance: Sequence[int]) -> torch.Tensor:
        with seeded(chance, self.device):
            lengths = torch.from_numpy(tokens.lengths + 1).to(self.device)
            vectors: torch.Tensor = self._module(pad(tokens, EOS).to(self.device), lengths)
        return vectors


@contextmanager
def seeded(chance: Sequence[int], device: torch.device) -> Iterator[None]:
    """Let torch draw from a seed of its own, and give back the state of its generators after that."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(np.random.SeedSequence(list(chance)).generate_state(1)[0]))
        yield


def pad(tokens: Ragged, end: int) -> torch.Tensor:
    """Sentences with an end mark as int64 of shape (sentences, longest + 1), padded at their end."""
    lengths = tokens.lengths
    padded = np.full((len(lengths), int(lengths.max(initial=0)) + 1), PAD, np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    padded[rows, np.arange(len(tokens.ids)) - np.repeat(tokens.offsets[:-1], lengths)] = tokens.ids
    padded[np.arange(len(lengths)), lengths] = end
    return torch.from_numpy(padded)


def drop_tokens(tokens: Ragged, share: float, seed: Sequence[int]) -> Ragged:
    """Leave out tokens at random; a sentence that would lose all of them keeps its first."""
    if not share:
        return tokens
    chance = np.random.default_rng(seed).random(len(tokens.ids), dtype=np.float32)
    kept = chance >= share
    rescued = np.flatnonzero(~np.logical_or.reduceat(kept, tokens.offsets[:-1]))
    kept[tokens.offsets[rescued]] = True
    return tokens.keep(kept)
