"""A long computation's state in, the same state out after its process has died."""

from __future__ import annotations

from dataclasses import dataclass

from storage.files import Filesystem, outside_world, read_bytes, write_bytes
from storage.manifest import safe_path
from storage.store import Store


@dataclass(frozen=True)
class Scratch:
    """One file beside what a job is making, replaced as a whole; no manifest names it, so nobody else reads it."""

    store: Store
    folder: str
    name: str
    seconds: float = 0.0  # that its writer lets pass from one state to the next

    @property
    def url(self) -> str:
        """Where it is, for people."""
        return f"{self.store.root.rstrip('/')}/{self.folder}/{self.name}"

    def read(self) -> bytes | None:
        """Return what was written last, if anything was."""
        filesystem, path = self._place()
        return read_bytes(filesystem, path)

    def write(self, data: bytes) -> None:
        """Put this in the place of what was written before; a reader sees one or the other."""
        filesystem, path = self._place()
        write_bytes(filesystem, path, data)

    def clear(self) -> None:
        """Forget it."""
        filesystem, path = self._place()
        with outside_world(f"cannot remove {self.name} in {self.folder}"):
            if filesystem.exists(path):
                filesystem.rm_file(path)

    def _place(self) -> tuple[Filesystem, str]:
        filesystem, root = self.store.place()
        return filesystem, f"{root}/{safe_path(f'{self.folder}/{self.name}')}"
