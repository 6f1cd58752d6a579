"""Where each recorded request id is: an index on disk that is made from the files, whoever wrote them.

The index is read and changed only when somebody asks for an id, never by the thread that records. It then reads what
the files have got since it was asked last. So it knows the ids that other worker processes recorded, a process that was
killed leaves nothing to repair, and memory does not grow with the number of ids. If it is damaged, it is made again.

The caller holds the lock of the directory.
"""

import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from app.contract.recordings.directory import RecordingDirectory, Segment
from app.contract.recordings.instance import read_line

log = logging.getLogger("atelier.recording")

MOST_READ_BYTES = 32 * 2**20
"""Most bytes of the files that are read at a time, while the thread that records waits for the lock."""
_TABLES = """
CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY, inode INTEGER, lines INTEGER, feedback INTEGER);
CREATE TABLE IF NOT EXISTS ids (
    request_id TEXT, instance INTEGER, instances INTEGER, version INTEGER, time_s REAL,
    number INTEGER, offset INTEGER, length INTEGER, feedback TEXT
);
CREATE INDEX IF NOT EXISTS by_id ON ids (request_id);
CREATE INDEX IF NOT EXISTS by_place ON ids (number, offset);
"""
_COLUMNS = "instance, instances, version, time_s, number, offset, length, feedback"
_PUT_ID = "INSERT INTO ids VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)"
_PUT_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
_PUT_FEEDBACK = "UPDATE ids SET feedback = ? WHERE number = ? AND offset = ? AND feedback IS NULL"
_FIELDS = ("request_id", "instance", "instances", "version", "time_s")
_MISTAKES = (KeyError, TypeError, ValueError)


class Place(NamedTuple):
    """A recorded instance.

    Attributes:
        instance: its index in the request.
        instances: of the request.
        version: that answered.
        time_s: when, in seconds since 1970.
        number: of the file.
        offset, length: of its line, in bytes.
        feedback: the right answer in words, if one is known.
    """

    instance: int
    instances: int
    version: int
    time_s: float
    number: int
    offset: int
    length: int
    feedback: str | None


class Ids:
    """The index while it is open.

    Args:
        database: the open index.
        directory: the files.

    Attributes:
        is_complete: it is up to date; otherwise ``MOST_READ_BYTES`` of the files were read, and the next one continues.
    """

    def __init__(self, database: sqlite3.Connection, directory: RecordingDirectory) -> None:
        self.database = database
        self._directory = directory
        self._left_bytes = MOST_READ_BYTES
        self._catch_up()
        database.commit()

    @property
    def is_complete(self) -> bool:
        """See above."""
        return self._left_bytes > 0

    def find(self, request_id: str) -> list[Place]:
        """The instances of the last request with that id, by their index; none if it is unknown."""
        rows = self.database.execute(
            f"SELECT {_COLUMNS} FROM ids WHERE request_id = ? ORDER BY number, offset", (request_id,)
        )
        found: dict[int, Place] = {}
        for place in map(Place._make, rows):
            if place.instance == 0:  # the client used the id again
                found.clear()
            found[place.instance] = place
        return [found[index] for index in sorted(found)]

    def all_of(self, request_id: str) -> list[Place]:
        """The instances of all requests with that id."""
        rows = self.database.execute(f"SELECT {_COLUMNS} FROM ids WHERE request_id = ?", (request_id,))
        return list(map(Place._make, rows))

    def forget(self, request_id: str) -> None:
        """Drop an id whose lines are deleted."""
        self.database.execute("DELETE FROM ids WHERE request_id = ?", (request_id,))

    def _catch_up(self) -> None:
        """Read what the files have got, and drop the ids of files that are gone."""
        segments = {segment.number: segment for segment in self._directory.segments()}
        known = {number: rest for number, *rest in self.database.execute("SELECT * FROM files")}
        for number in known.keys() - segments.keys():
            self._drop(number)
        for number, segment in segments.items():
            if not self.is_complete:
                break
            status = segment.path.stat()
            inode, lines, feedback = known.get(number, (status.st_ino, 0, 0))
            if inode != status.st_ino or lines > status.st_size:  # another file of that name
                self._drop(number)
                lines = feedback = 0
            lines = self._read_lines(segment, lines)
            feedback = self._read_feedback(segment, feedback)
            self.database.execute(_PUT_FILE, (number, status.st_ino, lines, feedback))

    def _drop(self, number: int) -> None:
        self.database.execute("DELETE FROM ids WHERE number = ?", (number,))
        self.database.execute("DELETE FROM files WHERE number = ?", (number,))

    def _read_lines(self, segment: Segment, start: int) -> int:
        """Read the lines from a place on; returns where the last whole line ends."""
        end = start
        with segment.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                document = read_line(line)
                try:
                    if document is not None:
                        fields = [document[name] for name in _FIELDS]
                        self.database.execute(_PUT_ID, (*fields, segment.number, end, len(line)))
                except (*_MISTAKES, sqlite3.Error):
                    log.warning("%s: the line at byte %d is not a recorded instance", segment.path, end)
                end += len(line)
                self._left_bytes -= len(line)
                if self._left_bytes <= 0:
                    break
        return end

    def _read_feedback(self, segment: Segment, start: int) -> int:
        """The same for the right answers."""
        end = start
        if not segment.feedback.exists():
            return 0
        with segment.feedback.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                document = read_line(line)
                try:
                    if document is not None:
                        said = repr(document["label"] if "label" in document else document["value"])
                        self.database.execute(_PUT_FEEDBACK, (said, segment.number, document["offset"]))
                except (*_MISTAKES, sqlite3.Error):
                    log.warning("%s: the line before byte %d is not an answer", segment.feedback, end)
        return end


@contextmanager
def opened(directory: RecordingDirectory) -> Iterator[Ids]:
    """The index of a directory. The caller holds the lock of the directory.

    Raises:
        OSError: the index or the files cannot be read or written.
    """
    try:
        ids = _opened(directory)
        with closing(ids.database), ids.database:
            yield ids
    except sqlite3.Error as error:
        if not isinstance(error, sqlite3.OperationalError):  # damaged: the next one makes it again
            directory.ids.unlink(missing_ok=True)
        raise OSError(errno.EIO, f"the index of request ids: {error}", str(directory.ids)) from error


def _opened(directory: RecordingDirectory) -> Ids:
    try:
        return _connected(directory)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        log.warning("%s is damaged and is made again", directory.ids)
        directory.ids.unlink(missing_ok=True)
        return _connected(directory)


def _connected(directory: RecordingDirectory) -> Ids:
    # Only its owner may read it: sqlite would make it readable for others.
    os.close(os.open(directory.ids, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    database = sqlite3.connect(directory.ids)
    try:
        database.executescript(f"PRAGMA secure_delete = ON; PRAGMA synchronous = OFF; {_TABLES}")
        return Ids(database, directory)
    except BaseException:
        database.close()
        raise
