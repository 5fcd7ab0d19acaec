"""A store and a name in, the right to be the only one who builds it out, for as long as the holder lives."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from storage.credentials import without_secrets
from storage.errors import SourceError
from storage.files import Filesystem, create_exclusively, outside_world, read_bytes, write_bytes
from storage.fingerprint import digest
from storage.manifest import safe_path
from storage.store import Store

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often things are done, in seconds."""

    renew: float = 30.0
    dead: float = 120.0  # without renewal: four that failed in a row
    look: float = 2.0
    tell: float = 60.0


_PACE = Pace()


@contextlib.contextmanager
def hold(store: Store, name: str, wait_seconds: float, pace: Pace = _PACE) -> Iterator[None]:
    """Be the only one who does something with a store while the block runs, whoever else was started and where.

    The lease is a file, leases/<name>.json below the root, which the holder renews. A lease that is not renewed is
    taken over; whether it is renewed is seen by its change, for the clocks of two machines differ. One whose process on
    this machine is gone is taken over at once.

    A holder that was cut off for too long loses its lease without noticing at once, and two may then work at the same
    time. That harms nothing: files are written under names of their own, equal work has equal bytes, and of two
    snapshots one is committed (storage/snapshots.py). So a lost lease is a warning.

    Args:
        store: where to build.
        name: what is built, such as build/news.
        wait_seconds: how long to wait for another holder.
        pace: how often to renew and to look.

    Raises:
        SourceError: if another holds the lease for longer than that, or storage fails.
    """
    lease = _Lease(*store.place(), safe_path(name), store.run)
    _acquire(lease, name, wait_seconds, pace)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(lease, name, ended, pace), name=f"lease-{name}", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        _release(lease, name)


class _Holder(NamedTuple):
    """What a lease's file says."""

    token: str  # of one holding
    run: str
    host: str
    machine: str
    pid: int
    since: str

    @property
    def is_gone(self) -> bool:
        """True if it was a process of this machine and there is none of that number any more."""
        if self.pid <= 0 or not self.machine or self.machine != _machine():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # somebody else's process, which lives
        return False

    def __str__(self) -> str:
        """Read as who it is and since when."""
        return f"run {self.run} on {self.host} (process {self.pid}) since {self.since}"


@dataclass
class _Lease:
    """The file of a lease, and this holder's token."""

    filesystem: Filesystem
    root: str
    name: str
    run: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    since: str = ""

    @property
    def path(self) -> str:
        return f"{self.root}/leases/{self.name}.json"

    def read(self) -> bytes | None:
        return read_bytes(self.filesystem, self.path)

    def content(self) -> bytes:
        """What the file says while it is ours; `renewed` differs every time."""
        me = _Holder(self.token, self.run, socket.gethostname(), _machine(), os.getpid(), self.since)
        return json.dumps(me._asdict() | {"renewed": _now(), "renewal": uuid.uuid4().hex[:8]}, indent=1).encode()

    def claim(self, dead: str, attempt: int) -> bool:
        """Take over from a dead holder; False if another does.

        Of several who try, the one who creates the claim's file wins. The second look is for those who found the lease
        dead, but were slow: the winner has renewed it before it removed its claim.
        """
        claim = f"{self.path.removesuffix('.json')}.{dead}-{attempt}.claim"
        if not create_exclusively(self.filesystem, claim, self.content()):
            return False
        try:
            seen = self.read()
            won = seen is not None and _holder(seen).token == dead
            if won:
                write_bytes(self.filesystem, self.path, self.content())
        finally:
            _remove(self.filesystem, claim)
        return won


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _machine() -> str:
    """Name what a process number is unique in: one boot of a machine, and a container's own numbers; empty if unknown.

    Containers that share their host's name have numbers of their own, so that a living process would seem gone.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _holder(data: bytes) -> _Holder:
    """Read a lease; one that is no lease is held by somebody unknown, and is dead if it does not change."""
    try:
        told = json.loads(data)
        return _Holder(
            safe_path(str(told["token"]).replace("/", "-")),
            str(told["run"]),
            str(told["host"]),
            str(told["machine"]),
            int(told["pid"]),
            str(told["since"]),
        )
    except (ValueError, KeyError, TypeError):
        return _Holder(digest(data), "unknown", "unknown", "", 0, "an unknown time")


def _acquire(lease: _Lease, name: str, wait_seconds: float, pace: Pace) -> None:
    """Return when the lease is ours."""
    begun = looked = time.monotonic()
    last, silent, told, attempt = b"", 0.0, -pace.tell, 0
    longest = max(2 * pace.look, pace.dead / 10)  # a longer gap is our own sleep, which the holder may have shared
    while True:
        data, lease.since = lease.read(), _now()
        if data is None:
            if create_exclusively(lease.filesystem, lease.path, lease.content()):
                return
            continue
        now, holder = time.monotonic(), _holder(data)
        silent, looked = silent + min(now - looked, longest), now
        if holder.token == lease.token:  # the answer to our own put was lost, and the client sent it again
            return
        if data != last:
            last, silent, attempt = data, 0.0, 0
        if (attempt == 0 and holder.is_gone) or silent > pace.dead:
            attempt, silent = attempt + 1, 0.0
            if lease.claim(holder.token, attempt):
                _logger.warning("%s: taken over from %s, which is dead", name, holder)
                return
        if now - begun >= wait_seconds:
            raise SourceError(_refusal(lease, name, holder, now - begun))
        if now - told >= pace.tell:
            told = now
            _logger.info("%s: waiting for %s (%.0f s of at most %.0f)", name, holder, now - begun, wait_seconds)
        time.sleep(min(pace.look, max(0.0, begun + wait_seconds - now)))


def _refusal(lease: _Lease, name: str, holder: _Holder, waited: float) -> str:
    place = lease.filesystem.unstrip_protocol(lease.path)
    return (
        f"{name} is held by {holder}, still after waiting {waited:.0f} s; wait longer, or if that run is dead, "
        f"remove {place}"
    )


def _renew(lease: _Lease, name: str, ended: threading.Event, pace: Pace) -> None:
    """Renew until the end, or until the lease is another's."""
    while not ended.wait(pace.renew):
        try:
            data = lease.read()
            if data is None or _holder(data).token != lease.token:
                holder = "nobody" if data is None else str(_holder(data))
                _logger.warning("%s: the lease is lost, it is held by %s; this run goes on", name, holder)
                return
            write_bytes(lease.filesystem, lease.path, lease.content())
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may cure it; the work goes on
            _logger.warning("%s: cannot renew the lease: %s", name, without_secrets(str(error)))


def _release(lease: _Lease, name: str) -> None:
    try:
        data = lease.read()
        if data is not None and _holder(data).token == lease.token:
            _remove(lease.filesystem, lease.path)
    except SourceError as error:  # the work is done: that counts more
        _logger.warning("%s: the lease stays behind and will be taken for dead: %s", name, error)


def _remove(filesystem: Filesystem, path: str) -> None:
    with outside_world(f"cannot remove {path}", (RuntimeError,)), contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(path)
