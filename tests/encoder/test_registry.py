from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.checkpoint import pack
from encoder.inference import Encoder
from encoder.registry import load_encoder


@pytest.fixture
def folder(encoder: Encoder, tmp_path: Path) -> str:
    for name, data in pack(encoder).items():
        (tmp_path / name).write_bytes(data)
    return str(tmp_path)


def test_float32_is_the_encoder_itself(encoder: Encoder, folder: str) -> None:
    for loaded in (load_encoder(folder), load_encoder(folder, "float32")):
        assert loaded.fingerprint == encoder.fingerprint
        assert loaded.encode(["the dog"]).tobytes() == encoder.encode(["the dog"]).tobytes()


def test_another_precision_is_another_encoder_if_the_architecture_has_it(encoder: Encoder, folder: str) -> None:
    if encoder.model.config.kind == "bilstm":
        other = load_encoder(folder, "int8")
        assert other.fingerprint == encoder.at("int8").fingerprint != encoder.fingerprint
        np.testing.assert_allclose(other.encode(["the dog"]), encoder.encode(["the dog"]), atol=0.05)
    else:
        with pytest.raises(ValueError, match=r"encoder .* has no precision 'int8'; it offers float32"):
            load_encoder(folder, "int8")


@pytest.mark.parametrize("name", ["laser2:no/such/folder", "laser2:memory://nothing/laser2.pt"])
def test_laser2_that_is_not_there_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=rf"encoder '{name}': .*there is no .*laser2\.pt"):
        load_encoder(name)
