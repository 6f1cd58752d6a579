"""Rows of named values in TensorFlow Serving's formats: the same rules for JSON and for Examples.

Source: TensorFlow Serving, RESTful API (row format; ``context`` of classify and regress), and input.proto.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from app.edge.codec.encoded import Encoded
from app.edge.codec.hints import how_to_name
from app.edge.codec.json_values import JsonValue, kind_of_value, plain, slow_tensor
from app.edge.codec.strings import is_b64, read_element, read_strings
from app.errors import InvalidInput, TooLarge, quoted
from app.loaded import LoadedModel
from app.types import Array

_NOTHING: Mapping[str, Any] = {}
# A value that all rows share becomes at most so many bytes: as many as a request may have.
MOST_REPEATED_BYTES = 16 * 2**20
# Numbers that are read again for each row that lacks them, if other rows have their own.
MOST_COPIED = 65_536


def columns(
    rows: Sequence[Mapping[str, Any]],
    name: str,
    model: LoadedModel,
    shared: Mapping[str, Any],
    *,
    size_of: Callable[[Any], int],
) -> dict[str, tuple[str, list[Any]]]:
    """The values of each input, and the key that the rows have for it.

    Args:
        rows: at least one; each has a value for every required input that ``shared`` lacks.
        name: of the rows in the request, for errors.
        model: the model that receives them.
        shared: used for what a row does not have. It is not copied into the rows: its size times theirs has no limit.
        size_of: how many numbers or strings a value has.

    Raises:
        InvalidInput: a key is unknown, missing, or not in all rows; or an input is given under both of its names.
        TooLarge: the queue can never hold so many rows, or a shared value would be read for too many of them.
    """
    if len(rows) > (most := model.batching.max_queue_rows):
        raise TooLarge(f"{name} holds {len(rows)} instances; at most max_queue_rows={most} fit the queue")
    known = {tensor.name for tensor in model.spec.inputs}
    first = shared.keys() | rows[0].keys()
    named = {key: input_name(key, model) for key in (*rows[0], *(key for key in shared if key not in rows[0]))}
    for key, tensor_name in named.items():
        if tensor_name not in known:
            raise InvalidInput(f"{name}[0] has the unknown key {quoted(key)}; {how_to_name(model)}")
    if missing := model.spec.required_names - set(named.values()):
        raise InvalidInput(f"{name}[0] has no key {quoted(min(missing))}; {how_to_name(model)}")
    for index, row in enumerate(rows):
        if row.keys() != rows[0].keys() and row.keys() | shared.keys() != first:
            has = sorted(row.keys() | shared.keys())
            raise InvalidInput(
                f"{name}[{index}] has the keys {quoted(has)}, {name}[0] has {sorted(first)}; all must have the same"
            )
    if len(set(named.values())) < len(named):
        raise InvalidInput(f"{name}[0] names the same input twice: {sorted(first)}; send one of them")
    used = {key: shared[key] for key in named if key in shared}
    for key, value in used.items():
        lacking = sum(key not in row for row in rows)
        if lacking < len(rows) and lacking * size_of(value) > MOST_COPIED:
            raise TooLarge(
                f"{lacking} of {len(rows)} rows of {name} have no {quoted(key)} of their own, and the shared one has "
                f"{size_of(value)} values; state it in all of them, or in none"
            )
    return {target: (key, [row[key] if key in row else used[key] for row in rows]) for key, target in named.items()}


def input_name(key: str, model: LoadedModel) -> str:
    """The input that a key names: ``text`` and ``image`` name the one that texts and images feed."""
    step = model.spec.preprocessing
    return step.input if step is not None and key == step.kind else key


def named_rows(
    rows: list[dict[str, JsonValue]], name: str, model: LoadedModel, shared: Mapping[str, JsonValue] = _NOTHING
) -> dict[str, Array | Encoded]:
    """Tensors from one object of named values for each instance; see ``columns``."""
    tensors: dict[str, Array | Encoded] = {}
    for target, (key, values) in columns(rows, name, model, shared, size_of=_elements).items():
        place, one = f"{name}.{key}", values[:1] if is_shared(values) else values
        tensors[target] = or_strings(slow_tensor(one, place), one, place, target, model)
        if target in model.spec.whole:
            tensors[target] = one_for_all(tensors[target], place, target)
        elif len(one) < len(values):
            tensors[target] = repeated(tensors[target], len(values))
    return tensors


def one_for_all(rows: Array | Encoded, place: str, target: str) -> Array:
    """The value that all rows have, of an input without a batch dimension.

    Args:
        rows: the values (rows, *shape).
        place: of the values in the request.
        target: the input.

    Raises:
        InvalidInput: the rows differ.
    """
    assert not isinstance(rows, Encoded)  # texts and images have a batch dimension
    if (rows[1:] != rows[:1]).any():
        raise InvalidInput(
            f"{place} differs from row to row; {target!r} has no batch dimension: send one value for all rows"
        )
    return rows[:1].reshape(rows.shape[1:])


def is_shared(values: Sequence[object]) -> bool:
    """Whether all rows have the same object, so that it is read only once."""
    return len(values) > 1 and all(value is values[0] for value in values)


def repeated(one: Array | Encoded, rows: int) -> Array | Encoded:
    """The value of one row for all of them.

    Raises:
        TooLarge: it has more bytes than a request may have.
    """
    if isinstance(one, Encoded):
        return Encoded(one.items * rows, place=lambda _: one.place(0), how=one.how)
    if rows * one.nbytes > MOST_REPEATED_BYTES:
        raise TooLarge(
            f"{rows} instances share a value of {one.nbytes} bytes; together at most {MOST_REPEATED_BYTES} are accepted"
        )
    return np.repeat(one, rows, axis=0)


def _elements(value: JsonValue) -> int:
    """How many values there are in a value of JSON."""
    return 1 + sum(map(_elements, value)) if isinstance(value, list) else 1


def or_strings(tensor: Array | None, value: JsonValue, name: str, target: str, model: LoadedModel) -> Array | Encoded:
    """The tensor of an input; if the values are not numbers, the values as strings, or as texts or images.

    Args:
        tensor: the values, if they are numbers.
        value: the values, if they are not.
        name: of the values in the request.
        target: the input.
        model: the model that receives them.
    """
    if tensor is not None:
        return tensor
    values = plain(value)
    if not isinstance(values, list) and model.spec.batched:
        values = [values]
    if model.spec.input(target).is_string:
        return read_strings(values, name)
    return _media_rows(values, name, model)


def _media_rows(rows: list[JsonValue], name: str, model: LoadedModel) -> Encoded:
    items = [_media_row(row, f"{name}[{index}]", model) for index, row in enumerate(rows)]
    return Encoded(items, place=lambda index: f"{name}[{index}]")


def _media_row(row: JsonValue, name: str, model: LoadedModel) -> bytes | str:
    if _is_media(row, model):
        return read_element(row, name)
    element, place = row, name
    while isinstance(element, list) and element:
        element, place = element[0], f"{place}[0]"
    if _is_media(element, model) or isinstance(element, int | float):  # right elsewhere: the array is wrong
        element, place = row, name
    raise InvalidInput(f"{place} is {kind_of_value(element)}; {how_to_name(model)}")


def _is_media(value: JsonValue, model: LoadedModel) -> bool:
    return is_b64(value) or (isinstance(value, str) and model.tokenizer is not None)
