"""The files of the recordings of one model, and the lock that everything which changes them holds.

============================  =====================================================================================
``0000000001.jsonl``          recorded instances, a line each: see ``recordings.instance``; the highest number is the
                              newest file, which all processes of the service append to
``0000000001.feedback.jsonl`` the right answers to instances in the file of that number; deleted with it
``ids.sqlite3``               where each request id is; made again from the files above if it is deleted
``.lock``                     locked by the process that changes any of them
============================  =====================================================================================

All are readable only by their owner: they hold what clients sent.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

_SUBDIRECTORY = "recordings"
_ENDING, _FEEDBACK = ".jsonl", ".feedback.jsonl"
_LOCK = ".lock"
_DIGITS = 10
LOCK_TIMEOUT_S = 5.0
"""Most seconds to wait for another process or thread that changes the files."""
_LOCK_EVERY_S = 0.005


class Segment(NamedTuple):
    """One file of recorded instances.

    Attributes:
        number: increases from file to file.
        path: of the file.
        feedback: path of the right answers, which may not exist.
    """

    number: int
    path: Path
    feedback: Path


class RecordingDirectory:
    """The files of one model.

    Args:
        path: the directory; it may not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids = path / "ids.sqlite3"

    @classmethod
    def of(cls, state_dir: Path, model: str) -> "RecordingDirectory":
        """The directory of a model below the state directory of the service."""
        # A model of another tool may have any name; one that begins with a dot could be the parent directory.
        name = quote(model, safe=" ")
        return cls(state_dir / _SUBDIRECTORY / (f"%2E{name[1:]}" if name.startswith(".") else name))

    def segment(self, number: int) -> Segment:
        """The file of that number."""
        name = f"{number:0{_DIGITS}}"
        return Segment(number, self.path / f"{name}{_ENDING}", self.path / f"{name}{_FEEDBACK}")

    def segments(self) -> list[Segment]:
        """All files of instances, the oldest first; none if the directory does not exist.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with os.scandir(self.path) as found:
                files = [each.name for each in found if each.name.endswith(_ENDING) and each.is_file()]
        except FileNotFoundError:
            return []
        numbers = [name.removesuffix(_ENDING) for name in files]
        return [self.segment(number) for number in sorted(int(each) for each in numbers if _is_number(each))]

    @contextmanager
    def locked(self, *, create: bool = False, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the lock: no other process or thread changes a file meanwhile. It ends with the process, too.

        Args:
            create: make the directory if it does not exist.
            timeout_s: most seconds to wait.

        Raises:
            FileNotFoundError: the directory does not exist.
            OSError: it cannot be made or locked; ``TimeoutError`` if another one does not give up the lock.
        """
        if create:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            end = time.monotonic() + timeout_s
            while not _is_taken(lock):
                if time.monotonic() > end:
                    raise TimeoutError(errno.ETIMEDOUT, "another process does not give up its lock", str(self.path))
                time.sleep(_LOCK_EVERY_S)
            yield
        finally:
            os.close(lock)

    def remove(self, segment: Segment) -> None:
        """Delete a file of instances and its right answers. The caller holds the lock."""
        for path in (segment.path, segment.feedback):
            with suppress(FileNotFoundError):
                path.unlink()

    def remove_all(self) -> int:
        """Delete all files; those that are being written to begin again. Returns how many held instances.

        Raises:
            OSError: one of them cannot be deleted.
        """
        try:
            with self.locked():
                segments = self.segments()
                for segment in segments:
                    self.remove(segment)
                self.ids.unlink(missing_ok=True)
        except FileNotFoundError:
            return 0
        return len(segments)


def model_directories(state_dir: Path) -> list[Path]:
    """The directories of all models with recordings, sorted by name."""
    try:
        return sorted(each for each in (state_dir / _SUBDIRECTORY).iterdir() if each.is_dir())
    except FileNotFoundError:
        return []


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
