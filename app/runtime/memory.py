"""What the C library's allocator keeps of freed memory, given back to the operating system."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

_STATM = Path("/proc/self/statm")


def trimmer() -> Callable[[], None] | None:
    """Gives back all free pages of all arenas of malloc; None where the C library cannot (musl, macOS, Windows).

    The call blocks for some milliseconds per 100 MB to be freed, without Python's lock. Who allocates from the arena
    that it is at waits meanwhile.

    Source: malloc_trim(3). Without it glibc gives back only what lies at the end of a heap, and one block that lives
    keeps all that was freed below it.
    """
    try:
        function = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = [ctypes.c_size_t], ctypes.c_int

    def trim() -> None:
        function(0)

    return trim


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the kernel does not say."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
