"""Files that other tools write in place: they are read once they have stopped changing.

They are looked at twice: a change between the two looks is a copy in progress.
"""

import os
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.errors import VersionRefused

# Seconds for which no file may have changed: a copy in progress writes more often.
SETTLED_S = 1.0
Files = Sequence[tuple[str, os.stat_result]]


@contextmanager
def settled(
    whose: Path,
    look: Callable[[], Files],
    *,
    now: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Files]:
    """Waits until the newest of the files is a second old; the files are read in the ``with`` block. Blocks.

    Args:
        whose: what they belong to, for the message.
        look: lists the files with their status.
        now: seconds since the epoch, as in the status of files.
        wait: sleeps.

    Raises:
        VersionRefused: at the end of the block the files are others than at its beginning, by size or time.
    """
    before = look()
    newest = max((status.st_ctime for _, status in before), default=0.0)
    wait(min(SETTLED_S, max(0.0, newest + SETTLED_S - now())))
    yield before
    if marks_of(look()) != marks_of(before):
        raise VersionRefused(f"{whose}: its files are still changing")


def marks_of(files: Files) -> Hashable:
    """Differs if a file was added, removed or changed, by size and time."""
    return tuple((name, each.st_size, each.st_mtime_ns, each.st_ctime_ns, each.st_ino) for name, each in files)
