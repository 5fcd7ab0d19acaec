"""Token ids in, the sum of their vectors out: the encoder that reads no word order and costs almost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from encoder.precision import PRECISIONS, Precision, check_precision
from encoder.settings import Settings
from encoder.vocabulary import Ragged

LIMITS = {"int8": 127, "int4": 7}  # largest step of a number, both ways
INITIAL_DEVIATION = 0.05


class StaticConfig(Settings):
    """A table of one vector per subword; a sentence is the sum of its subwords' vectors, scaled to length one."""

    kind: Literal["static"] = "static"
    dimension: Annotated[int, Field(ge=1, le=8192, description="Numbers in a sentence vector")] = 512
    storage: Annotated[
        Literal["float32", "float16", "int8", "int4"],
        Field(description="Numbers in the checkpoint; int8 and int4 have a scale per row, in memory all are float32"),
    ] = "int8"


class StaticModel:
    """The table of subword vectors, float32 of shape (subwords, dimension)."""

    def __init__(self, config: StaticConfig, table: torch.Tensor) -> None:
        """Take the table as it is."""
        self.config = config
        self.table = table

    @classmethod
    def initial(cls, config: StaticConfig, size: int, seed: int) -> StaticModel:
        """Draw a table for a vocabulary of `size` subwords from a normal distribution."""
        generator = torch.Generator().manual_seed(seed)
        table = torch.empty(size, config.dimension).normal_(0, INITIAL_DEVIATION, generator=generator)
        return cls(config, table)

    @property
    def dimension(self) -> int:
        """Numbers in a sentence vector."""
        return self.config.dimension

    @property
    def size(self) -> int:
        """Number of subwords."""
        return len(self.table)

    def sums(self, tokens: Ragged) -> torch.Tensor:
        """Add up the vectors of every sentence's tokens in their order, shape (sentences, dimension)."""
        ids, offsets = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.offsets[:-1].astype(np.int32))
        return torch.nn.functional.embedding_bag(ids, self.table, offsets, mode="sum")

    def runner(self, precision: Precision, device: torch.device) -> StaticModel:  # noqa: ARG002 - see below
        """Return this model, on the CPU wherever: reading the text costs more than it; ValueError unless float32."""
        check_precision(precision, PRECISIONS[:1], "a static encoder (its table may be stored as int8)")
        return self

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors, not yet of length one."""
        return self.sums(tokens).numpy()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Lay the table out as `config.storage` says; storing twice changes nothing that storing once did not."""
        limit = LIMITS.get(self.config.storage)
        if limit is None:
            return {"table": self.table.to(getattr(torch, self.config.storage))}
        scale = _scale_per_row(self.table, limit)
        steps = self.table / torch.where(scale > 0, scale, 1.0)[:, None]
        whole = steps.round_().clamp_(-limit, limit).to(torch.int8)
        return {"table": _two_per_byte(whole) if self.config.storage == "int4" else whole, "scale": scale}

    @classmethod
    def from_tensors(cls, config: StaticConfig, tensors: Mapping[str, torch.Tensor]) -> StaticModel:
        """Read what `tensors` laid out; KeyError if one is missing."""
        stored = tensors["table"]
        table = (_one_per_byte(stored, config.dimension) if config.storage == "int4" else stored).float()
        if config.storage in LIMITS:
            table *= tensors["scale"][:, None]
        if table.shape[1] != config.dimension:
            message = f"the table has {table.shape[1]} columns, the settings say {config.dimension}"
            raise ValueError(message)
        return cls(config, table)


def _scale_per_row(table: torch.Tensor, limit: int) -> torch.Tensor:
    """Size of one step per row, rounded to 17 significant bits: times the limit it is then exact in float32."""
    bits = (table.abs().amax(1) / limit).numpy().view(np.uint32)
    rounded = (bits + np.uint32(0x40)) & np.uint32(0xFFFFFF80)
    return torch.from_numpy(rounded.view(np.float32))


def _two_per_byte(steps: torch.Tensor) -> torch.Tensor:
    """Steps from -7 to 7 as 1 to 15, the even columns in the low halves of bytes, the odd ones in the high halves."""
    codes = torch.nn.functional.pad(steps + 8, (0, steps.shape[1] % 2)).to(torch.uint8)
    return codes[:, ::2] | codes[:, 1::2] << 4


def _one_per_byte(codes: torch.Tensor, dimension: int) -> torch.Tensor:
    """Take the halves of bytes apart again."""
    halves = torch.stack([codes & 15, codes >> 4], dim=2).flatten(1)
    if halves.shape[1] - dimension not in {0, 1}:
        return halves.to(torch.int8)
    return halves[:, :dimension].to(torch.int8) - 8
