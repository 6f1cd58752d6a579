"""TensorFlow Serving's REST: bodies of ``:predict`` and ``:classify`` to tensors, and tensors to replies.

Source: TensorFlow Serving, RESTful API (predict, classify and their row and columnar formats).
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import orjson

from app.contract.tokenizer import pad
from app.edge.json_tensor import Document, JsonValue, is_array, plain, slow_tensor
from app.errors import InvalidInput
from app.runtime.backend import Array
from app.serving.model import LoadedModel
from app.serving.work import Answer

Layout = Literal["row", "columnar"]
SIGNATURE = "serving_default"


def parse_predict(document: Document, model: LoadedModel) -> tuple[dict[str, Array], Layout]:
    """Tensors of a ``:predict`` body, and which layout the reply must have.

    ``instances`` holds one value (or one object of named values) per row, ``inputs`` whole tensors by name. A
    string stands for a text, ``{"b64": ...}`` for the bytes of an image or a text.

    Raises:
        InvalidInput: both or neither of the two keys, or a value that is no tensor, text or image.
    """
    keys = _check_signature(document)
    if "instances" in keys and "inputs" in keys:
        raise InvalidInput(
            "JSON object holds both 'inputs' and 'instances'; expecting only one of the two keys to exist"
        )
    if "instances" in keys:
        return _rows(document, document.get("instances"), "instances", model), "row"
    if "inputs" in keys:
        return _columns(document, document.get("inputs"), model), "columnar"
    raise InvalidInput("Missing 'inputs' or 'instances' key; send {\"instances\": [value, ...]}")


def parse_classify(document: Document, model: LoadedModel) -> dict[str, Array]:
    """Tensors of a ``:classify`` body: ``{"examples": [{feature: value}, ...]}``.

    ``context`` holds features shared by all examples. A feature is an input's name; ``text`` and ``image``
    name the input that texts and images feed. An example may also be a bare text, or ``{"b64": ...}``.

    Raises:
        InvalidInput: no examples, or an example that does not fit.
    """
    if "examples" not in _check_signature(document):
        raise InvalidInput("Missing 'examples' key; send {\"examples\": [{feature: value}, ...]}")
    examples = plain(document.get("examples"))
    context = plain(document.get("context")) or {}
    if isinstance(examples, list) and examples and all(_is_media(example) for example in examples):
        return {model.input_for_media(): _media_rows(examples, "examples", model)}
    if not isinstance(examples, list) or not examples or not all(isinstance(example, dict) for example in examples):
        raise InvalidInput("'examples' must be a list of at least one object {feature: value}, text or {\"b64\": ...}")
    if not isinstance(context, dict):
        raise InvalidInput("'context' must be an object {feature: value}")
    return _named_rows([{**context, **example} for example in examples], "examples", model)


def print_predict(outputs: Answer, layout: Layout) -> bytes:
    """Body of a ``:predict`` reply: ``predictions`` by row, or ``outputs`` by name."""
    single = next(iter(outputs.values())) if len(outputs) == 1 else None
    if layout == "columnar":
        return _dump({"outputs": outputs if single is None else single})
    if single is not None:
        return _dump({"predictions": single})
    rows = len(next(iter(outputs.values())))
    return _dump({"predictions": [{name: values[row] for name, values in outputs.items()} for row in range(rows)]})


def print_classify(ranked: Sequence[Sequence[tuple[str, float]]]) -> bytes:
    """Body of a ``:classify`` reply: per example the labels with their scores, best first."""
    return orjson.dumps({"results": ranked}, option=orjson.OPT_SERIALIZE_NUMPY)


def _check_signature(document: Document) -> set[str]:
    keys = document.keys()
    if "signature_name" in keys:
        name = document.get("signature_name")
        if not isinstance(name, str):
            raise InvalidInput("'signature_name' must be a string")
        if name not in {"", SIGNATURE}:
            raise InvalidInput(f"signature {name!r} does not exist; the model has {SIGNATURE!r}")
    return keys


def _rows(document: Document, rows: JsonValue, name: str, model: LoadedModel) -> dict[str, Array]:
    if not is_array(rows):
        raise InvalidInput(f"'{name}' must be a list with one value per instance")
    if len(rows) == 0:
        raise InvalidInput(f"'{name}' is empty; send at least one instance")
    tensor = document.tensor(rows, name)
    if tensor is not None:
        return {_only_input(model): tensor}
    listed = plain(rows)
    if all(isinstance(row, dict) and not _is_b64(row) for row in listed):
        return _named_rows(listed, name, model)
    return {model.input_for_media(): _media_rows(listed, name, model)}


def _named_rows(rows: list[dict[str, JsonValue]], name: str, model: LoadedModel) -> dict[str, Array]:
    columns: dict[str, list[JsonValue]] = {}
    for index, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise InvalidInput(f"{name}[{index}] has inputs {sorted(row)}, {name}[0] has {sorted(rows[0])}")
        for key, value in row.items():
            columns.setdefault(_input_name(key, model), []).append(value)
    if any(len(values) != len(rows) for values in columns.values()):
        raise InvalidInput(f"{name}[0] names the same input twice: {sorted(rows[0])}")
    return {key: _column(values, f"{name}.{key}", model) for key, values in columns.items()}


def _columns(document: Document, value: JsonValue, model: LoadedModel) -> dict[str, Array]:
    named = plain(value) if hasattr(value, "as_dict") else value
    if isinstance(named, dict) and not _is_b64(named):
        known = {tensor.name for tensor in model.spec.inputs}
        for name in known - {_input_name(key, model) for key in named}:
            raise InvalidInput(f"Missing named input: {name} in 'inputs' object.")
        # TensorFlow Serving ignores members that are no input.
        used = {_input_name(key, model): item for key, item in named.items() if _input_name(key, model) in known}
        return {name: _column(item, name, model) for name, item in used.items()}
    if named is None or isinstance(named, bool):
        raise InvalidInput("'inputs' must be a tensor or an object {name: tensor}")
    tensor = document.tensor(named, "inputs")
    if tensor is not None:
        return {_only_input(model): tensor}
    return {model.input_for_media(): _column(plain(named), "inputs", model)}


def _column(values: JsonValue, name: str, model: LoadedModel) -> Array:
    """One whole tensor: nested numbers, or a list of texts or images (or a single one)."""
    tensor = slow_tensor(values, name)
    if tensor is not None:
        return tensor
    return _media_rows(values if isinstance(values, list) else [values], name, model)


def _media_rows(rows: list[JsonValue], name: str, model: LoadedModel) -> Array:
    return stack([_media_row(row, f"{name}[{index}]", model) for index, row in enumerate(rows)])


def _media_row(row: JsonValue, name: str, model: LoadedModel) -> Array:
    if isinstance(row, str):
        return model.instance_from_text(row)
    if not (isinstance(row, dict) and _is_b64(row)):
        raise InvalidInput(f'{name} is neither a number, a text nor {{"b64": ...}} like its neighbours')
    try:
        data = base64.b64decode(row["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{name} is not valid base64: {error}") from error
    if model.tokenizer is None:
        return model.instance_from_image(data)
    return model.instance_from_text(utf8(data, name))


def stack(rows: list[Array]) -> Array:
    """Instances to one tensor; token ids of different length are padded after their end."""
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    return pad(rows)


def utf8(data: bytes, name: str) -> str:
    """Bytes as text; InvalidInput with the offset if they are not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from error


def _is_b64(value: dict[str, JsonValue]) -> bool:
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _is_media(value: JsonValue) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and _is_b64(value))


def _only_input(model: LoadedModel) -> str:
    if len(model.spec.inputs) > 1:
        names = [tensor.name for tensor in model.spec.inputs]
        raise InvalidInput(f"the signature has {len(names)} inputs, {names}: name them, {{name: value}}")
    return model.spec.inputs[0].name


def _input_name(key: str, model: LoadedModel) -> str:
    step = model.spec.preprocessing
    return step.input if step is not None and key == step.kind else key


def _dump(value: dict[str, Any]) -> bytes:
    """Floats in the shortest form that gives the same float32 again; NaN and Infinity as bare tokens."""
    if all(np.isfinite(array).all() for array in _arrays(value)):
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(value, default=lambda array: array.tolist()).encode()


def _arrays(value: Any) -> list[Array]:
    if isinstance(value, np.ndarray):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [array for item in items for array in _arrays(item)]
