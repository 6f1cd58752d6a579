"""Returns memory that the C library's allocator keeps after it was freed to the operating system."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_APART_BYTES = 128 * 1024  # glibc's own default, before the first block of that size is freed
_USUALLY_BYTES = 32 * 2**20  # the most that glibc raises it to


def trimmer() -> Callable[[], None] | None:
    """Returns all free pages of all arenas of malloc; None if the C library cannot do it (musl, macOS, Windows).

    The call blocks for some milliseconds per 100 MB to be freed, without Python's lock. A thread that allocates from
    the arena being trimmed waits for it.

    Source: malloc_trim(3). Without it glibc returns only the end of a heap, and one live block there keeps everything
    below it that was freed.
    """
    try:
        function = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = [ctypes.c_size_t], ctypes.c_int

    def trim() -> None:
        function(0)

    return trim


def resident_bytes(pid: int | None = None) -> int:
    """Memory of a process, by default this one, that is in RAM, in bytes; 0 if the kernel does not report it."""
    try:
        path = _STATM if pid is None else Path(f"/proc/{pid}/statm")
        return int(path.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class _Mallinfo(ctypes.Structure):
    """``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def allocated_bytes() -> int | None:
    """Bytes of all blocks that malloc has given out and that were not freed; None if the C library does not say.

    Unlike resident memory, it does not depend on what was freed before. It takes some microseconds.

    Source: mallinfo2(3), glibc 2.33 and later: all arenas (``uordblks``), and blocks with their own mapping
        (``hblkhd``).
    """
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return None
    function.restype = _Mallinfo
    info = function()
    return int(info.uordblks + info.hblkhd)


class LargeBlocks:
    """Makes malloc give large blocks their own mappings while a version is loaded, so that they are returned with it.

    Among smaller blocks, a network's weights leave holes when they are freed, and later allocations there keep the
    pages.
    Outside of loads large blocks come from the heaps, as they do in glibc once some have been freed: a mapping for each
    large image costs a fifth of its decoding.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD. Does nothing if the C library lacks mallopt.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loads = 0
        try:
            self._mallopt: Callable[[int, int], int] | None = ctypes.CDLL(None).mallopt
        except (AttributeError, OSError, TypeError):
            self._mallopt = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        """While any thread is inside this block, large blocks get their own mappings."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._loads += change
            if self._mallopt is not None:
                self._mallopt(_M_TRIM_THRESHOLD, 2 * _USUALLY_BYTES)
                self._mallopt(_M_MMAP_THRESHOLD, _APART_BYTES if self._loads else _USUALLY_BYTES)
