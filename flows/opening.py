"""What every flow does first: open the store, find the inputs, load the models."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.resources import files
from typing import Any

import faiss
import torch
from prefect import runtime

from encoder.inference import SentenceEncoder
from encoder.precision import Precision
from encoder.registry import load_encoder
from flows.clusters import engine_of
from flows.config import CorpusConfig, Crawl, Resources
from flows.credentials import use_blocks
from flows.terminal import OUR_LOGGERS
from storage.engines import Engine, Local
from storage.errors import ConfigError
from storage.files import locate, outside_world
from storage.manifest import Artifact, Source
from storage.sources import list_sources, source_of
from storage.store import Store
from tasks.embed_sentences import EncoderReference
from tasks.text.language import BUNDLED_MODEL, IdentifyConfig

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")  # flows.config.Name


@contextmanager
def open_store(root: str, resources: Resources, credentials: list[str] | None = None) -> Iterator[Store]:
    """Give the store of this run, after a try that it can be written, with the engine that the resources ask for.

    Raises:
        ConfigError: if it cannot be written, a block is unknown, or the cluster's package is missing.
    """
    if credentials:
        use_blocks(credentials)
    threads = resources.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)  # or a deployed run's page shows warnings only
    run = str(runtime.flow_run.id or "local").replace("-", "")[:12]
    if resources.cluster is not None and "://" not in root:
        root = os.path.abspath(root)  # workers start in other folders
    Store(root).check_writable()
    with _engine(resources) as engine:
        yield Store(root, run=run, engine=engine)


def _engine(resources: Resources) -> Any:
    seconds = resources.shard_minutes and 60 * resources.shard_minutes
    if resources.cluster is not None:
        return engine_of(resources.cluster, seconds)
    engine: Engine = Local(resources.workers, seconds)
    return nullcontext(engine)


def all_crawls(config: CorpusConfig) -> list[Crawl]:
    """Return the crawls that the settings name, and then those in their folder, sorted by name.

    Raises:
        ConfigError: if there is none, or a folder has no name for a crawl.
    """
    found = [] if config.crawl_folder is None else _crawls_in(config.crawl_folder, config.crawl_marker)
    named = {crawl.name for crawl in config.crawls}
    crawls = [*config.crawls, *(crawl for crawl in found if crawl.name not in named)]
    if not crawls:
        where = f" and there is none in {config.crawl_folder}" if config.crawl_folder else ""
        raise ConfigError(f"crawls: name at least one, as {{name: ..., path: ...}}{where}")
    return crawls


def _crawls_in(url: str, marker: str) -> list[Crawl]:
    filesystem, path = locate(url)
    with outside_world(f"cannot list {url}"):
        filesystem.invalidate_cache()
        folders = [one["name"] for one in filesystem.ls(path, detail=True) if one["type"] == "directory"]
        folders = [one for one in folders if not marker or filesystem.exists(f"{one}/{marker}")]
    names = {folder.rstrip("/").rpartition("/")[2]: folder for folder in folders}
    seen = {name: folder for name, folder in names.items() if name[0] not in "._"}
    if wrong := [name for name in seen if not _NAME.fullmatch(name)]:
        raise ConfigError(f"crawl_folder: {wrong[0]!r} cannot name a crawl; use letters, digits, '.', '_' and '-'")
    return [Crawl(name=name, path=filesystem.unstrip_protocol(seen[name])) for name in sorted(seen)]


def sources_of(store: Store, crawls: list[Crawl]) -> dict[str, list[Source]]:
    """Return the files of each crawl.

    Raises:
        ConfigError: if one of them has no files.
    """
    return {crawl.name: list_sources(store, crawl.path, f"crawls.{crawl.name}.path") for crawl in crawls}


def language_model(store: Store, config: IdentifyConfig) -> Source:
    """Return the fastText model: the one in this package, or a file or URL of the user's.

    Raises:
        ConfigError: if it is not there.
    """
    bundled = files("tasks.text") / "data" / f"{BUNDLED_MODEL}.ftz"
    return source_of(store, str(bundled) if config.model == BUNDLED_MODEL else config.model, "identify.model")


def named_encoder(name: str, precision: Precision = "float32") -> SentenceEncoder:
    """Load an encoder by its name.

    Raises:
        ConfigError: if there is none, it is broken, or it does not offer the precision.
    """
    try:
        return load_encoder(name, precision)
    except ValueError as error:
        raise ConfigError(f"encoder: {error}") from error


def encoder_reference(store: Store, encoder: str | Artifact, precision: Precision = "float32") -> EncoderReference:
    """Return what stands for an encoder in tasks.

    Raises:
        ConfigError: if there is none, it is broken, or it does not offer the precision.
    """
    place = {"name": encoder} if isinstance(encoder, str) else {"artifact": encoder}
    named = EncoderReference(precision=precision, **place)
    return named.model_copy(update={"fingerprint": named.load(store).fingerprint})
