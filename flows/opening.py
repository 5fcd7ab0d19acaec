"""What every flow does first: open the store, find the inputs, load the models."""

from __future__ import annotations

import os
from importlib.resources import files

import faiss
import torch
from prefect import runtime

from encoder.checkpoint import unpack
from encoder.inference import Encoder
from encoder.registry import load_encoder
from flows.config import Crawl, Resources
from storage.errors import ConfigError
from storage.manifest import Artifact, Source
from storage.sources import list_sources, source_of
from storage.store import Store
from tasks.text.language import BUNDLED_MODEL, IdentifyConfig


def open_store(root: str, resources: Resources) -> Store:
    """Return the store of this run, after a try that it can be written, and set the machine's threads.

    Raises:
        ConfigError: if it cannot be written.
    """
    threads = resources.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    run = str(runtime.flow_run.id or "local").replace("-", "")[:12]
    store = Store(root, run=run, workers=resources.workers)
    store.check_writable()
    return store


def sources_of(store: Store, crawls: list[Crawl]) -> dict[str, list[Source]]:
    """Return the files of each crawl.

    Raises:
        ConfigError: if no crawl is named, or one of them has no files.
    """
    if not crawls:
        raise ConfigError("crawls: name at least one, as {name: ..., path: ...}")
    return {crawl.name: list_sources(store, crawl.path, f"crawls.{crawl.name}.path") for crawl in crawls}


def language_model(store: Store, config: IdentifyConfig) -> Source:
    """Return the fastText model: the one in this package, or a file or URL of the user's.

    Raises:
        ConfigError: if it is not there.
    """
    bundled = files("tasks.text") / "data" / f"{BUNDLED_MODEL}.ftz"
    return source_of(store, str(bundled) if config.model == BUNDLED_MODEL else config.model, "identify.model")


def named_encoder(name: str) -> Encoder:
    """Load an encoder by its name.

    Raises:
        ConfigError: if there is none, or it is broken.
    """
    try:
        return load_encoder(name)
    except ValueError as error:
        raise ConfigError(f"encoder: {error}") from error


def trained_encoder(store: Store, artifact: Artifact) -> Encoder:
    """Load an encoder that this store holds."""
    return unpack(store.files(artifact).read())
