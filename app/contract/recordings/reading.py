"""Reads recorded instances, with the right answers that clients sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.contract.recordings.directory import RecordingDirectory, Segment
from app.contract.recordings.instance import Feedback, RecordedInstance, parse_instance, read_line

_MISTAKES = (KeyError, TypeError, ValueError, AttributeError)


def read_recordings(source: Path) -> Iterator[RecordedInstance]:
    """The recorded instances of one model, the oldest first.

    What is deleted or rotated away while this runs is left out, and so is a line that is torn because its writer was
    killed: at most one for each time.

    Args:
        source: the directory of a model below the state directory of a service, or a file that
            ``python -m app recordings NAME --export`` wrote.

    Raises:
        FileNotFoundError: it does not exist.
        OSError: it cannot be read.
    """
    documents: Iterator[dict[str, Any]]
    if source.is_file():
        documents = (document for document, _ in _documents(source))
    elif source.is_dir():
        documents = read_documents(RecordingDirectory(source))
    else:
        raise FileNotFoundError(f"{source} is neither a directory of recordings nor an exported file")
    for document in documents:
        try:
            yield parse_instance(document)
        except _MISTAKES:
            continue


def read_documents(directory: RecordingDirectory) -> Iterator[dict[str, Any]]:
    """The lines of all files as JSON, each with its ``feedback`` if a client sent one; see ``read_recordings``."""
    for segment in directory.segments():
        try:
            feedback = _feedback(segment)
            for document, offset in _documents(segment.path):
                if (given := feedback.get(offset)) is not None:
                    document["feedback"] = given.document
                yield document
        except FileNotFoundError:  # it was rotated away or deleted in this moment
            continue


def _documents(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line that is not torn or deleted, and its place in the file in bytes."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if (document := read_line(line)) is not None:
                yield document, offset
            offset += len(line)


def _feedback(segment: Segment) -> dict[int, Feedback]:
    """Place of a line -> the right answer to it; the first one if there are several."""
    found: dict[int, Feedback] = {}
    if segment.feedback.exists():
        for document, _ in _documents(segment.feedback):
            try:
                found.setdefault(int(document["offset"]), Feedback.of(document))
            except _MISTAKES:
                continue
    return found
