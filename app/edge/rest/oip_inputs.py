"""Rules of the Open Inference Protocol for inputs and request parameters, the same over REST and gRPC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NoReturn

from app.batching.work import DEFAULT_OPTIONS, RequestOptions
from app.contract.strings import string_array
from app.contract.tensor_spec import TensorSpec
from app.edge.codec.datatypes import BYTES, NUMPY, WIDENS
from app.edge.codec.encoded import Encoded
from app.edge.codec.strings import as_bytes
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel
from app.types import Array

RESERVED_PREFIX = "triton_"
# Requests a separate message that marks the last reply where a request has several; elsewhere without effect.
EMPTY_FINAL = "triton_enable_empty_final_response"
LARGEST_UINT64 = 2**64 - 1
# Largest product of a tensor's shape without sizes of 0: numpy multiplies the others even if nothing is stored. No
# message can announce that many elements, and the signature bounds a row.
MAX_ELEMENTS = 2**40
MAX_DIMENSIONS = 64


@dataclass(frozen=True, slots=True)
class Declared:
    """An input as the request declares it.

    Attributes:
        name, datatype: as sent; the datatype is a known one.
        shape: with the batch, sizes from 0.
    """

    name: str
    datatype: str
    shape: list[int]


def declare(name: object, datatype: object, shape: object, place: str) -> Declared:
    """Check the declaration of one input against the protocol.

    Args:
        name, datatype, shape: as decoded; None if the request lacks one.
        place: position of the input in the request, for errors about an input without a name.

    Raises:
        InvalidInput: one of them is missing, or not valid in the protocol.
    """
    if not isinstance(name, str):
        raise InvalidInput(f"{place} has no 'name'; send a string")
    if not isinstance(datatype, str):
        raise InvalidInput(f"input {quoted(name)} has no 'datatype'; send one of {', '.join([*NUMPY, BYTES])}")
    if datatype != BYTES and datatype not in NUMPY:
        raise InvalidInput(
            f"input {quoted(name)} has the unknown datatype {quoted(datatype)}; use {', '.join([*NUMPY, BYTES])}"
        )
    if not isinstance(shape, list) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape
    ):
        raise InvalidInput(f"input {quoted(name)} has shape {quoted(shape)}; send a list of whole numbers from 0")
    if len(shape) > MAX_DIMENSIONS:
        raise InvalidInput(
            f"input {quoted(name)} has a shape of {len(shape)} dimensions; at most {MAX_DIMENSIONS} are accepted"
        )
    if prod(filter(None, shape)) > MAX_ELEMENTS:
        raise InvalidInput(f"input {quoted(name)} has shape {shape}; at most {MAX_ELEMENTS} elements are accepted")
    return Declared(name, datatype, shape)


def expected_input(declared: Declared, model: LoadedModel) -> TensorSpec:
    """The signature's input of that name.

    Raises:
        InvalidInput: the name is unknown, or its datatype or shape disagree with the request. BYTES (texts or encoded
            images) are allowed for the input that these feed.
    """
    spec = next((tensor for tensor in model.spec.inputs if tensor.name == declared.name), None)
    if spec is None:
        known = ", ".join(repr(tensor.name) for tensor in model.spec.inputs)
        raise InvalidInput(
            f"unexpected inference input {quoted(declared.name)} for model {model.name!r}; it has {known}"
        )
    if takes_media(spec, declared.datatype, model):
        if len(declared.shape) not in {1, 2} or declared.shape[1:] not in ([], [1]):
            raise _unexpected_shape(declared, "[-1] or [-1,1]", model)
        return spec
    expected = spec.oip_datatype
    if not accepts(spec, declared.datatype):
        raise InvalidInput(
            f"inference input {spec.name!r} data-type is {quoted(declared.datatype)}, but model {model.name!r} "
            f"expects {expected!r}"
        )
    shape = declared.shape
    if len(shape) != len(spec.batch_shape) or any(
        want not in {-1, have} for have, want in zip(shape, spec.batch_shape, strict=True)
    ):
        raise _unexpected_shape(declared, _listed(spec.batch_shape), model)
    return spec


def check_size(declared: Declared, size: int, name: str) -> None:
    """Refuse a number of bytes that does not match the declaration.

    Args:
        declared: the input.
        size: as the request states it.
        name: of that parameter.

    Raises:
        InvalidInput: states both numbers.
    """
    if declared.datatype != BYTES:
        expected = NUMPY[declared.datatype].itemsize * prod(declared.shape)
        if size != expected:
            raise InvalidInput(
                f"'{name}' of input {quoted(declared.name)} is {size}; {declared.datatype} of shape {declared.shape} "
                f"has {expected} bytes"
            )


def takes_media(spec: TensorSpec, datatype: str, model: LoadedModel) -> bool:
    """Whether the elements of an input are texts or encoded images, for the model's own steps."""
    media = model.spec.preprocessing
    return datatype == BYTES and media is not None and media.input == spec.name


def accepts(spec: TensorSpec, datatype: str) -> bool:
    """Whether an input takes a datatype: its own, or one whose values it represents exactly."""
    return datatype == spec.oip_datatype or datatype in WIDENS[spec.dtype]


def bytes_input(elements: Sequence[bytes | str], declared: Declared, model: LoadedModel) -> Array | Encoded:
    """A BYTES tensor: strings; or texts or encoded images, not decoded yet, as instances of the input that they feed.

    Args:
        elements: in row-major order.
        declared: accepted by ``expected_input``.
        model: the model that receives them.

    Raises:
        InvalidInput: the number of elements does not match the shape, or is 0; a text is not Unicode.
    """
    count = prod(declared.shape)
    if len(elements) != count:
        raise InvalidInput(
            f"input {quoted(declared.name)} has {len(elements)} element{'' if len(elements) == 1 else 's'}; its shape "
            f"{_listed(declared.shape)} requires {count}"
        )
    if model.spec.input(declared.name).is_string:
        return string_array(as_bytes(elements, f"input {quoted(declared.name)}"), declared.shape)
    if not elements:
        raise InvalidInput(f"input {quoted(declared.name)} holds no instance; send at least one")
    return Encoded(list(elements), place=lambda index: f"input {quoted(declared.name)}, element {index}")


def refuse_count(given: int, model: LoadedModel) -> NoReturn:
    """The error for a number of inputs that does not match the signature."""
    names = ", ".join(f"{tensor.name!r}{' (optional)' if tensor.optional else ''}" for tensor in model.spec.inputs)
    fewest, most = len(model.spec.required), len(model.spec.inputs)
    expected = str(most) if fewest == most else f"{fewest} to {most}"
    raise InvalidInput(f"expected {expected} inputs but got {given} inputs for model {model.name!r}; it has {names}")


def read_options(parameters: Mapping[str, Any]) -> RequestOptions:
    """Priority and timeout from the request's parameters; other parameters without a meaning here are ignored.

    Args:
        parameters: ``priority`` (0: the model's default, 1: highest) and ``timeout`` in microseconds (0: the
            model's default).

    Raises:
        InvalidInput: not a whole number from 0 to 2^64 - 1, or a reserved name.
    """
    if not parameters:
        return DEFAULT_OPTIONS
    for name in parameters:
        if name.startswith(RESERVED_PREFIX) and name != EMPTY_FINAL:
            raise InvalidInput(f"parameter {quoted(name)} is reserved: names must not begin with {RESERVED_PREFIX!r}")
    priority = _unsigned(
        parameters, "priority", "a level from 1 (highest) to priority_levels of the model, or 0 for the model's default"
    )
    timeout_us = _unsigned(parameters, "timeout", "whole microseconds, or 0 for the model's default")
    if not priority and not timeout_us:
        return DEFAULT_OPTIONS
    return RequestOptions(priority=priority, timeout_s=timeout_us / 1e6 if timeout_us else None)


def _unsigned(parameters: Mapping[str, Any], name: str, meaning: str) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_UINT64:
        raise InvalidInput(f"parameter {quoted(name)} is {quoted(value)}; send {meaning}")
    return value


def _unexpected_shape(declared: Declared, expected: str, model: LoadedModel) -> InvalidInput:
    return InvalidInput(
        f"unexpected shape for input {quoted(declared.name)} for model {model.name!r}. "
        f"Expected {expected}, got {_listed(declared.shape)}"
    )


def _listed(shape: tuple[int, ...] | list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
