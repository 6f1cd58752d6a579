"""JSON text from outside to Python objects, under rules that every document must obey.

The stdlib's parser accepts more than valid JSON: duplicate keys, halves of surrogate pairs, numbers beyond a float.
Each would change its meaning on the way or cause an error later, so each is refused here.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from app.errors import InvalidInput, TooLarge

# Nesting depth. A numpy tensor has at most 64 dimensions, and our recursive functions must stay below the
# interpreter's recursion limit.
MAX_DEPTH = 64
# Keys of one object. simdjson searches each key from the first one on, so the total cost is quadratic.
MAX_KEYS = 1_024

# Arrays and objects of one document: each becomes a Python object, and a body of 16 MiB can contain millions.
MOST_ARRAYS = 2**20
MOST_OBJECTS = 2**17
# Values of a document whose numbers do not form one array: all of them become Python objects, too.
MOST_VALUES = 2**21

# It matches from every quote without backtracking: the cost is linear even if a string does not end.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = np.array([(byte in b"[{") - (byte in b"]}") for byte in range(256)], np.int8)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(body: bytes, *, strict: bool) -> Any:
    """The value of a body as ordinary Python objects; NaN and Infinity are accepted.

    Args:
        body: UTF-8.
        strict: refuse anything but white space after the value; otherwise it is ignored, as in TensorFlow Serving.

    Raises:
        InvalidInput: not JSON (with the offset), not UTF-8, nested too deep, an object that ``check_keys`` refuses, a
            number that does not fit a float64, or a string with half of a surrogate pair.
    """
    if strict and (quick := _read_quickly(body)) is not None:
        return quick
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"JSON Parse error: body is not UTF-8 at offset: {error.start}") from error
    if depth_of(body) > MAX_DEPTH:
        raise too_deep()
    try:
        value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip()))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except ValueError as error:
        raise InvalidInput("JSON Parse error: an integer has too many digits") from error
    if strict and text[end:].strip():
        raise InvalidInput(f"JSON Parse error: unexpected content after the document at offset: {end}")
    if _SURROGATE.search(body):
        _check_surrogates(value)
    return value


def _read_quickly(body: bytes) -> Any:
    """The value of a document that orjson reads by the same rules; None if it is null or may break a rule.

    orjson silently drops duplicate keys. Every member has a colon, so with fewer members than colons some may have been
    dropped. A colon in a string also counts; the slow path then reads the document.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH or b"\\u0000" in body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if _member_count(value) == body.count(b":") <= MAX_KEYS else None


def _member_count(value: Any) -> int:
    """Number of members of all objects in a value."""
    count, left = 0, [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            count += len(item)
            left += item.values()
        elif isinstance(item, list):
            left += item
    return count


def check_keys(keys: Sequence[str]) -> None:
    """Refuse an object with ambiguous or too many keys.

    Raises:
        InvalidInput: two keys are equal, so that one member would be lost; a key contains NUL, which a parser may take
            for its end; or there are more than ``MAX_KEYS``.
    """
    if len(keys) > MAX_KEYS:
        raise InvalidInput(f"JSON Parse error: an object has {len(keys)} keys; at most {MAX_KEYS} are read")
    if len(set(keys)) < len(keys):
        [(twice, _)] = Counter(keys).most_common(1)
        raise InvalidInput(f"JSON Parse error: an object has the key {twice!r} twice; send each key once")
    if "\0" in "".join(keys):
        raise InvalidInput("JSON Parse error: a key holds the character \\u0000; leave it out")


def check_counts(body: bytes) -> None:
    """Refuse a document with too many arrays or objects before they are created.

    Raises:
        TooLarge: states their number. Brackets in strings do not count.
    """
    for what, bracket, most in (("arrays", b"[", MOST_ARRAYS), ("objects", b"{", MOST_OBJECTS)):
        if (found := _count(body, bracket, most)) > most:
            raise TooLarge(
                f"the JSON document holds {found} {what}; at most {most} are read; send numbers as raw bytes"
            )


def check_values(body: bytes, name: str) -> None:
    """Refuse to examine the values of a large document one by one.

    Raises:
        TooLarge: there are too many of them.
    """
    if _count(body, b",", MOST_VALUES) > MOST_VALUES:
        raise TooLarge(
            f"{name} is not an array of numbers in rows of one length, and of such a document at most {MOST_VALUES} "
            "values are looked at to say why"
        )


def _count(body: bytes, mark: bytes, most: int) -> int:
    """Number of occurrences of a mark outside of strings if that exceeds ``most``; otherwise any number up to it."""
    found = body.count(mark) if len(body) > most else 0
    if found <= most:
        return found
    characters = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    outside = np.bitwise_xor.accumulate(characters == ord('"')) == 0  # after an even number of quotes
    return int(np.count_nonzero(outside & (characters == ord(mark))))


def depth_of(body: bytes) -> int:
    """The largest nesting depth of arrays and objects; any number for text that is not JSON.

    Counted in the text, because a recursive parser overflows before it can report the depth.
    """
    brackets = _STRINGS.sub(b"", body).translate(None, _NO_BRACKETS)
    if len(brackets) <= MAX_DEPTH:
        return len(brackets)  # an upper bound; sufficient for most documents
    return int(np.cumsum(_STEPS[np.frombuffer(brackets, np.uint8)], dtype=np.int32).max())


def too_deep() -> InvalidInput:
    """The error for a document whose arrays or objects are nested too deep."""
    return InvalidInput(f"JSON Parse error: arrays or objects are nested too deep; at most {MAX_DEPTH} levels are read")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        shown = text if len(text) <= 20 else f"{text[:20]}..."
        raise InvalidInput(
            f"JSON Parse error: the number {shown} is too big for 64 bits; write Infinity for an infinite value"
        )
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_keys([key for key, _ in pairs])
    return dict(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_finite)


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        lone = f"\\u{ord(error.object[error.start]):04x}"
        raise InvalidInput(
            f"JSON Parse error: a string holds {lone} alone, which is half of a character; send both halves"
        ) from error
