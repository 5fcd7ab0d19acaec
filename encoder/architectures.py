"""Settings of an architecture in, its model out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import torch
from pydantic import Field

from encoder.bilstm import BiLstmConfig, BiLstmModel
from encoder.static import StaticConfig, StaticModel
from encoder.transformer import TransformerConfig, TransformerModel

Architecture: TypeAlias = Annotated[
    StaticConfig | BiLstmConfig | TransformerConfig, Field(discriminator="kind", description="The model")
]
Model: TypeAlias = StaticModel | BiLstmModel | TransformerModel


def read_model(config: Architecture, tensors: Mapping[str, torch.Tensor]) -> Model:
    """Make a model of what its `tensors` laid out.

    KeyError if one is missing; ValueError or RuntimeError if one has another shape.
    """
    match config:
        case StaticConfig():
            return StaticModel.from_tensors(config, tensors)
        case BiLstmConfig():
            return BiLstmModel.from_tensors(config, tensors)
        case TransformerConfig():
            return TransformerModel.from_tensors(config, tensors)
