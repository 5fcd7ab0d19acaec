"""A batch and a learning rate in, weights that moved and the loss out: one class per architecture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from encoder.batching import Batch
from encoder.bilstm import BiLstmConfig, BiLstmModel, Decoder, draw_weights
from encoder.bitext import Corpus
from encoder.objectives import Translation, TranslationRanking, cross_entropy, equal_pairs, ranking
from encoder.sparse_adam import SparseAdam
from encoder.static import StaticConfig, StaticModel
from encoder.vocabulary import BOS, EOS, PAD, Ragged


class Learner(Protocol):
    """A model in training."""

    def step(self, corpus: Corpus, batch: Batch, number: int, learning_rate: float) -> tuple[float, int]:
        """Learn from one batch; give back its loss and the number of tokens read."""

    def model(self) -> StaticModel | BiLstmModel:
        """The model as it is now."""


@dataclass(frozen=True)
class Habits:
    """What both architectures need to know besides their own shape."""

    token_dropout: float
    clip: float
    seed: int


@dataclass(frozen=True)
class _Pairs:
    texts: Ragged
    sources: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int32]
    group: int


class StaticLearner:
    """Translation ranking of sums of vectors, with the gradient written out by hand."""

    def __init__(self, config: StaticConfig, objective: TranslationRanking, size: int, habits: Habits) -> None:
        """Draw the first table."""
        self._objective, self._habits = objective, habits
        self._model = StaticModel.initial(config, size, habits.seed)
        self._adam = SparseAdam(self._model.table)

    def step(self, corpus: Corpus, batch: Batch, number: int, learning_rate: float) -> tuple[float, int]:
        """Learn from one batch; give back its loss and the number of tokens read."""
        sources, targets = corpus.sources[batch.rows], corpus.targets[batch.rows]
        both = corpus.texts.take(np.concatenate([sources, targets]))
        tokens = drop_tokens(both, self._habits.token_dropout, [self._habits.seed, 1, number])
        sums = self._model.sums(tokens)
        norms = torch.linalg.vector_norm(sums, dim=1, keepdim=True).clamp_min_(1e-12)
        units = sums.div_(norms)
        x, y = units[: len(sources)], units[len(sources) :]
        loss, *sides = ranking(x, y, batch.bounds, equal_pairs(sources, targets), self._objective)
        slopes = torch.cat(sides)
        slopes.sub_(units * (slopes * units).sum(1, keepdim=True)).div_(norms)
        self._adam.step(tokens, slopes.numpy(), learning_rate)
        return loss, len(tokens.ids)

    def model(self) -> StaticModel:
        """The model as it is now, where a subword that training never saw says nothing."""
        table = self._model.table.clone()
        table[torch.from_numpy(self._adam.untouched)] = 0
        return StaticModel(self._model.config, table)


class BiLstmLearner:
    """Ranking or translation with a BiLSTM, by torch's own gradients and Adam."""

    def __init__(
        self,
        config: BiLstmConfig,
        objective: Translation | TranslationRanking,
        size: int,
        languages: Sequence[tuple[str, str]],
        habits: Habits,
    ) -> None:
        """Draw the first weights; `languages` are the language pairs of the corpus's groups."""
        self._objective, self._habits, self._size = objective, habits, size
        generator = torch.Generator().manual_seed(habits.seed)
        self._model = BiLstmModel(config, size)
        draw_weights(self._model, generator)
        weights = [*self._model.parameters()]
        self._target_ids: list[int] = []
        if isinstance(objective, Translation):
            self._target_ids = [objective.target_languages.index(target) for _, target in languages]
            self._decoder = Decoder(config, size, len(objective.target_languages))
            draw_weights(self._decoder, generator)
            weights += self._decoder.parameters()
        self._weights = weights
        self._adam = torch.optim.Adam(weights)

    def step(self, corpus: Corpus, batch: Batch, number: int, learning_rate: float) -> tuple[float, int]:
        """Learn from one batch; give back its loss and the number of tokens read."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.zero_grad()
        pairs = _Pairs(corpus.texts, corpus.sources[batch.rows], corpus.targets[batch.rows], batch.group)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._habits.seed + number)
            loss = self._backward(pairs, number)
        nn.utils.clip_grad_norm_(self._weights, self._habits.clip)
        self._adam.step()
        offsets = corpus.texts.offsets
        return loss, sum(int((offsets[side + 1] - offsets[side]).sum()) for side in (pairs.sources, pairs.targets))

    def model(self) -> BiLstmModel:
        """The encoder as it is now; the decoder stays behind."""
        return self._model

    def _backward(self, pairs: _Pairs, number: int) -> float:
        if isinstance(self._objective, Translation):
            return self._translate(pairs, number)
        sides = [
            nn.functional.normalize(self._encode(pairs.texts.take(texts), [number, side]))
            for side, texts in enumerate((pairs.sources, pairs.targets))
        ]
        x, y = (side.detach() for side in sides)
        equal = equal_pairs(pairs.sources, pairs.targets)
        loss, *slopes = ranking(x, y, (0, len(x)), equal, self._objective)
        torch.autograd.backward(sides, slopes)
        return loss

    def _translate(self, pairs: _Pairs, number: int) -> float:
        vectors = self._encode(pairs.texts.take(pairs.sources), [number])
        wanted = pad(pairs.texts.take(pairs.targets), EOS)
        given = nn.functional.pad(wanted[:, :-1], (1, 0), value=BOS)
        loss = cross_entropy(self._decoder(vectors, given, self._target_ids[pairs.group]), wanted, PAD)
        torch.autograd.backward(loss)
        return float(loss.detach())

    def _encode(self, tokens: Ragged, chance: Sequence[int]) -> torch.Tensor:
        kept = drop_tokens(tokens, self._habits.token_dropout, [self._habits.seed, 1, *chance])
        vectors: torch.Tensor = self._model(pad(kept, EOS), torch.from_numpy(kept.lengths + 1))
        return vectors


def drop_tokens(tokens: Ragged, share: float, seed: Sequence[int]) -> Ragged:
    """Leave out tokens at random; a sentence that would lose all of them keeps its first."""
    if not share:
        return tokens
    chance = np.random.default_rng(seed).random(len(tokens.ids), dtype=np.float32)
    kept = chance >= share
    rescued = np.flatnonzero(~np.logical_or.reduceat(kept, tokens.offsets[:-1]))
    kept[tokens.offsets[rescued]] = True
    return tokens.keep(kept)


def pad(tokens: Ragged, end: int) -> torch.Tensor:
    """Sentences with an end mark as int64 of shape (sentences, longest + 1), padded at their end."""
    lengths = tokens.lengths
    padded = np.full((len(lengths), int(lengths.max()) + 1), PAD, np.int64)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    padded[rows, np.arange(len(tokens.ids)) - np.repeat(tokens.offsets[:-1], lengths)] = tokens.ids
    padded[np.arange(len(lengths)), lengths] = end
    return torch.from_numpy(padded)
