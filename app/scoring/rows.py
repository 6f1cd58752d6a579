"""One instance to score: lines of texts and rows of arrays; and the inputs that a model accepts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from app.contract.files.npz import NUMBERS, STRINGS, BadArchive, read_npz
from app.contract.files.regular import read_file, shown
from app.errors import InvalidInput, ServingError
from app.types import Array

IMAGE_LIMIT_BYTES = 64 * 2**20
ARCHIVE_LIMIT_BYTES = 512 * 2**20
INFLATED_LIMIT_BYTES = 2 * 2**30
LINE_LIMIT_BYTES = 4 * 2**20

Media = Literal["image", "text", "string"]
# The bytes of an image or a string, a text, or values by input name.
Value = bytes | str | Mapping[str, Any]


class CannotScore(ServingError):
    """Nothing can be scored with these inputs and options."""


@dataclass(frozen=True, kw_only=True)
class Takes:
    """The inputs that a model accepts.

    Attributes:
        shapes: input name -> shape of one instance; -1 varies.
        strings: inputs whose elements are strings.
        gaps: inputs that accept NaN, by which a number is missing.
        media: what an instance may be besides tensors; None: tensors alone.
    """

    shapes: Mapping[str, tuple[int, ...]]
    strings: frozenset[str]
    gaps: frozenset[str]
    media: Media | None


@dataclass(frozen=True, slots=True)
class Row:
    """One instance.

    Attributes:
        id: path of an image, or PATH:NUMBER with the number of the line or row, from 1.
        load: reads it; raises InvalidInput or OSError.
    """

    id: str
    load: Callable[[], Value]


def lines(path: Path, takes: Takes) -> Iterator[Row]:
    """One instance a line."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_LIMIT_BYTES + 1):
            number += 1
            too_long = len(line) > LINE_LIMIT_BYTES
            while too_long and line and not line.endswith(b"\n"):  # the rest of it
                line = file.readline(LINE_LIMIT_BYTES)
            yield Row(f"{path}:{number}", partial(_line, b"" if too_long else line.rstrip(b"\r\n"), takes, too_long))


def _line(line: bytes, takes: Takes, too_long: bool) -> Value:
    if too_long:
        raise InvalidInput(f"the line has more than {LINE_LIMIT_BYTES} bytes")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the line is not UTF-8: {error}") from error
    return text_value(text, takes)


def text_value(text: str, takes: Takes) -> Value:
    """A text for a model of texts; for others a path of an image, or a JSON value of the only input."""
    if takes.media in {"text", "string"}:
        return text
    if takes.media == "image":
        return read_file(Path(text), IMAGE_LIMIT_BYTES)
    if len(takes.shapes) != 1:
        raise InvalidInput(f"the model has several inputs, {sorted(takes.shapes)}; one line cannot hold them")
    [(name, shape)] = takes.shapes.items()
    return {name: nested(json_value(text), shape)}


def nested(value: Any, shape: Sequence[int]) -> Any:
    """A single value in lists of one element, one for each dimension of an input; anything else as it is."""
    if isinstance(value, list) or not {*shape} <= {1, -1}:
        return value
    for _ in shape:
        value = [value]
    return value


def json_value(text: str) -> Any:
    """A number or a list from its JSON text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{text[:60]!r} is not a number or a JSON list") from error


def arrays(path: Path, takes: Takes) -> Iterator[Row]:
    """One instance for each row of the arrays named like the inputs.

    Raises:
        CannotScore: the archive is damaged, an array is missing, or the arrays have different numbers of rows.
    """
    try:
        found = read_npz(
            read_file(path, ARCHIVE_LIMIT_BYTES), limit_bytes=INFLATED_LIMIT_BYTES, kinds=NUMBERS + STRINGS
        )
    except BadArchive as error:
        raise CannotScore(f"{shown(path)}: {error}") from error
    if missing := takes.shapes.keys() - found.keys():
        raise CannotScore(f"{shown(path)} has no array {min(missing)!r}; it has {sorted(found)}")
    used = {name: found[name] for name in takes.shapes}
    counts = {name: len(values) if values.ndim else 0 for name, values in used.items()}
    if len(set(counts.values())) != 1:
        raise CannotScore(f"{shown(path)}: the arrays have different numbers of rows: {counts}")
    for number in range(next(iter(counts.values()))):
        yield Row(f"{path}:{number + 1}", partial(_array_row, used, number))


def _array_row(arrays: Mapping[str, Array], number: int) -> Value:
    return {
        name: np.asarray(values[number]).tolist() if values.dtype.kind in STRINGS else values[number]
        for name, values in arrays.items()
    }
