from __future__ import annotations

import fnmatch
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoder.inference import SentenceEncoder, unit_rows
from encoder.outside import load_sentence_transformer
from encoder.registry import load_encoder

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = ["the cat", "a dog bites", "x" * 200, "the dog sees a cat and another cat", "The cat", "?"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer of two layers with random weights, stored as sentence-transformers stores them."""
    package = pytest.importorskip("sentence_transformers")
    import transformers
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    transformers.utils.logging.disable_progress_bar()
    bare, whole = tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("whole")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS), "the", ":"]
    (bare / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(bare / "vocab.txt")).save_pretrained(bare)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=40,
    )
    transformers.BertModel(config).save_pretrained(bare)
    reader = Transformer(str(bare))
    package.SentenceTransformer(modules=[reader, Pooling(64)], device="cpu").save(str(whole))
    return whole


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def outside(folder: Path) -> SentenceEncoder:
    return load_encoder(f"sentence-transformers:{folder}")


def test_vectors_are_those_of_sentence_transformers(outside: SentenceEncoder, folder: Path) -> None:
    theirs = sys.modules["sentence_transformers"].SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(outside.encode(TEXTS), unit_rows(theirs.encode(TEXTS)), atol=1e-6)
    assert isinstance(outside, SentenceEncoder)
    assert outside.dimension == 64


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.one_of(st.text(alphabet="abc the", max_size=50), st.sampled_from(TEXTS)), min_size=1, max_size=60
    ),
    threads=st.sampled_from([1, 2]),
)
def test_a_vector_depends_on_its_sentence_alone(outside: SentenceEncoder, texts: list[str], threads: int) -> None:
    before = torch.get_num_threads()
    alone = np.concatenate([outside.encode([text]) for text in texts])
    torch.set_num_threads(threads)
    together = outside.encode(texts[::-1] * 2)
    torch.set_num_threads(before)
    assert together.tobytes() == np.concatenate([alone[::-1]] * 2).tobytes()


def test_blank_sentences_are_zero(outside: SentenceEncoder) -> None:
    vectors = outside.encode(["", "the cat", " \n"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [0, 1, 0], atol=1e-6)
    assert outside.encode([]).shape == (0, 64)


def test_a_prompt_goes_before_every_sentence(outside: SentenceEncoder, folder: Path) -> None:
    prompted = load_encoder(f"sentence-transformers:{folder}?prompt=query: ")
    np.testing.assert_allclose(
        prompted.encode(TEXTS[:2]), outside.encode([f"query: {text}" for text in TEXTS[:2]]), atol=1e-6
    )
    assert prompted.fingerprint != outside.fingerprint


def test_a_precision_is_another_encoder_and_only_some_are_offered(outside: SentenceEncoder, folder: Path) -> None:
    half = load_encoder(f"sentence-transformers:{folder}", "bfloat16")
    assert half.fingerprint != outside.fingerprint
    assert (half.encode(TEXTS) * outside.encode(TEXTS)).sum(1).min() > 0.99
    with pytest.raises(ValueError, match="no precision 'int8'; it offers float32, bfloat16, float16"):
        load_encoder(f"sentence-transformers:{folder}", "int8")


def test_the_fingerprint_is_of_weights_and_configuration_wherever_they_are(
    outside: SentenceEncoder, copied: Path
) -> None:
    (copied / "README.md").write_text("other words")
    (copied / "onnx").mkdir()
    (copied / "onnx" / "config.json").write_text("{}")
    (copied / "pytorch_model.bin").write_bytes(b"not read, as there are safe weights")
    assert load_sentence_transformer(str(copied)).fingerprint == outside.fingerprint
    configuration = json.loads((copied / "config.json").read_text()) | {"layer_norm_eps": 1e-3}
    (copied / "config.json").write_text(json.dumps(configuration))
    assert load_sentence_transformer(str(copied)).fingerprint != outside.fingerprint


class Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def own_code(folder: Path, trace: Path) -> None:
    (folder / "modeling_own.py").write_text(f"import pathlib\npathlib.Path({str(trace)!r}).touch()\nclass Own: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps([modules[0] | {"type": "modeling_own.Own"}, *modules[1:]]))


def pickled_code(folder: Path, trace: Path) -> None:
    (folder / "model.safetensors").unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        torch.save({"weight": Attack(trace)}, file, pickle_module=pickle)


def cut_weights(folder: Path, _: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


@pytest.mark.parametrize("harm", [own_code, pickled_code, cut_weights])
def test_broken_models_and_those_with_code_are_refused(
    copied: Path, tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    harm(copied, tmp_path / "ran")
    with pytest.raises(ValueError, match=r"encoder 'sentence-transformers:.*cannot load"):
        load_encoder(f"sentence-transformers:{copied}")
    assert not (tmp_path / "ran").exists()


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'babelmill\[sentence-transformers\]'"):
        load_encoder("sentence-transformers:anything")


def test_nothing_is_downloaded_unasked() -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ValueError, match="nothing is downloaded unless you set BABELMILL_DOWNLOAD=1"):
        load_encoder("sentence-transformers:nobody/no-such-model")


@pytest.mark.parametrize("asked", ["argument", "environment"])
def test_a_download_brings_weights_and_configuration_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    import huggingface_hub

    def hub(name: str, *, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        """Stand in for the hub, which has one model."""
        assert name == "somebody/model"
        for path in folder.rglob("*"):
            place = path.relative_to(folder).as_posix()
            wanted, unwanted = (
                any(fnmatch.fnmatch(place, pattern) for pattern in patterns)
                for patterns in (allow_patterns, ignore_patterns)
            )
            if path.is_file() and wanted and not unwanted:
                (tmp_path / place).parent.mkdir(exist_ok=True)
                shutil.copy(path, tmp_path / place)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    if asked == "environment":
        monkeypatch.setenv("BABELMILL_DOWNLOAD", "1")
    fetched = load_encoder("sentence-transformers:somebody/model", download=asked == "argument")
    assert fetched.fingerprint == load_sentence_transformer(str(folder)).fingerprint
    assert not (tmp_path / "README.md").exists()
