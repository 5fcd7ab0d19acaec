"""The part of one process in, what all processes of a training hold together out."""

from __future__ import annotations

import torch
from torch import distributed


class World:
    """The processes that train one encoder together; by itself, one process.

    All of them draw the same batches. Each reads its share of the texts; the losses are those of the whole batch, so
    negatives come from all processes, and many processes learn what one would.
    """

    rank = 0
    size = 1

    def share(self, rows: int) -> slice:
        """Rows of `rows` that this process works on."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def add(self, part: torch.Tensor) -> torch.Tensor:
        """Put the sum over all processes in the place of each one's part."""
        return part

    def whole(self, part: torch.Tensor, rows: int) -> torch.Tensor:
        """Bring the shares of all processes together, shape (rows, ...)."""
        if self.size == 1:
            return part
        shares = part.new_zeros((rows, *part.shape[1:]))
        shares[self.share(rows)] = part
        return self.add(shares)


class Processes(World):
    """The processes that `torchrun` started: one per GPU, or some on one CPU.

    Gradients are summed here rather than by DistributedDataParallel, which wants one forward and one backward pass per
    step: with cached gradients a step has many.
    """

    def __init__(self, device: str) -> None:
        """Meet the others; torchrun's environment says where."""
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def add(self, part: torch.Tensor) -> torch.Tensor:
        """Put the sum over all processes in the place of each one's part."""
        distributed.all_reduce(part)
        return part

    def leave(self) -> None:
        """Part from the others."""
        distributed.destroy_process_group()
