"""The part of a shared memory region that a request names for a tensor, and its parameters.

Source: Triton, shared memory extension.
"""

from typing import Any, NamedTuple

from app.errors import InvalidInput, quoted


class Part(NamedTuple):
    """The location of a tensor of a request.

    Attributes:
        region: name of a registered region.
        byte_size: bytes of the tensor, or most bytes for it.
        offset: bytes from the start of the region.
    """

    region: str
    byte_size: int
    offset: int


def read_part(parameters: dict[str, Any], place: str) -> Part | None:
    """The part that the parameters of a tensor name; None if they do not name one.

    Raises:
        InvalidInput: one of them is missing, or not a whole number.
    """
    region = parameters.get("shared_memory_region")
    if region is None:
        return None
    if not isinstance(region, str):
        raise InvalidInput(f"'shared_memory_region' of {place} is {quoted(region)}; send the name of a region")
    if "shared_memory_byte_size" not in parameters:
        raise InvalidInput(f"{place} names a shared memory region and has no 'shared_memory_byte_size'")
    size = whole_number(parameters["shared_memory_byte_size"], "shared_memory_byte_size")
    return Part(region, size, whole_number(parameters.get("shared_memory_offset", 0), "shared_memory_offset"))


def whole_number(value: object, name: str) -> int:
    """A size or an offset; InvalidInput if it is something else."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise InvalidInput(f"'{name}' is {quoted(value)}; send a whole number of bytes")
    return value
