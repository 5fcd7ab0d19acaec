"""Token ids in, the sum of their vectors out: the encoder that reads no word order and costs almost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from encoder.settings import Settings
from encoder.vocabulary import Ragged

INT8_LIMIT = 127
INITIAL_DEVIATION = 0.05


class StaticConfig(Settings):
    """A table of one vector per subword; a sentence is the sum of its subwords' vectors, scaled to length one."""

    kind: Literal["static"] = "static"
    dimension: Annotated[int, Field(ge=1, le=8192, description="Numbers in a sentence vector")] = 512
    storage: Annotated[
        Literal["float32", "float16", "int8"], Field(description="Numbers in the checkpoint; int8 has a scale per row")
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

    def embed(self, tokens: Ragged) -> npt.NDArray[np.float32]:
        """Sentence vectors, not yet of length one."""
        return self.sums(tokens).numpy()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Lay the table out as `config.storage` says; storing twice changes nothing that storing once did not."""
        if self.config.storage != "int8":
            return {"table": self.table.to(getattr(torch, self.config.storage))}
        scale = _scale_per_row(self.table)
        steps = self.table / torch.where(scale > 0, scale, 1.0)[:, None]
        return {"table": steps.round_().clamp_(-INT8_LIMIT, INT8_LIMIT).to(torch.int8), "scale": scale}

    @classmethod
    def from_tensors(cls, config: StaticConfig, tensors: Mapping[str, torch.Tensor]) -> StaticModel:
        """Read what `tensors` laid out; KeyError if one is missing."""
        table = tensors["table"].float()
        if config.storage == "int8":
            table *= tensors["scale"][:, None]
        if table.shape[1] != config.dimension:
            message = f"the table has {table.shape[1]} columns, the settings say {config.dimension}"
            raise ValueError(message)
        return cls(config, table)


def _scale_per_row(table: torch.Tensor) -> torch.Tensor:
    """Size of one int8 step per row, rounded to 17 significant bits: times 127 it is then exact in float32."""
    bits = (table.abs().amax(1) / INT8_LIMIT).numpy().view(np.uint32)
    rounded = (bits + np.uint32(0x40)) & np.uint32(0xFFFFFF80)
    return torch.from_numpy(rounded.view(np.float32))
