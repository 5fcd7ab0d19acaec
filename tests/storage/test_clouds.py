"""The store on emulators of Google's and Microsoft's object stores, which see the requests that the real ones would."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from storage.cache import opened
from storage.errors import ConfigError, SourceError
from storage.files import atomic_writer, create_exclusively, locate, read_bytes, write_bytes
from storage.fingerprint import digest
from storage.jobs import Job, Slot
from storage.leases import Pace, hold
from storage.schemas import ID, check
from storage.sources import list_sources, source_of
from storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # gcsfs, of its parts

REPOSITORY = Path(__file__).parents[2]
# The account that every Azurite has, and its key: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="session")
def google():
    """A local Google Cloud Storage that is found through the environment."""
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    one_at_a_time, wanted = threading.Lock(), threading.local()

    class ExistsError(Exception):
        pass

    class Conditional(Storage):
        """The emulator knows no ifGenerationMatch; the real store refuses with 412 if the object exists."""

        def create_file(self, bucket_name, file_name, *args, **options):
            if wanted.new and file_name in self.objects.get(bucket_name, {}):
                raise ExistsError
            return super().create_file(bucket_name, file_name, *args, **options)

    class Handler(RequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):  # noqa: N802 - http.server's name
            with one_at_a_time:
                wanted.new = "ifGenerationMatch=0" in self.path
                try:  # the real store takes the parts of an upload by either method
                    (super().do_PUT if "upload_id=" in self.path else super().do_POST)()
                except ExistsError:
                    self.answer(412)

        def do_DELETE(self):  # noqa: N802
            if "upload_id=" in self.path:  # the emulator cannot end an upload; the real store says 499
                self.answer(499)
            else:
                super().do_DELETE()

        def answer(self, status):
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, Conditional(use_memory_fs=True)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("FSSPEC_GS", '{"token": "anon", "project": "tests"}')
        patch.setitem(fsspec.config.conf, "gs", {"token": "anon", "project": "tests"})
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # would ask over gRPC what kind of bucket it is
        yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def azure(tmp_path_factory):
    """A local Azure Blob Storage, if Azurite is installed."""
    command = os.environ.get("AZURITE") or shutil.which("azurite-blob")
    if not command:
        pytest.skip("Azurite is not installed: npm install azurite, and put azurite-blob on PATH or into $AZURITE")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [command, *options, "--disableTelemetry", "--skipApiVersionCheck"], cwd=folder, stdout=log, stderr=log
        ) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(
            "AZURE_STORAGE_CONNECTION_STRING",
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};",
        )
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield
        server.terminate()
        server.wait(20)


@pytest.fixture(params=["google", "azure"])
def cloud_root(request):
    """The URL of a folder in a new bucket."""
    request.getfixturevalue(request.param)
    bucket, protocol = f"bucket-{uuid.uuid4().hex}", {"google": "gs", "azure": "az"}[request.param]
    fsspec.filesystem(protocol).mkdir(bucket)
    return f"{protocol}://{bucket}/root"


def scores(*values: float) -> pa.Table:
    ids = pa.array([b"%016d" % row for row in range(len(values))], ID)
    return check("pair_scores", pa.table({"pair_id": ids, "score": pa.array(values, pa.float32())}))


def scoring(*values: float) -> Job:
    def compute(tally, settings, *inputs):
        yield "pair_scores", scores(*values)

    return Job("score", 1, None, (), (Slot("pair_scores", "deu-eng"),), compute)


def listing(store: Store) -> dict[str, object]:
    filesystem, root = store.place()
    filesystem.invalidate_cache()
    return {path: facts.get("etag") for path, facts in filesystem.find(root, detail=True).items()}


def test_a_store_works_and_a_second_run_writes_nothing(cloud_root):
    store = Store(cloud_root)
    store.check_writable()
    [dataset] = store.derive(scoring(0.5, 0.25))
    assert store.read(dataset).equals(scores(0.5, 0.25))
    before = listing(store)
    assert all(before.values())
    [again] = Store(cloud_root, run="another").derive(scoring(0.5, 0.25))
    assert again.rows == 2
    assert listing(store) == before


def test_what_is_not_there_is_none(cloud_root):
    filesystem, path = locate(f"{cloud_root}/nothing")
    assert read_bytes(filesystem, path) is None


def test_only_the_first_creates_a_file(cloud_root):
    filesystem, path = locate(f"{cloud_root}/snapshots/000001.json")
    assert create_exclusively(filesystem, path, b"first") is True
    assert create_exclusively(filesystem, path, b"second") is False
    assert read_bytes(filesystem, path) == b"first"
    write_bytes(filesystem, path, b"overwritten")
    assert read_bytes(filesystem, path) == b"overwritten"


def test_of_racing_creators_one_wins_and_its_bytes_stay(cloud_root):
    filesystem, path = locate(cloud_root)
    racers = 8
    start = threading.Barrier(racers)

    def race(racer):
        start.wait()
        return create_exclusively(filesystem, f"{path}/race", b"%d" % racer)

    with ThreadPoolExecutor(racers) as threads:
        won = list(threads.map(race, range(racers)))
    assert sum(won) == 1
    assert read_bytes(filesystem, f"{path}/race") == b"%d" % won.index(True)


@pytest.mark.parametrize("megabytes", [0, 1, 60])  # both clients send what is larger than 50 MiB in parts
def test_a_file_is_there_whole_after_its_block_and_not_before(cloud_root, megabytes):
    filesystem, path = locate(f"{cloud_root}/file")
    data = os.urandom(1 << 10) * (megabytes << 10)
    with atomic_writer(filesystem, path) as sink:
        sink.write(data)
        assert read_bytes(filesystem, path) is None
    assert digest(read_bytes(filesystem, path)) == digest(data)
    with opened(filesystem, path, digest(data), len(data)) as handle:
        assert digest(handle.read()) == digest(data)


def fail_half_way(filesystem, path, data):
    with atomic_writer(filesystem, path) as sink:
        sink.write(data)
        raise ZeroDivisionError


@pytest.mark.parametrize("megabytes", [0, 1, 60])
def test_a_block_that_fails_leaves_the_earlier_file(cloud_root, megabytes):
    filesystem, path = locate(f"{cloud_root}/file")
    write_bytes(filesystem, path, b"old")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(filesystem, path, bytes(megabytes << 20))
    filesystem.invalidate_cache()
    assert [found.rpartition("/")[2] for found in filesystem.find(path.rpartition("/")[0])] == ["file"]
    assert read_bytes(filesystem, path) == b"old"


def test_no_bucket_is_a_source_error(cloud_root):
    filesystem, path = locate(f"{cloud_root.partition('://')[0]}://there-is-no-such-bucket/file")
    assert read_bytes(filesystem, path) is None
    with pytest.raises(SourceError, match="cannot write there-is-no-such-bucket/file"):
        write_bytes(filesystem, path, b"data")
    with (
        pytest.raises(SourceError, match="cannot write there-is-no-such-bucket/file"),
        atomic_writer(filesystem, path) as sink,
    ):
        sink.write(b"data")


def test_sources_are_listed_and_new_content_of_the_same_size_is_noticed(cloud_root, store):
    for name in ("b.txt", "deep/a.txt", "_SUCCESS"):
        write_bytes(*locate(f"{cloud_root}/crawl/{name}"), b"one")
    found = list_sources(store, f"{cloud_root}/crawl", "crawls.path")
    assert [source.name for source in found] == ["b.txt", "deep/a.txt"]
    write_bytes(*locate(f"{cloud_root}/crawl/b.txt"), b"two")
    assert source_of(store, f"{cloud_root}/crawl/b.txt", "crawls.path").digest == digest(b"two")


def test_a_lease_is_held_by_one(cloud_root):
    store = Store(cloud_root)
    pace = Pace(renew=0.1, dead=10, look=0.05)
    with (
        hold(store, "build/sample", 0, pace),
        pytest.raises(SourceError, match="build/sample is held by"),
        hold(Store(cloud_root), "build/sample", 0.3, pace),
    ):
        pass
    assert listing(store) == {}


@pytest.mark.parametrize(("url", "extra"), [("gs://b/x", "gcs"), ("az://b/x", "azure"), ("abfs://b/x", "azure")])
def test_a_missing_package_is_named(url, extra):
    program = (
        "import sys; sys.modules |= {'gcsfs': None, 'adlfs': None}\n"
        "from storage.files import locate\n"
        f"try: locate({url!r})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    ).stdout
    assert told.startswith(ConfigError.__name__)
    assert f"pip install 'babelmill[{extra}]'" in told
