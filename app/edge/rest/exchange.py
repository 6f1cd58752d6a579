"""What a wire format makes of a body, and the head that came with it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from app.batching.work import DEFAULT_OPTIONS, Answer, RequestOptions
from app.edge.codec.encoded import Encoded
from app.edge.respond import Header, Reply
from app.errors import InvalidInput
from app.types import Array

_NUMBER = re.compile(rb"-?[0-9]{1,40}")


@dataclass(slots=True)  # not frozen: that would triple the cost of making one, and every request makes one
class Exchange:
    """A request as tensors, and how its answer is to be printed.

    Attributes:
        inputs: input name -> (rows, *shape), or images or texts that are still to be decoded.
        reply: prints the outputs in the form that the request asked for.
        options: priority and timeout, where the protocol has them.
    """

    inputs: dict[str, Array | Encoded]
    reply: Callable[[Answer], Reply]
    options: RequestOptions = DEFAULT_OPTIONS


@dataclass(slots=True)
class Heads:
    """The request headers that inference reads.

    Attributes:
        content_type, content_encoding, accept_encoding: as sent, in lower case where case means nothing.
        content_length: bytes of the body; None if the head does not say.
        json_length: bytes of the JSON in front of binary tensors; None if there are none.
    """

    content_type: str = ""
    content_encoding: str = ""
    accept_encoding: str = ""
    content_length: int | None = None
    json_length: int | None = None


def read_heads(headers: Iterable[Header]) -> Heads:
    """The headers of a request, names in lower case.

    Raises:
        InvalidInput: Content-Length or Inference-Header-Content-Length is no whole number.
    """
    content_type = content_encoding = accept_encoding = ""
    content_length = json_length = None
    for name, value in headers:
        if name == b"content-type":
            content_type = value.decode("latin-1")
        elif name == b"content-length":
            content_length = _whole_number(value, "Content-Length")
        elif name == b"content-encoding":
            content_encoding = value.decode("latin-1").strip().lower()
        elif name == b"accept-encoding":
            accept_encoding = value.decode("latin-1").lower()
        elif name == b"inference-header-content-length":
            json_length = _whole_number(value, "Inference-Header-Content-Length")
    return Heads(content_type, content_encoding, accept_encoding, content_length, json_length)


def _whole_number(value: bytes, name: str) -> int:
    """A number of bytes as a header writes it: Python's ``int`` would also read ``1_000`` and ``+1``."""
    if not _NUMBER.fullmatch(value):
        raise InvalidInput(f"Unable to parse {name}, got: {value.decode('latin-1')}")
    return int(value)
