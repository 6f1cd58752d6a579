"""Strings in ``tensor_content`` of a TensorProto."""

from app.edge.grpc.wire_size import varint
from app.errors import InvalidInput


def split_content(data: bytes, count: int, name: str) -> list[bytes]:
    """Strings from ``tensor_content``: all lengths as varints, then all strings."""
    lengths, at = [], 0
    try:
        for _ in range(count):
            length, at = varint(data, at)
            lengths.append(length)
    except ValueError:
        raise InvalidInput(f"tensor_content of input {name!r} ends in the lengths of its {count} strings") from None
    if at + sum(lengths) != len(data):
        raise InvalidInput(
            f"tensor_content of input {name!r} announces {sum(lengths)} bytes of strings, {len(data) - at} follow"
        )
    elements = []
    for length in lengths:
        elements.append(data[at : at + length])
        at += length
    return elements
