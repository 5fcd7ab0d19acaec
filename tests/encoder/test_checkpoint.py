from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from encoder.checkpoint import CONFIG, FINER, NEEDED, VOCABULARY, WEIGHTS, pack, pack_model, unpack
from encoder.inference import Encoder
from encoder.registry import load_encoder
from encoder.static import StaticConfig, StaticModel
from encoder.vocabulary import VocabularyConfig, train_vocabulary

TEXTS = ["the old dog sees a new cat", "", "moon"]


def test_packing_and_unpacking_changes_nothing(encoder: Encoder) -> None:
    files = pack(encoder)
    copy = unpack(files)
    assert tuple(files) == NEEDED
    assert pack(copy) == files
    assert copy.fingerprint == encoder.fingerprint
    assert copy.encode(TEXTS).tobytes() == encoder.encode(TEXTS).tobytes()


def test_a_changed_setting_changes_the_fingerprint(encoder: Encoder) -> None:
    files = pack(encoder)
    changed = unpack(files | {CONFIG: files[CONFIG].replace(b'"max_tokens": 40', b'"max_tokens": 41')})
    assert changed.fingerprint != encoder.fingerprint


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("content", [None, b"", b"{", b"\x80\x04]." * 40], ids=["missing", "empty", "cut", "other"])
def test_missing_and_broken_files_are_named(encoder: Encoder, name: str, content: bytes | None) -> None:
    files = pack(encoder)
    broken = (
        {file: data for file, data in files.items() if file != name} if content is None else files | {name: content}
    )
    with pytest.raises(ValueError, match=r"SentencePiece" if name == VOCABULARY and content is not None else name):
        unpack(broken)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8", "int4"])
@pytest.mark.parametrize("dimension", [7, 8])
def test_two_vocabularies_travel_together_in_every_storage(storage: str, dimension: int) -> None:
    vocabulary = train_vocabulary(TEXTS * 20, VocabularyConfig(size=30, finer=25))
    model = StaticModel.initial(StaticConfig(dimension=dimension, storage=storage), vocabulary.size, 3)
    files = pack_model(model, vocabulary, 40)
    assert FINER in files
    copy = unpack(files)
    assert pack(copy) == files
    assert copy.fingerprint != unpack(files | {FINER: files[VOCABULARY], VOCABULARY: files[FINER]}).fingerprint
    tolerance = {"float32": 0, "float16": 1e-4, "int8": 2e-3, "int4": 3e-2}[storage]
    assert (copy.model.table - model.table).abs().max() <= tolerance
    with pytest.raises(ValueError, match="SentencePiece"):
        unpack(files | {FINER: b"nothing"})
    with pytest.raises(ValueError, match="subwords"):
        unpack({name: data for name, data in files.items() if name != FINER})


def test_weights_of_another_shape_are_refused(encoder: Encoder) -> None:
    files = pack(encoder)
    other = files[CONFIG].replace(b'"dimension": 200', b'"dimension": 201').replace(b'"hidden": 256', b'"hidden": 255')
    with pytest.raises(ValueError, match=WEIGHTS):
        unpack(files | {CONFIG: other})


def test_a_vocabulary_of_another_size_is_refused(encoder: Encoder) -> None:
    smaller = train_vocabulary(["the cat sees a dog"] * 20, VocabularyConfig(size=25)).model
    with pytest.raises(ValueError, match="subwords"):
        unpack(pack(encoder) | {VOCABULARY: smaller})


def test_an_encoder_is_loaded_from_a_folder_and_from_a_url(encoder: Encoder, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name, data in pack(encoder).items():
        (tmp_path / name).write_bytes(data)
        memory.pipe(f"/models/{encoder.dimension}/{name}", data)
    for place in (str(tmp_path), f"memory://models/{encoder.dimension}/"):
        assert load_encoder(place).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", ["no/such/folder", "memory://nothing"])
def test_an_encoder_that_is_not_there_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"encoder .* lacks model\.safetensors"):
        load_encoder(name)
