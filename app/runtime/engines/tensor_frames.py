"""Frames between a backend and its process: a small JSON header and the raw bytes of arrays, over a stream socket.

A frame is a prefix (uint32 bytes of the header, uint64 bytes of the body, little-endian), the header, and the body: the
concatenated arrays in C order, each padded to a multiple of 64 bytes, so that all of them are aligned. An array of
strings is two arrays: the lengths, and the strings one after the other. Both ends run on one machine with the same
release, so byte order and versions need no negotiation.
"""

import socket
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from app.contract.strings import packed, unpacked
from app.types import Array, Tensors

_PREFIX = struct.Struct("<IQ")
_ALIGNMENT = 64
_NO_TENSORS: Tensors = {}


def send_frame(channel: socket.socket, header: Mapping[str, Any], tensors: Tensors = _NO_TENSORS) -> None:
    """Write one frame.

    Args:
        channel: blocking stream socket; a timeout applies to each piece.
        header: JSON values; the key "tensors" is reserved for the frame.
        tensors: name -> array of any shape, of numbers or of ``bytes`` objects.

    Raises:
        OSError: the other end is gone, or the socket's timeout passed.
    """
    named = []
    body: list[memoryview] = []
    for name, values in tensors.items():
        parts = [values]
        if values.dtype.kind == "O":
            lengths, content = packed(values)
            parts = [lengths, np.frombuffer(content, np.uint8)]
        named.append({"name": name, "parts": [(part.dtype.str, part.shape) for part in parts]})
        for part in parts:
            body.append(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
            body.append(memoryview(bytes(-part.nbytes % _ALIGNMENT)))
    document = orjson.dumps({**header, "tensors": named})
    prefix = _PREFIX.pack(len(document), sum(map(len, body)))
    _send_all(channel, [memoryview(prefix + document), *body])


class FrameTooLarge(Exception):
    """The other end announces more bytes than are accepted; the rest of the stream cannot be read."""


def receive_frame(channel: socket.socket, *, limit_bytes: int | None = None) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read one frame.

    Args:
        channel: blocking stream socket.
        limit_bytes: most bytes of its header and of its body; None: no limit.

    Returns:
        The header, and name -> array, C-contiguous and writable; arrays of numbers share one block of memory.

    Raises:
        EOFError: the other end closed the socket.
        OSError: the connection failed, or the socket's timeout passed.
        FrameTooLarge: see ``limit_bytes``.
    """
    header_bytes, body_bytes = _PREFIX.unpack(_receive_exactly(channel, _PREFIX.size).data)
    if limit_bytes is not None and max(header_bytes, body_bytes) > limit_bytes:
        raise FrameTooLarge(f"{max(header_bytes, body_bytes)} bytes; at most {limit_bytes} are accepted")
    header = orjson.loads(_receive_exactly(channel, header_bytes).data)
    body = _receive_exactly(channel, body_bytes)
    tensors: dict[str, Array] = {}
    start = 0
    for tensor in header.pop("tensors"):
        parts = []
        for dtype, shape in tensor["parts"]:
            part: Array = np.ndarray(shape, dtype, buffer=body, offset=start)
            start += part.nbytes + -part.nbytes % _ALIGNMENT
            parts.append(part)
        tensors[tensor["name"]] = parts[0] if len(parts) == 1 else unpacked(parts[0], parts[1].data)
    return header, tensors


def _send_all(channel: socket.socket, pending: list[memoryview]) -> None:
    """Write all the pieces with as few system calls as the socket's buffer allows."""
    while pending:
        sent = channel.sendmsg(pending)
        while pending and sent >= len(pending[0]):
            sent -= len(pending.pop(0))
        if sent:
            pending[0] = pending[0][sent:]


def _receive_exactly(channel: socket.socket, count: int) -> Array:
    buffer = np.empty(count, np.uint8)
    view = buffer.data
    while view:
        received = channel.recv_into(view)
        if received == 0:
            raise EOFError("the other end closed the socket")
        view = view[received:]
    return buffer
