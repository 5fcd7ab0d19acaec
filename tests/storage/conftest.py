from __future__ import annotations

import uuid
from collections.abc import Iterator

import fsspec
import pytest

from storage.store import Store


@pytest.fixture(params=["disk", "memory", "s3"])
def root(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty place to write to, on each kind of storage."""
    if request.param == "disk":
        yield str(request.getfixturevalue("tmp_path") / "root")
    elif request.param == "s3":
        yield request.getfixturevalue("s3_root")
    else:
        url = f"memory://{uuid.uuid4().hex}/root"
        yield url
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def any_store(root: str) -> Store:
    """An empty store on each kind of storage."""
    return Store(root)
