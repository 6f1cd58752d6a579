"""Registered regions of POSIX shared memory, from which inputs are read and to which outputs are written.

A region is read and written by system calls and never mapped: a client that shortens its memory would end the service
at the next access to a mapping.

Source: Triton, shared memory extension.
"""

import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from app.edge.shared_memory.parts import Part, whole_number
from app.errors import Forbidden, InvalidInput, NotFound, TooLarge, Unsupported, quoted

PLACE = Path("/dev/shm")
MOST_REGIONS = 1_024
NO_CUDA = "CUDA shared memory is not supported; send tensors in the request, or in system shared memory"
_KEY = re.compile(r"/?([^/\0]{1,255})")


class Memory(Protocol):
    """The regions, as far as a request may use them."""

    def check(self, part: Part) -> None:
        """Refuse a part that cannot be read or written."""
        ...

    def read(self, part: Part) -> bytes:
        """The bytes of a part."""
        ...

    def write(self, part: Part, data: bytes) -> None:
        """Write to the start of a part."""
        ...


@dataclass(frozen=True, slots=True)
class Closed:
    """The regions for a client that may not use them: it is on another machine, or they are switched off.

    Attributes:
        reason: for the message.
    """

    reason: str

    def opened(self) -> NoReturn:
        """Raise Unsupported."""
        raise Unsupported(f"shared memory is not available: {self.reason}")

    def check(self, part: Part) -> None:
        """Raise Forbidden."""
        raise Forbidden(f"shared memory region {quoted(part.region)} is not available: {self.reason}")

    def read(self, part: Part) -> bytes:
        """See ``check``."""
        self.check(part)
        raise AssertionError("check raises, always")

    def write(self, part: Part, data: bytes) -> None:
        """See ``check``."""
        self.check(part)


NO_MEMORY = Closed("this request takes no parameters")
TOO_FAR = Closed("only clients on this machine may use it")


@dataclass(slots=True)
class _Region:
    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int
    is_open: bool = True
    # Held while a thread reads or writes: a closed descriptor may already be that of another file.
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def using(self) -> Iterator[int]:
        """The descriptor, which is not closed within the block."""
        with self.lock:
            if not self.is_open:
                raise _unknown(self.name)
            yield self.descriptor

    def close(self) -> None:
        """Close the descriptor, once no thread uses it."""
        with self.lock:
            self.is_open = False
            os.close(self.descriptor)


class Regions:
    """The registered regions of a process. Only for the event loop, except ``read`` and ``write``.

    Args:
        limit_bytes: most bytes of one tensor.
        place: directory of the shared memory.
    """

    def __init__(self, *, limit_bytes: int, place: Path = PLACE) -> None:
        self._limit_bytes = limit_bytes
        self._place = place
        self._regions: dict[str, _Region] = {}

    def opened(self) -> "Regions":
        """The regions; see ``Closed.opened``."""
        return self

    def register(self, name: str, key: object, byte_size: object, offset: object = 0) -> None:
        """Open a region under a name.

        Args:
            name: new.
            key: of the shared memory object, as for ``shm_open``.
            byte_size: of the region.
            offset: bytes from the start of the object.

        Raises:
            InvalidInput: the name is taken, a value is invalid, the object does not exist, is not ours to use, or is
                smaller.
            TooLarge: the maximum number of regions is registered.
        """
        if name in self._regions:
            raise InvalidInput(f"shared memory region {quoted(name)} already in manager; unregister it first")
        if len(self._regions) >= MOST_REGIONS:
            raise TooLarge(f"{MOST_REGIONS} shared memory regions are registered, as many as are allowed")
        found = _KEY.fullmatch(key) if isinstance(key, str) else None
        if found is None or found[1] in {".", ".."}:
            raise InvalidInput(f"'key' is {quoted(key)}; send the name of a shared memory object, such as '/my_input'")
        size, start = whole_number(byte_size, "byte_size"), whole_number(offset, "offset")
        if size == 0:
            raise InvalidInput("'byte_size' is 0; send the bytes of the region")
        descriptor = self._open(found[1], key)
        held = os.fstat(descriptor).st_size
        if start + size > held:
            os.close(descriptor)
            raise InvalidInput(
                f"shared memory {quoted(key)} has {held} bytes; a region of {size} bytes from byte {start} does not fit"
            )
        self._regions[name] = _Region(name, str(key), start, size, descriptor)

    def unregister(self, name: str | None) -> None:
        """Close a region, or all without a name. A name that is not registered changes nothing, as in Triton."""
        for each in [name] if name is not None else list(self._regions):
            if (region := self._regions.pop(each, None)) is not None:
                region.close()

    def status(self, name: str | None) -> list[dict[str, Any]]:
        """The regions, or the one of that name.

        Raises:
            NotFound: it is not registered.
        """
        regions = (
            [self._named(name)] if name is not None else sorted(self._regions.values(), key=lambda each: each.name)
        )
        return [
            {"name": each.name, "key": each.key, "offset": each.offset, "byte_size": each.byte_size} for each in regions
        ]

    def check(self, part: Part) -> None:
        """Refuse a part that is not within a region.

        Raises:
            NotFound: the region is not registered.
            InvalidInput: the part does not fit.
            TooLarge: more bytes than a tensor may have.
        """
        region = self._named(part.region)
        if part.byte_size > self._limit_bytes:
            raise TooLarge(
                f"{part.byte_size} bytes of shared memory region {quoted(part.region)}; at most {self._limit_bytes} "
                "are accepted for a tensor"
            )
        if part.offset + part.byte_size > region.byte_size:
            raise InvalidInput(
                f"shared memory region {quoted(part.region)} has {region.byte_size} bytes; {part.byte_size} bytes "
                f"from byte {part.offset} are not within it"
            )

    def read(self, part: Part) -> bytes:
        """The bytes of a part; raises as ``check`` does, and InvalidInput if the memory has been shortened."""
        self.check(part)
        region = self._named(part.region)
        at, end = region.offset + part.offset, region.offset + part.offset + part.byte_size
        pieces: list[bytes] = []
        with region.using() as descriptor:
            while at < end:
                try:
                    piece = os.pread(descriptor, end - at, at)
                except OSError as error:
                    raise InvalidInput(f"shared memory region {quoted(part.region)}: {error.strerror}") from error
                if not piece:
                    raise _shortened(part)
                pieces.append(piece)
                at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write(self, part: Part, data: bytes) -> None:
        """Write to the start of a part; raises as ``check`` does, and InvalidInput if the data do not fit."""
        self.check(part)
        region = self._named(part.region)
        if len(data) > part.byte_size:
            raise InvalidInput(
                f"an output has {len(data)} bytes, and {part.byte_size} are set aside for it in shared memory region "
                f"{quoted(part.region)}"
            )
        at, view = region.offset + part.offset, memoryview(data)
        with region.using() as descriptor:
            if os.fstat(descriptor).st_size < at + len(data):
                raise _shortened(part)
            try:
                while view:
                    count = os.pwrite(descriptor, view, at)
                    view, at = view[count:], at + count
            except OSError as error:
                raise InvalidInput(f"shared memory region {quoted(part.region)}: {error.strerror}") from error

    def _open(self, file: str, key: object) -> int:
        try:
            descriptor = os.open(self._place / file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise InvalidInput(f"Unable to open shared memory region: {quoted(key)}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidInput(f"Unable to open shared memory region: {quoted(key)} is not shared memory")
        return descriptor

    def _named(self, name: str) -> _Region:
        if (region := self._regions.get(name)) is None:
            raise _unknown(name)
        return region


def _unknown(name: str) -> NotFound:
    return NotFound(f"Unable to find shared memory region: {quoted(name)}")


def _shortened(part: Part) -> InvalidInput:
    return InvalidInput(f"shared memory region {quoted(part.region)} is shorter than it was when it was registered")
