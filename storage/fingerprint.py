"""Settings in, a stable name for (stage, version, settings, inputs) out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel, ConfigDict

FINGERPRINT_CHARS = 32  # 128 bits: no two of a lifetime's datasets collide


class Settings(BaseModel):
    """Base of every stage's settings: frozen, and a name that does not exist is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def fingerprint(
    stage: str, version: int, settings: BaseModel | None, inputs: Sequence[Any], exclude: AbstractSet[str] = frozenset()
) -> str:
    """Name what a stage makes: equal exactly when stage, version, settings and input fingerprints are equal.

    Where things lie and how fast they are made (root, workers, batch sizes, device) is not part of it.

    Args:
        stage: the stage's name.
        version: raised by hand when the stage's output changes.
        settings: the stage's settings.
        inputs: fingerprints, in (nested lists of) JSON values.
        exclude: settings that change nothing of what is computed.
    """
    recipe = {
        "stage": stage,
        "version": version,
        "settings": None if settings is None else settings.model_dump(mode="json", exclude=set(exclude)),
        "inputs": list(inputs),
    }
    return digest(json.dumps(recipe, sort_keys=True, ensure_ascii=False).encode())


def digest(data: bytes) -> str:
    """128-bit BLAKE2b of some bytes as 32 hexadecimal characters."""
    return hashlib.blake2b(data, digest_size=FINGERPRINT_CHARS // 2).hexdigest()
