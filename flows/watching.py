"""A folder of crawls in, one event for each crawl that has arrived out."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import NAMESPACE_URL, uuid5

import httpx
from prefect.client.orchestration import get_client
from prefect.events.schemas.events import Event, Resource
from pydantic import Field, TypeAdapter, ValidationError

from flows.config import Name
from storage.errors import SourceError
from storage.files import is_local, locate, outside_world, read_bytes, write_bytes
from storage.fingerprint import Settings, digest

ARRIVED = "babelmill.crawl.arrived"
_CRAWL_NAME: TypeAdapter[str] = TypeAdapter(Name)

_logger = logging.getLogger(__name__)


class Watch(Settings):
    """Which folder is watched, and when a crawl in it counts as arrived."""

    url: Annotated[str, Field(description="A folder or fsspec URL; each folder in it is a crawl")]
    root: Annotated[str, Field(description="Store root, below which it is remembered what was announced")] = "runs"
    marker: Annotated[
        str | None,
        Field(min_length=1, description="A crawl is whole when it has a file of this name; null: when it rests"),
    ] = None
    stable_seconds: Annotated[
        float, Field(ge=0, description="So long must names and sizes of a crawl's files stay the same")
    ] = 300
    every_seconds: Annotated[float, Field(gt=0, description="Time between two looks")] = 60


class Listing(Settings):
    """What lies in a crawl's folder."""

    files: dict[str, int]  # name below the folder -> bytes; hidden files are no part of a crawl
    is_marked: bool = False

    @property
    def content(self) -> str:
        """Names and sizes, digested."""
        return digest(json.dumps(sorted(self.files.items())).encode())


class Seen(Settings):
    """What is remembered of a crawl."""

    content: str
    since: float  # seconds since 1970: when it was first seen with this content
    announced: str | None = None  # the content that was announced last


def watch(settings: Watch, *, once: bool = False, sleep: Callable[[float], object] = time.sleep) -> None:
    """Announce crawls as they arrive, until interrupted; a failure of storage or server is logged and tried again.

    Args:
        settings: what to watch.
        once: look one time only, and let a failure be raised.
        sleep: waits between two looks.

    Raises:
        ConfigError: if the URL cannot be used.
        SourceError: if `once`, and storage or server fail.
    """
    locate(settings.url)
    _logger.info("watching %s", settings.url)
    while True:
        try:
            look(settings, time.time())
        except SourceError as error:
            if once:
                raise
            _logger.warning("%s; trying again in %g s", error, settings.every_seconds)
        if once:
            return
        sleep(settings.every_seconds)


def look(settings: Watch, now: float) -> list[str]:
    """Look once: announce what has arrived and remember it.

    Returns:
        The names of the crawls that were announced.

    Raises:
        SourceError: if storage fails, or the Prefect server does not take the event.
    """
    listings = list_crawls(settings.url, settings.marker)
    before = _remembered(settings)
    seen = observe(before, listings, now)
    names = arrived(seen, listings, now, settings)
    if seen != before:
        _remember(settings, seen)  # before anything is announced: what cannot be remembered would be announced for ever
    for name in names:
        _announce(arrival(settings.url, name, listings[name], seen[name].since))
        seen[name] = seen[name].model_copy(update={"announced": seen[name].content})
        _remember(settings, seen)
        _logger.info("crawl %s has arrived: %s files", name, f"{len(listings[name].files):,}")
    return names


def observe(before: Mapping[str, Seen], listings: Mapping[str, Listing], now: float) -> dict[str, Seen]:
    """Note what each crawl holds and since when; one that is gone for a while is still remembered."""
    seen = dict(before)
    for name, listing in listings.items():
        known = before.get(name)
        if known is None or known.content != listing.content:
            announced = known.announced if known else None
            seen[name] = Seen(content=listing.content, since=now, announced=announced)
    return seen


def arrived(seen: Mapping[str, Seen], listings: Mapping[str, Listing], now: float, settings: Watch) -> list[str]:
    """Return the crawls to announce, sorted by name.

    A marker speaks for the first arrival only: of what is added later it cannot tell whether that is whole, so a crawl
    that grew is announced when it has rested.
    """
    names = []
    for name in sorted(listings):
        one = seen[name]
        rests = now - one.since >= settings.stable_seconds
        is_first = one.announced is None
        is_whole = listings[name].is_marked if settings.marker and is_first else rests
        if one.announced != one.content and is_whole:
            names.append(name)
    return names


def list_crawls(url: str, marker: str | None) -> dict[str, Listing]:
    """Return the crawls in a folder; folders whose names cannot be names of crawls are reported and left out.

    Raises:
        SourceError: if the folder cannot be listed.
    """
    filesystem, folder = locate(url)
    with outside_world(f"cannot list {url}"):
        filesystem.invalidate_cache()
        found = filesystem.find(folder, detail=True)
    files = [(path[len(folder) :].lstrip("/"), int(facts["size"] or 0)) for path, facts in found.items()]
    listings = group(files, marker)
    for name in [name for name in listings if not _is_name(name)]:
        _logger.warning("%s: %r cannot be the name of a crawl; rename the folder", url, name)
        del listings[name]
    return listings


def group(files: Iterable[tuple[str, int]], marker: str | None) -> dict[str, Listing]:
    """Sort paths below the watched folder, with their sizes, into crawls; hidden files and empty ones are left out."""
    sizes: dict[str, dict[str, int]] = {}
    marked = set()
    for path, size in files:
        crawl, _, name = path.partition("/")
        if name and name == marker:
            marked.add(crawl)
        if name and not any(part[:1] in ("", ".", "_") for part in path.split("/")):
            sizes.setdefault(crawl, {})[name] = size
    return {crawl: Listing(files=files, is_marked=crawl in marked) for crawl, files in sizes.items()}


def arrival(url: str, name: str, listing: Listing, since: float) -> Event:
    """Return the event of a crawl; sent twice, it has the same id, by which a server knows it."""
    filesystem, folder = locate(url)
    path = f"{folder}/{name}" if is_local(filesystem) else str(filesystem.unstrip_protocol(f"{folder}/{name}"))
    return Event(
        id=uuid5(NAMESPACE_URL, f"{path} {listing.content} {since}"),
        occurred=datetime.now(UTC),  # type: ignore[arg-type]  # the server reads any time with a zone
        event=ARRIVED,
        resource=Resource(
            {"prefect.resource.id": f"babelmill.crawl.{name}", "prefect.resource.name": name, "babelmill.folder": url}
        ),
        payload={"crawl": name, "path": path, "files": len(listing.files), "bytes": sum(listing.files.values())},
    )


def _announce(event: Event) -> None:
    """Hand an event to the Prefect server, and wait until it has it."""
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except (httpx.HTTPError, RuntimeError) as error:
        raise SourceError(f"the Prefect server does not take the event of {event.resource.id}: {error}") from error


def _is_name(name: str) -> bool:
    try:
        _CRAWL_NAME.validate_python(name)
    except ValidationError:
        return False
    return True


def _memory(settings: Watch) -> tuple[Any, str]:
    filesystem, root = locate(settings.root)
    return filesystem, f"{root}/watch/{digest(settings.url.rstrip('/').encode())}.json"


def _remembered(settings: Watch) -> dict[str, Seen]:
    data = read_bytes(*_memory(settings))
    crawls = json.loads(data)["crawls"] if data else {}
    return {name: Seen.model_validate(one) for name, one in crawls.items()}


def _remember(settings: Watch, seen: Mapping[str, Seen]) -> None:
    crawls = {name: one.model_dump() for name, one in sorted(seen.items())}
    write_bytes(*_memory(settings), json.dumps({"url": settings.url, "crawls": crawls}, indent=1).encode())
