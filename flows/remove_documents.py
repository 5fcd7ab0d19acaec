"""documents that must go -> the corpus without them, and without all that came of them"""

from __future__ import annotations

from functools import partial

from prefect import flow, get_run_logger

from flows.build_corpus import brought_up_to_date, building
from flows.config import CorpusConfig, RemoveConfig
from flows.opening import open_store
from flows.removals import entry, log_removal, resolved
from flows.report import BuildReport
from storage.errors import ConfigError
from storage.garbage import collect, find_garbage
from storage.snapshots import latest


@flow(flow_run_name="remove-from-{config.corpus}", description=__doc__, retries=0)
def remove_documents(config: RemoveConfig) -> BuildReport:
    """Take documents out of a corpus for good: every table follows, and no later crawl brings them back.

    What is removed is recorded by addresses and digests, never by its text. Older versions hold it until purged.
    """
    with open_store(config.root, config.resources, config.credentials) as store:
        snapshot = latest(store, config.corpus)
        if snapshot is None:
            raise ConfigError(f"corpus: there is none called {config.corpus!r} at {config.root}")
        removals, count = resolved(store, snapshot, config.asked)
        log_removal(store, entry(store, config.corpus, removals, config.reason, count))
        get_run_logger().info("%s documents of version %d are to go", f"{count:,}", snapshot.number)
        settings = {"root": config.root, "resources": config.resources.model_dump(), "credentials": config.credentials}
        last = CorpusConfig.model_validate(snapshot.settings | settings)
        report = brought_up_to_date(store, last, f"take-down of {count:,} documents")
        if config.purge:
            old = partial(find_garbage, store, keep=1, only=config.corpus, grace_seconds=0.0)
            garbage = collect(store, old, partial(building, store))
            get_run_logger().info("older versions are erased: %s bytes", f"{garbage.bytes:,}")
        return report
