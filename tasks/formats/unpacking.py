"""A packed or plain byte stream in, its unpacked bytes out, with the place in the stored file of every byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Literal, Protocol

import zstandard

Packing = Literal["plain", "gzip", "zstd"]

_CHUNK = 64 * 2**10

# A block of zstd unpacks to at most 128 KiB and takes at least 4 bytes (RFC 8878, 3.1.1.2), and the library unpacks all
# that it is given: 1 KiB at a time bounds one step to 32 MiB.
_ZSTD_FEED = 2**10
_ZSTD_WINDOW = 2**27  # 128 MiB, what `zstd --long` writes; more is refused
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
_MAX_DICTIONARY = 2**24

# Text packs to a tenth or so, and very repetitive text to a hundredth: what unpacks further than this is a bomb.
_MAX_RATIO = 250
_FREE_BYTES = 2**28

_MAGIC: dict[Packing, bytes] = {"plain": b"", "gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd"}


class DamageError(Exception):
    """The stored bytes cannot be read on: `reason` is bad_record, truncated or too_large."""

    def __init__(self, reason: Literal["bad_record", "truncated", "too_large"], detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    def unpack(self, stored: bytes) -> tuple[bytes, bytes]:
        """Return some unpacked bytes, and the stored bytes that were not needed for them."""
        ...


class _Plain:
    eof = False

    def unpack(self, stored: bytes) -> tuple[bytes, bytes]:
        return stored, b""


class _Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)  # with a gzip header, and its checksum verified
        self._damage: DamageError | None = None

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    def unpack(self, stored: bytes) -> tuple[bytes, bytes]:
        if self._damage is not None:
            raise self._damage
        before = self._inflate.copy()
        try:
            data = self._inflate.decompress(stored, _CHUNK)
        except zlib.error as error:
            self._damage = DamageError("bad_record", f"gzip: {error}")
            return _salvaged(before, stored), stored
        return data, self._inflate.unused_data or self._inflate.unconsumed_tail


def _salvaged(inflate: zlib._Decompress, stored: bytes) -> bytes:
    """Return what comes out before the damage: zlib throws it away with the call that fails."""
    pieces: list[bytes] = []
    try:
        for place in range(len(stored)):
            pieces.append(inflate.decompress(stored[place : place + 1]))  # noqa: PERF401 - kept when the next one fails
    except zlib.error:
        return b"".join(pieces)
    return b"".join(pieces)


class _Zstd:
    def __init__(self, dictionary: zstandard.ZstdCompressionDict | None) -> None:
        window = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=_ZSTD_WINDOW)
        self._frame = window.decompressobj()

    @property
    def eof(self) -> bool:
        return self._frame.eof

    def unpack(self, stored: bytes) -> tuple[bytes, bytes]:
        try:
            data = self._frame.decompress(stored[:_ZSTD_FEED])
        except zstandard.ZstdError as error:
            raise DamageError("bad_record", f"zstd: {error}") from None
        return data, self._frame.unused_data + stored[_ZSTD_FEED:]


class Unpacked:
    """Unpacks a stream member by member: gzip members, zstd frames, or the whole of a plain file as one.

    Reads stop at the end of a member, and `next_member` goes on to the next one. All errors of the packing are
    DamageError; errors of the stream itself pass through.
    """

    def __init__(self, stream: BinaryIO, packing: Packing) -> None:
        self._stream = stream
        self._packing = packing
        self._stored = b""  # read from the stream and not yet unpacked
        self._read = 0  # bytes read from the stream
        self._buffer = b""  # unpacked and not yet handed out, from _at on
        self._at = 0
        self._unpacked = 0
        self._damage: DamageError | None = None
        self._decoder: _Decoder | None = None
        self._dictionary: zstandard.ZstdCompressionDict | None = None
        self.member = 0
        """Where the current member starts in the stored file."""
        self.inner = 0
        """Unpacked bytes of the current member that were handed out."""

    @property
    def plain(self) -> bool:
        """Whether nothing is packed, so that there is one member only and nothing to resume at."""
        return self._packing == "plain"

    @property
    def stored_end(self) -> int:
        """Where the current member ends in the stored file, once all of it was read."""
        return self._read - len(self._stored)

    def next_member(self) -> bool:
        """Leave the current member, whatever is left of it, for the next; False at the end of the file."""
        while self._decoder is not None and self._fill():
            self._at = len(self._buffer)
        self._buffer, self._at, self.inner = b"", 0, 0
        while self._need(1):
            self.member = self.stored_end
            if self._skip_between():
                continue
            if not self._need(len(_MAGIC[self._packing])):
                raise DamageError("truncated", "the file ends within the first bytes of a member")
            if not self._stored.startswith(_MAGIC[self._packing]):
                raise DamageError("bad_record", f"there is no {self._packing} member here")
            self._decoder = self._new_decoder()
            return True
        self._decoder = None
        return False

    def peek(self, size: int) -> bytes:
        """Return the next bytes of the member without taking them, fewer only at its end or before damage."""
        try:
            while len(self._buffer) - self._at < size and self._fill():
                pass
        except DamageError:
            if self._at == len(self._buffer):
                raise
        return self._buffer[self._at : self._at + size]

    def read(self, size: int) -> bytes:
        """Take up to so many bytes of the member; none only at its end. Damage is raised where it is reached."""
        if self._at == len(self._buffer):
            self._fill()
        data = self._buffer[self._at : self._at + size]
        self._at += len(data)
        self.inner += len(data)
        return data

    def _new_decoder(self) -> _Decoder:
        if self._packing == "gzip":
            return _Gzip()
        return _Zstd(self._dictionary) if self._packing == "zstd" else _Plain()

    def _fill(self) -> bool:
        """Unpack some more of the member; False at its end. What is damaged once stays damaged."""
        if self._damage is not None:
            raise self._damage
        try:
            return self._unpack_more()
        except DamageError as error:
            self._damage = error
            raise

    def _unpack_more(self) -> bool:
        while self._decoder is not None and not self._decoder.eof:
            if not self._stored and not self._need(1):
                if self.plain:
                    return False
                raise DamageError("truncated", f"the file ends within a {self._packing} member")
            data, self._stored = self._decoder.unpack(self._stored)
            self._unpacked += len(data)
            if self._unpacked > _FREE_BYTES + _MAX_RATIO * self._read:
                raise DamageError("too_large", f"more than {_MAX_RATIO} times as large unpacked as stored")
            if data:
                self._buffer, self._at = self._buffer[self._at :] + data, 0
                return True
        return False

    def _need(self, size: int) -> bool:
        while len(self._stored) < size:
            data = self._stream.read(max(_CHUNK, size - len(self._stored)))
            if not data:
                return False
            self._read += len(data)
            self._stored += data
        return True

    def _skip_between(self) -> bool:
        """Skip what may lie between members: padding with zeros after gzip, and zstd's skippable frames."""
        if self._packing == "gzip" and self._stored[:1] == b"\0":
            self._stored = self._stored.lstrip(b"\0")
            return True
        # 0x184D2A50 to 5F, little-endian (RFC 8878, 3.1.2); 5D at the start holds a dictionary in zstd WARC files.
        if self._packing == "zstd" and self._need(8) and self._stored[1:4] == b"\x2a\x4d\x18":
            kind, size = struct.unpack("<II", self._stored[:8])
            if kind & 0xF0 == 0x50:
                self._skip_frame(size, keep=kind & 0x0F == 0x0D and self.member == 0)
                return True
        return False

    def _skip_frame(self, size: int, *, keep: bool) -> None:
        self._stored = self._stored[8:]
        if keep and size <= _MAX_DICTIONARY:
            if not self._need(size):
                raise DamageError("truncated", "the file ends within its zstd dictionary")
            self._dictionary = _dictionary(self._stored[:size])
        while size:
            if not self._need(1):
                raise DamageError("truncated", "the file ends within a skippable zstd frame")
            skipped = min(size, len(self._stored))
            self._stored, size = self._stored[skipped:], size - skipped


def lines(unpacked: Unpacked, limit: int) -> Iterator[bytes | None]:
    """Yield the lines of all members together without their ends; None for one of more than `limit` bytes."""
    pending: list[bytes] = []
    held, too_long = 0, False
    while unpacked.next_member():
        while data := unpacked.read(_CHUNK):
            *whole, rest = data.split(b"\n")
            for piece in whole:
                yield None if too_long or held + len(piece) > limit else b"".join([*pending, piece])
                pending, held, too_long = [], 0, False
            held += len(rest)
            too_long = too_long or held > limit
            pending = [] if too_long else [*pending, rest]
    if held:
        yield None if too_long else b"".join(pending)


def read_all(unpacked: Unpacked, limit: int) -> bytes:
    """Return all bytes of all members, but no more than limit + 1 of them."""
    pieces: list[bytes] = []
    held = 0
    while unpacked.next_member():
        while held <= limit and (data := unpacked.read(_CHUNK)):
            pieces.append(data)
            held += len(data)
        if held > limit:
            break
    return b"".join(pieces)[: limit + 1]


def _dictionary(stored: bytes) -> zstandard.ZstdCompressionDict:
    """Read the dictionary of a zstd WARC file, which may itself be packed."""
    try:
        if stored.startswith(_ZSTD_FRAME):
            stored = zstandard.ZstdDecompressor().decompress(stored, max_output_size=_MAX_DICTIONARY)
        return zstandard.ZstdCompressionDict(stored)
    except (zstandard.ZstdError, ValueError) as error:
        raise DamageError("bad_record", f"zstd dictionary: {error}") from None
