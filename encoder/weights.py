"""A network in, the tensors of its checkpoint out, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def stored(network: nn.Module, storage: str) -> dict[str, torch.Tensor]:
    """Lay the weights out as numbers of a kind, such as "float16"."""
    kind = getattr(torch, storage)
    return {name: weight.detach().to(kind).contiguous() for name, weight in network.state_dict().items()}


def restored(network: Network, tensors: Mapping[str, torch.Tensor]) -> Network:
    """Put weights into a network and make it ready for use; RuntimeError if one is missing or of another shape."""
    network.load_state_dict({name: weight.float() for name, weight in tensors.items()})
    return network.eval().requires_grad_(requires_grad=False)
