"""What tests of several folders need: a store, an S3 to write to, and no child left behind."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import hypothesis
import pytest

from storage.children import stop_children
from storage.store import Store

hypothesis.settings.register_profile("babelmill", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("babelmill")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a folder of its own."""
    return Store(str(tmp_path / "root"))


@pytest.fixture(scope="session")
def s3_secret() -> Iterator[str]:
    """A local S3 that is found, and logged in to, through the environment alone; its secret key."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_) -> None:
            pass

    application, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def atomic(environ, start_response):
        # S3 decides a conditional put atomically; moto looks and then writes, and lets two of a race win
        with one_at_a_time:
            return application(environ, start_response)

    server = make_server("127.0.0.1", 0, atomic, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "access-key-of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "secret-key-of-the-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment["AWS_SECRET_ACCESS_KEY"]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def s3_root(s3_secret: str) -> str:
    """The URL of a folder in a new bucket."""
    bucket = f"bucket-{uuid.uuid4().hex}"
    fsspec.filesystem("s3").mkdir(bucket)
    return f"s3://{bucket}/root"


@pytest.fixture(scope="session", autouse=True)
def _no_children() -> Iterator[None]:
    """End the shared pool of processes with the session."""
    yield
    stop_children()
