"""The name of a model of the package sentence-transformers in, an encoder that gives its vectors out.

The package comes with `pip install 'babelmill[sentence-transformers]'`. No code that a model brings along is run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from encoder.inference import unit_rows
from encoder.precision import Precision, check_precision, find_device
from encoder.shapes import Batch
from encoder.threads import on_one_thread_each

EXTRA = "sentence-transformers"
DOWNLOAD = "BABELMILL_DOWNLOAD"
VERSION = 1  # to be raised when equal files come to give other vectors
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
SENTENCES_AT_ONCE = 10_000
CPU_TOKENS, GPU_TOKENS = 512, 32_768  # as our own transformer has it

# What such a model may consist of, besides weights for other libraries than torch
_CONFIGURATION = (".json", ".txt", ".model", ".spm")
_SAFE, _PICKLED = ".safetensors", ".bin"  # sentence-transformers reads the second only where there is none of the first
_FOREIGN = ("onnx", "openvino", "coreml", "1_Training")


@dataclass(frozen=True, eq=False)
class SentenceTransformerEncoder:
    """A loaded model, the digest of its files, and what is put before every sentence."""

    model: Any
    fingerprint: str
    prompt: str | None

    @property
    def dimension(self) -> int:
        """Numbers in a sentence vector."""
        return int(self.model.get_embedding_dimension())

    def encode(self, sentences: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit vectors of shape (sentences, dimension); zeros for a blank sentence.

        The model itself cuts long sentences. Only sentences of one length go together, as many as that length allows,
        filled up if need be: so no vector depends on its company.
        """
        vectors = np.zeros((len(sentences), self.dimension), np.float32)
        worded = [row for row, sentence in enumerate(sentences) if sentence.strip()]
        for begin in range(0, len(worded), SENTENCES_AT_ONCE):
            rows = worded[begin : begin + SENTENCES_AT_ONCE]
            vectors[rows] = unit_rows(self._embed([sentences[row] for row in rows]))
        return vectors

    def _embed(self, sentences: list[str]) -> npt.NDArray[np.float32]:
        on_cpu = self.model.device.type == "cpu"
        batches = list(_exact_batches(self._lengths(sentences), CPU_TOKENS if on_cpu else GPU_TOKENS))
        vectors = np.empty((len(sentences), self.dimension), np.float32)
        features = {id(batch): self._features(sentences, batch) for batch in batches}  # tokenizers are for one thread

        def work(batch: Batch) -> None:
            with torch.inference_mode():
                found = self.model(features.pop(id(batch)))["sentence_embedding"]
            vectors[batch.rows] = found[: len(batch.rows), : self.dimension].float().cpu().numpy()

        if on_cpu:
            on_one_thread_each(work, batches)
        else:
            for batch in batches:
                work(batch)
        return vectors

    def _lengths(self, sentences: list[str]) -> npt.NDArray[np.int64]:
        masks = [
            self.model.preprocess(sentences[begin : begin + 256], prompt=self.prompt).get("attention_mask")
            for begin in range(0, len(sentences), 256)
        ]
        lengths = [np.ones(len(sentences)) if mask is None else mask.sum(1).numpy() for mask in masks]
        return np.concatenate(lengths)[: len(sentences)].astype(np.int64)

    def _features(self, sentences: list[str], batch: Batch) -> dict[str, Any]:
        texts = [sentences[row] for row in batch.rows]
        filled = texts + texts[:1] * (batch.sentences - len(texts))
        features = self.model.preprocess(filled, prompt=self.prompt)
        return {
            name: value.to(self.model.device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }


def load_sentence_transformer(
    name: str, precision: Precision = "float32", *, download: bool = False
) -> SentenceTransformerEncoder:
    """Load a folder, or a model of the Hugging Face hub that is on this machine; "?prompt=TEXT" may follow the name.

    A model that is not here is fetched only if `download` says so or $BABELMILL_DOWNLOAD is 1. ValueError if the
    package or the model is not there, or if the model cannot be loaded without code of its own.
    """
    check_precision(precision, PRECISIONS, f"an encoder of {EXTRA}")
    try:
        import sentence_transformers
    except ModuleNotFoundError as error:
        message = f"the package {EXTRA} is not installed: pip install 'babelmill[{EXTRA}]'"
        raise ValueError(message) from error
    place, _, prompt = name.partition("?prompt=")
    folder = _folder(place, download=download or os.environ.get(DOWNLOAD) == "1")
    try:
        model = sentence_transformers.SentenceTransformer(
            str(folder), device=str(find_device("auto")), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        # A broken folder fails in any of three packages, each with errors of its own
        message = f"{EXTRA} cannot load {place}: {error}"
        raise ValueError(message) from error
    model = model.to(getattr(torch, precision)).eval().requires_grad_(requires_grad=False)
    prompt = prompt or model.prompts.get(model.default_prompt_name or "") or ""
    return SentenceTransformerEncoder(model, _fingerprint(folder, f"{precision} {prompt}"), prompt or None)


def _folder(place: str, *, download: bool) -> Path:
    """Find a model's files, fetching them only if that is allowed."""
    if (folder := Path(place).expanduser()).is_dir():
        return folder
    import huggingface_hub

    foreign = [f"{name}/*" for name in _FOREIGN]
    try:
        if download:
            found = Path(
                huggingface_hub.snapshot_download(place, allow_patterns=[*_patterns(_SAFE)], ignore_patterns=foreign)
            )
            if not list(found.glob(f"*{_SAFE}")):
                huggingface_hub.snapshot_download(place, allow_patterns=[*_patterns(_PICKLED)], ignore_patterns=foreign)
            return found
        return Path(huggingface_hub.snapshot_download(place, local_files_only=True))
    except (OSError, ValueError) as error:
        hint = "" if download else f"; nothing is downloaded unless you set {DOWNLOAD}=1"
        message = f"there is no folder {place}, nor a model of that name on this machine{hint} ({error})"
        raise ValueError(message) from error


def _patterns(weights: str) -> Iterator[str]:
    yield from (f"*{ending}" for ending in (*_CONFIGURATION, weights))


def _fingerprint(folder: Path, settings: str) -> str:
    """128-bit BLAKE2b of the names and contents of weights and configuration, and of how they are used."""
    digest = hashlib.blake2b(f"{EXTRA} {VERSION} {settings}".encode(), digest_size=16)
    for path in sorted(_model_files(folder)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, hashlib.blake2b).digest()
        digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode() + content)
    return digest.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_dir() or any(part in _FOREIGN or part.startswith(".") for part in parts):
            continue
        needed = path.suffix == _PICKLED and not any(path.parent.glob(f"*{_SAFE}"))
        if path.suffix in (*_CONFIGURATION, _SAFE) or needed:
            yield path


def _exact_batches(lengths: npt.NDArray[np.int64], tokens: int) -> Iterator[Batch]:
    """Cut rows into batches of one exact length and, for that length, one number of sentences."""
    order = np.argsort(lengths, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)[::-1]:
        length = int(lengths[group[0]])
        sentences = max(1, tokens // max(1, length))
        for begin in range(0, len(group), sentences):
            yield Batch(group[begin : begin + sentences], sentences, length)
