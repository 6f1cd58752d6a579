"""Finds a recorded request by its id, adds the right answer to it, and deletes it. All of this blocks."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.contract.recordings.directory import RecordingDirectory
from app.contract.recordings.instance import DELETED, Feedback, print_line, read_line
from app.errors import AlreadyKnown, InvalidInput, RequestNotFound, quoted
from app.recording.files import append_whole, opened_to_append
from app.recording.ids import Ids, Place, opened

# The index is brought up to date in steps; in between, the thread that records gets the lock.
_PAUSE_S = 0.02


def find(directory: RecordingDirectory, request_id: str, instance: int | None) -> Place:
    """A recorded instance.

    Args:
        directory: of the model.
        request_id: as its reply had it.
        instance: its index in the request; None: the request has only one.

    Raises:
        RequestNotFound: no such request is recorded.
        InvalidInput: the request has no such instance, or has several and ``instance`` is None.
        OSError: the files cannot be read.
    """
    with _up_to_date(directory) as ids:
        places = [] if ids is None else ids.find(request_id)
    if places:
        return _one_of(places, request_id, instance)
    raise RequestNotFound(
        f"request {quoted(request_id)} is not recorded: it was not in the sample, is deleted, or never existed"
    )


def add(directory: RecordingDirectory, request_id: str, instance: int, feedback: Feedback) -> None:
    """Keep the right answer to an instance, which ``find`` has found.

    Raises:
        RequestNotFound: the request was deleted meanwhile.
        AlreadyKnown: it has an answer.
        OSError: it cannot be written; nothing is.
    """
    with _up_to_date(directory) as ids:
        place = next((each for each in (ids.find(request_id) if ids else ()) if each.instance == instance), None)
        if place is None:
            raise RequestNotFound(f"request {quoted(request_id)} is not recorded any more")
        if place.feedback is not None:
            raise AlreadyKnown(
                f"the right answer to instance {instance} of request {quoted(request_id)} is known: {place.feedback}; "
                "it is not replaced"
            )
        line = print_line({"offset": place.offset, "request_id": request_id, "instance": instance, **feedback.document})
        with opened_to_append(directory.segment(place.number).feedback) as descriptor:
            append_whole(descriptor, line, os.fstat(descriptor).st_size)


def delete(directory: RecordingDirectory, request_id: str) -> int:
    """Delete the instances of all requests with an id, and the right answers to them, from the disk.

    Their lines are overwritten in place, so that no other line moves.

    Returns:
        How many instances were deleted.

    Raises:
        OSError: the files cannot be read or written.
    """
    with _up_to_date(directory) as ids:
        places = [] if ids is None else ids.all_of(request_id)
        if ids is None or not places:
            return 0
        for number in dict.fromkeys(place.number for place in places):
            segment = directory.segment(number)
            descriptor = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                for place in places:
                    if place.number == number:
                        _overwrite(descriptor, place.offset, place.length)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if segment.feedback.exists():
                _delete_feedback(segment.feedback, request_id)
        ids.forget(request_id)
    return len(places)


def _one_of(places: list[Place], request_id: str, instance: int | None) -> Place:
    count = places[0].instances
    if instance is None and count > 1:
        raise InvalidInput(
            f"request {quoted(request_id)} has {count} instances; say which one with 'instance', 0 to {count - 1}"
        )
    wanted = 0 if instance is None else instance
    if wanted >= count:
        raise InvalidInput(
            f"'instance' is {wanted}; request {quoted(request_id)} has {count}, numbered from 0 to {count - 1}"
        )
    place = next((each for each in places if each.instance == wanted), None)
    if place is None:  # it is longer than a file may be
        raise RequestNotFound(f"instance {wanted} of request {quoted(request_id)} is not recorded")
    return place


@contextmanager
def _up_to_date(directory: RecordingDirectory) -> Iterator[Ids | None]:
    """The index, with the lock of the directory; None if nothing is recorded."""
    while True:
        if not directory.path.exists():
            yield None
            return
        with directory.locked(), opened(directory) as ids:
            if ids.is_complete:
                yield ids
                return
        time.sleep(_PAUSE_S)


def _delete_feedback(path: os.PathLike[str], request_id: str) -> None:
    offset = 0
    with open(path, "r+b") as file:
        for line in file.readlines():
            document = read_line(line)
            if document is not None and document.get("request_id") == request_id:
                _overwrite(file.fileno(), offset, len(line))
            offset += len(line)
        os.fsync(file.fileno())


def _overwrite(descriptor: int, offset: int, length: int) -> None:
    """Put a line without content in the place of one."""
    data = DELETED.ljust(length - 1) + b"\n"
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
