"""An encoder in, the files that are it out, and back; nothing in them can run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

import safetensors
import safetensors.torch
from pydantic import Field, ValidationError

from encoder.architectures import Architecture, Model, read_model
from encoder.inference import Encoder
from encoder.settings import Settings
from encoder.vocabulary import Vocabulary

WEIGHTS, CONFIG, VOCABULARY, FINER = "model.safetensors", "config.json", "vocabulary.model", "finer.model"
NEEDED = (WEIGHTS, CONFIG, VOCABULARY)
FILES = (*NEEDED, FINER)


class CheckpointConfig(Settings):
    """What config.json holds."""

    format: Annotated[Literal[1], Field(description="Version of this layout of files")] = 1
    architecture: Architecture
    max_tokens: Annotated[int, Field(ge=1, description="Tokens after which a sentence is cut")]


def pack(encoder: Encoder) -> dict[str, bytes]:
    """Name and content of the files of an encoder; equal encoders give equal bytes."""
    return pack_model(encoder.model, encoder.vocabulary, encoder.max_tokens)


def pack_model(model: Model, vocabulary: Vocabulary, max_tokens: int) -> dict[str, bytes]:
    """Name and content of the files of an encoder made of these parts."""
    config = CheckpointConfig(architecture=model.config, max_tokens=max_tokens)
    return {
        WEIGHTS: safetensors.torch.save(model.tensors()),
        CONFIG: (config.model_dump_json(indent=2) + "\n").encode(),
        VOCABULARY: vocabulary.model,
    } | ({} if vocabulary.finer is None else {FINER: vocabulary.finer})


def unpack(files: Mapping[str, bytes]) -> Encoder:
    """Read the files of an encoder; ValueError, naming the file, if one is missing, broken or at odds with another."""
    missing = [name for name in NEEDED if name not in files]
    if missing:
        message = f"the encoder lacks {', '.join(missing)}"
        raise ValueError(message)
    try:
        config = CheckpointConfig.model_validate_json(files[CONFIG])
    except ValidationError as error:
        message = f"{CONFIG} is not the configuration of an encoder: {error}"
        raise ValueError(message) from error
    vocabulary = Vocabulary(files[VOCABULARY], files.get(FINER))
    model = _read_model(config.architecture, files[WEIGHTS])
    if model.size != vocabulary.size:
        message = f"{WEIGHTS} has vectors for {model.size} subwords, {VOCABULARY} has {vocabulary.size}"
        raise ValueError(message)
    return Encoder(model, vocabulary, config.max_tokens, fingerprint(files))


def fingerprint(files: Mapping[str, bytes]) -> str:
    """128-bit BLAKE2b of the files of an encoder as 32 hexadecimal characters."""
    digest = hashlib.blake2b(digest_size=16)
    for name in FILES:
        if name in files:
            digest.update(hashlib.blake2b(files[name]).digest())
    return digest.hexdigest()


def _read_model(config: Architecture, data: bytes) -> Model:
    try:
        return read_model(config, safetensors.torch.load(data))
    except KeyError as error:
        message = f"{WEIGHTS} lacks the tensor {error}"
        raise ValueError(message) from error
    except (safetensors.SafetensorError, RuntimeError, ValueError) as error:
        message = f"{WEIGHTS} does not hold the weights of the model in {CONFIG}: {error}"
        raise ValueError(message) from error
