"""Reads files in protobuf's text format: the settings of Triton and of TensorFlow Serving."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from app.contract.files.regular import read_file, shown
from app.errors import VersionRefused

# Protobuf looks in each string for a run of backslashes before an x, from every backslash: the time grows with the
# square of the run, and no other thread runs in that time.
_MOST_BACKSLASHES = 16
MessageT = TypeVar("MessageT", bound=Message)


def read_text_proto(path: Path, empty: MessageT, limit_bytes: int) -> MessageT:
    """The message that a file holds.

    Args:
        path: of the file.
        empty: a message of its type, which is filled.
        limit_bytes: a larger file is not read.

    Raises:
        FileNotFoundError: the file does not exist.
        VersionRefused: it cannot be read, is too large, is not such a message, or has a number where one of several
            names is expected; names the mistake and its line.
    """
    try:
        data = read_file(path, limit_bytes)
        if b"\\" * (_MOST_BACKSLASHES + 1) in data:
            raise VersionRefused(f"{path}: it has more than {_MOST_BACKSLASHES} backslashes in a row")
        text_format.Parse(data.decode("utf-8"), empty)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise VersionRefused(f"{path}: {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise VersionRefused(f"{path}: {shown(str(error))}") from None
    for reason in _numbers_without_a_name(empty, ""):
        raise VersionRefused(f"{path}: {reason}")
    return empty


def _numbers_without_a_name(message: Message, where: str) -> Iterator[str]:
    """Values of enums that the format accepts as numbers, although the enum does not have them."""
    for field, value in message.ListFields():
        kind, name = field.message_type, f"{where}{field.name}"
        if kind is not None and kind.GetOptions().map_entry:
            if kind.fields_by_name["value"].message_type is not None:
                for each in value.values():
                    yield from _numbers_without_a_name(each, f"{name}.")
        elif kind is not None:
            for each in value if field.is_repeated else [value]:
                yield from _numbers_without_a_name(each, f"{name}.")
        elif field.type == FieldDescriptor.TYPE_ENUM:
            known = field.enum_type.values_by_number
            for number in value if field.is_repeated else [value]:
                if number not in known:
                    names = ", ".join(each.name for each in known.values())
                    yield f"{name} is {number}; one of {names} is expected"
