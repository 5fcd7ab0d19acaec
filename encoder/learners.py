"""A batch and a learning rate in, weights that moved and the losses out, for all encoders and objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from encoder.batching import Batch, budget_chunks
from encoder.bilstm import INITIAL_RANGE
from encoder.bodies import Body, drop_tokens, pad, seeded
from encoder.decoder import Decoder
from encoder.material import Material
from encoder.objectives import Objective, Stack, Translation, cross_entropy, equal_hard, equal_pairs, vector_loss
from encoder.settings import Settings
from encoder.vocabulary import BOS, EOS, PAD
from encoder.world import World


class LearningConfig(Settings):
    """How gradients become steps."""

    clip: Annotated[float, Field(gt=0, description="Longest gradient of a neural encoder (LASER: 5)")] = 5.0
    token_dropout: Annotated[float, Field(ge=0, lt=1, description="Share of tokens left out at random")] = 0.1
    forward_tokens: Annotated[
        int, Field(ge=1, description="Tokens that a neural encoder reads at once, with padding: bounds its memory")
    ] = 16_000
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"],
        Field(description="Of the products inside a neural encoder and its decoder; weights stay float32"),
    ] = "float32"
    prefixes: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(description="Prefixes of the vector that are trained to serve alone, such as 64 (Matryoshka)"),
    ] = ()


@dataclass(frozen=True)
class Losses:
    """What one batch says: the loss of each objective by its kind, their weighted sum, and the tokens read."""

    by_kind: dict[str, float]
    total: float
    tokens: int


class Learner:
    """An encoder, and the decoder if it translates, in training."""

    def __init__(self, body: Body, decoder: Decoder | None, objectives: Sequence[Objective], world: World) -> None:
        """Take the parts with their first weights."""
        self._body, self._decoder, self._world = body, decoder, world
        self._objectives = objectives
        self._translation = next((one for one in objectives if isinstance(one, Translation)), None)
        self._weights = body.parameters() + (list(decoder.parameters()) if decoder else [])
        self._adam = torch.optim.Adam(self._weights) if self._weights else None
        self._scaler = torch.amp.GradScaler(body.device.type, enabled=False)
        self._learning, self._seed = LearningConfig(), 1

    def configure(self, learning: LearningConfig, seed: int) -> Learner:
        """Say how to learn."""
        self._learning, self._seed = learning, seed
        self._scaler = torch.amp.GradScaler(self._body.device.type, enabled=learning.precision == "float16")
        return self

    def step(self, material: Material, batch: Batch, number: int, learning_rate: float) -> Losses:
        """Learn from one batch."""
        if self._adam is not None:
            for group in self._adam.param_groups:
                group["lr"] = learning_rate
            self._adam.zero_grad()
        losses, gradient = self._look(material, batch, number)
        self._body.learn(gradient * self._scale, learning_rate)
        if self._adam is not None:
            for weight in self._weights:
                if weight.grad is None:  # of a small batch this process may have no share, yet the others wait for it
                    weight.grad = torch.zeros_like(weight)
                self._world.add(weight.grad)
            self._scaler.unscale_(self._adam)
            nn.utils.clip_grad_norm_(self._weights, self._learning.clip)
            self._scaler.step(self._adam)
            self._scaler.update()
        return losses

    @torch.no_grad()
    def examine(self, material: Material, batch: Batch) -> tuple[Losses, torch.Tensor]:
        """Losses of a batch that is not learnt from, without dropout, and its vectors, sources before targets."""
        stack, texts = self._stack(material, batch)
        tokens = material.corpus.texts.take(texts)
        vectors = self._body.embed(tokens)
        losses, _ = vector_loss(vectors, stack, self._objectives, self._learning.prefixes)
        if self._translation is not None:
            losses["translation"] = self._translate(material, batch, vectors, torch.zeros_like(vectors), None)
        return self._losses(losses, len(tokens.ids)), vectors[: 2 * stack.pairs]

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that is needed to go on from here."""
        found = {f"body.{name}": value for name, value in self._body.tensors().items()}
        if self._decoder is not None:
            found |= {f"decoder.{name}": value.detach() for name, value in self._decoder.state_dict().items()}
        if self._adam is not None:
            for place, state in self._adam.state_dict()["state"].items():
                found |= {f"adam.{place}.{name}": value for name, value in state.items()}
        if self._scaler.is_enabled():
            scaling = self._scaler.state_dict()
            found["scaling"] = torch.tensor([scaling["scale"], scaling["_growth_tracker"]])
        return found

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `tensors` gave; KeyError, ValueError or RuntimeError if it is of another training."""
        self._body.load(_under("body.", tensors))
        if self._decoder is not None:
            self._decoder.load_state_dict(_under("decoder.", tensors))
        if self._adam is not None:
            states: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in _under("adam.", tensors).items():
                place, _, field = name.partition(".")
                states.setdefault(int(place), {})[field] = value
            self._adam.load_state_dict(self._adam.state_dict() | {"state": states})
        if self._scaler.is_enabled():
            scale, tracker = tensors["scaling"].tolist()
            self._scaler.load_state_dict(self._scaler.state_dict() | {"scale": scale, "_growth_tracker": int(tracker)})

    @property
    def body(self) -> Body:
        """The encoder in training."""
        return self._body

    @property
    def _scale(self) -> float:
        return self._scaler.get_scale() if self._scaler.is_enabled() else 1.0

    def _look(self, material: Material, batch: Batch, number: int) -> tuple[Losses, torch.Tensor]:
        """Losses of a batch, and the gradient of this process's share of its vectors."""
        stack, texts = self._stack(material, batch)
        everything = material.corpus.texts.take(texts)
        tokens = drop_tokens(everything, self._learning.token_dropout, [self._seed, 1, number])
        share = self._world.share(len(tokens))
        with self._autocast():
            mine = self._body.vectors(tokens.take(np.arange(share.start, share.stop)), [self._seed, 2, number])
        vectors = self._world.whole(mine, len(tokens))
        losses, gradient = vector_loss(vectors, stack, self._objectives, self._learning.prefixes)
        if self._translation is not None:
            losses["translation"] = self._translate(material, batch, vectors, gradient, number)
        return self._losses(losses, len(tokens.ids)), gradient[share]

    def _stack(self, material: Material, batch: Batch) -> tuple[Stack, np.ndarray]:
        """Say what the rows are, and which texts are in them."""
        corpus = material.corpus
        sources, targets = corpus.sources[batch.rows], corpus.targets[batch.rows]
        teacher = None
        if material.teacher is not None and material.teacher_rows is not None:
            said = torch.from_numpy(material.teacher[material.teacher_rows[targets]])
            teacher = said.to(self._body.device, torch.float32)
        hard = np.empty(0, np.int32) if material.hard is None else material.hard[batch.rows].reshape(-1)
        stack = Stack(len(sources), batch.bounds, equal_pairs(sources, targets), equal_hard(targets, hard), teacher)
        return stack, np.concatenate([sources, targets, hard])

    def _translate(
        self, material: Material, batch: Batch, vectors: torch.Tensor, gradient: torch.Tensor, number: int | None
    ) -> float:
        """Decode this process's share of the pairs; add to the gradient of the vectors, and to the decoder's.

        Without a step's number nothing is learnt.
        """
        decoder, objective = self._decoder, self._translation
        if decoder is None or objective is None:
            return 0.0
        corpus, share = material.corpus, self._world.share(len(batch.rows))
        wanted = corpus.texts.take(corpus.targets[batch.rows])
        total = len(wanted.ids) + len(wanted)
        languages = material.languages[np.searchsorted(corpus.bounds, batch.rows, "right") - 1]
        own, loss = torch.zeros_like(vectors), 0.0
        for chunk in budget_chunks(wanted.lengths[share] + 1, self._learning.forward_tokens):
            rows = chunk + share.start
            place = torch.from_numpy(rows).to(vectors.device)
            leaf = vectors[place].detach().requires_grad_(number is not None)
            tokens = pad(wanted.take(rows), EOS).to(vectors.device)
            given = nn.functional.pad(tokens[:, :-1], (1, 0), value=BOS)
            with seeded([self._seed, 3, number or 0, int(rows[0])], vectors.device), self._autocast():
                scores = decoder(leaf, given, torch.from_numpy(languages[rows]).to(vectors.device))
            part = cross_entropy(scores, tokens, PAD) / total
            if number is not None:
                torch.autograd.backward(part * (objective.weight * self._scale))
                own[place] = 0 if leaf.grad is None else leaf.grad / self._scale
            loss += float(part.detach())
        gradient.add_(self._world.add(own))
        return float(self._world.add(torch.tensor([loss], device=vectors.device)))

    def _autocast(self) -> torch.autocast:
        kind = getattr(torch, self._learning.precision)
        return torch.autocast(self._body.device.type, kind, enabled=self._learning.precision != "float32")

    def _losses(self, by_kind: dict[str, float], tokens: int) -> Losses:
        return Losses(by_kind, sum(one.weight * by_kind[one.kind] for one in self._objectives), tokens)


def make_decoder(objectives: Sequence[Objective], dimension: int, size: int, seed: int) -> Decoder | None:
    """Draw a decoder if one of the objectives is to translate."""
    for objective in objectives:
        if isinstance(objective, Translation):
            decoder = Decoder(objective.decoder, dimension, size, len(objective.target_languages))
            generator = torch.Generator().manual_seed(seed + 1)
            with torch.no_grad():
                for weight in decoder.parameters():
                    weight.uniform_(-INITIAL_RANGE, INITIAL_RANGE, generator=generator)
                decoder.embedding.weight[PAD].zero_()
            return decoder
    return None


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
