"""TensorFlow Serving's REST: bodies of ``:predict``, ``:classify`` and ``:regress`` to tensors, and tensors to replies.

Source: TensorFlow Serving, RESTful API (predict, classify, regress and their row and columnar formats).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import orjson

from app.batching.work import Answer
from app.edge.codec.encoded import Encoded
from app.edge.codec.hints import how_to_name
from app.edge.codec.json_dump import dump
from app.edge.codec.json_tensor import Document
from app.edge.codec.json_values import JsonValue, is_array, kind_of_value, members, plain
from app.edge.codec.strings import is_b64, print_strings
from app.edge.respond import Reply
from app.edge.rest.named_rows import input_name, named_rows, or_strings
from app.edge.rest.signature_name import SIGNATURE_NAME, of_signature
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel
from app.serving.validation import fits
from app.types import Array

Layout = Literal["row", "columnar"]
Print = Callable[[Answer], Reply]
_EXAMPLES = 'objects {key: value}, texts or {"b64": ...}'


def parse_predict(document: Document, model: LoadedModel) -> tuple[dict[str, Array | Encoded], Layout]:
    """Tensors of a ``:predict`` body, and the layout of the reply.

    ``instances`` contains one value (or one object of named values) per row, ``inputs`` whole tensors by name. A
    string is a text, ``{"b64": ...}`` the bytes of an image or a text; both are also the elements of a
    tensor of strings.

    Raises:
        InvalidInput: both or neither of the two keys, or a value that is not a tensor, text or image.
    """
    keys = document.keys()
    if "instances" in keys and "inputs" in keys:
        raise InvalidInput(
            "JSON object holds both 'inputs' and 'instances'; expecting only one of the two keys to exist"
        )
    if "instances" in keys:
        tensors = _rows(document, document.get("instances"), "instances", model)
        if not model.spec.batched:
            _check_whole(tensors, model)
        return tensors, "row"
    if "inputs" in keys:
        return _columns(document, document.get("inputs"), model), "columnar"
    raise InvalidInput("Missing 'inputs' or 'instances' key; send {\"instances\": [value, ...]}")


def parse_examples(document: Document, model: LoadedModel) -> dict[str, Array | Encoded]:
    """Tensors of a ``:classify`` or ``:regress`` body: ``{"examples": [{feature: value}, ...]}``.

    ``context`` contains features shared by all examples. A feature is an input's name; ``text`` and ``image``
    name the input that texts and images feed. An example may also be a bare text, or ``{"b64": ...}``.

    Raises:
        InvalidInput: no examples, or an example that does not fit.
    """
    if signature_of(document, model) is not model:
        raise InvalidInput(f"signature {quoted(document.get('signature_name'))} answers :predict only")
    if not document.has("examples"):
        raise InvalidInput(f"Missing 'examples' key; send {{\"examples\": [...]}} with {_EXAMPLES}")
    examples = plain(document.get("examples"))
    context = plain(document.get("context"))
    context = {} if context is None else context
    if not isinstance(examples, list):
        raise InvalidInput(f"'examples' is {kind_of_value(examples)}; send a list of {_EXAMPLES}")
    if not examples:
        raise InvalidInput(f"'examples' is empty; send at least one of {_EXAMPLES}")
    for index, example in enumerate(examples):
        if not isinstance(example, str | dict):
            raise InvalidInput(f"examples[{index}] is {kind_of_value(example)}; send {_EXAMPLES}")
    if not isinstance(context, dict):
        raise InvalidInput(f"'context' is {kind_of_value(context)}; send an object {{key: value}}")
    bare = [_is_media(example) for example in examples]
    if all(bare):
        return _bare(examples, "examples", model)
    if any(bare):
        raise InvalidInput("'examples' holds objects {key: value} and bare values; send all in one form")
    return named_rows(examples, "examples", model, shared=context)


def print_predict(outputs: Answer, layout: Layout) -> bytes:
    """Body of a ``:predict`` reply: ``predictions`` by row, or ``outputs`` by name.

    Strings of an output whose name ends in ``_bytes``, or that are not UTF-8, are written as ``{"b64": ...}``.
    """
    printed: dict[str, Array | list[JsonValue]] = dict(outputs)
    for name, values in outputs.items():
        if values.dtype.kind == "O":
            printed[name] = print_strings(values, b64=name.endswith("_bytes"))
    single = next(iter(printed.values())) if len(printed) == 1 else None
    if layout == "columnar":
        return dump({"outputs": printed if single is None else single})
    if single is not None:
        return dump({"predictions": single})
    counts = {values.shape[:1] for values in outputs.values()}
    if len(counts) > 1 or () in counts:
        raise InvalidInput("the outputs differ in their first dimension: send 'inputs' in place of 'instances'")
    [(rows,)] = counts
    return dump({"predictions": [{name: values[row] for name, values in printed.items()} for row in range(rows)]})


def print_classify(ranked: Sequence[Sequence[tuple[str, float]]]) -> bytes:
    """Body of a ``:classify`` reply: per example the labels with their scores, best first."""
    return orjson.dumps({"results": ranked}, option=orjson.OPT_SERIALIZE_NUMPY)


def print_regress(values: Array) -> bytes:
    """Body of a ``:regress`` reply: one number per example."""
    return dump({"results": values.reshape(-1)})


def signature_of(document: Document, model: LoadedModel) -> LoadedModel:
    """The model of the signature that a body names; ``model`` for the default one. Raises as ``of_signature`` does."""
    if not document.has(SIGNATURE_NAME):
        return model
    return of_signature(document.get(SIGNATURE_NAME), model)


def _rows(document: Document, rows: JsonValue, name: str, model: LoadedModel) -> dict[str, Array | Encoded]:
    if not is_array(rows):
        raise InvalidInput(f"'{name}' is {kind_of_value(rows)}; send a list with one value per instance")
    if len(rows) == 0:
        raise InvalidInput(f"'{name}' is empty; send at least one instance")
    tensor = document.tensor(rows, name)
    if tensor is not None:
        return {_only_input(model): tensor}
    listed = plain(rows)
    if all(isinstance(row, dict) and not is_b64(row) for row in listed):
        return named_rows(listed, name, model)
    return _bare(listed, name, model)


def _check_whole(tensors: Mapping[str, Array | Encoded], model: LoadedModel) -> None:
    """Refuse rows that do not make the whole tensors of a model without a batch dimension."""
    for name, values in tensors.items():
        tensor = model.spec.input(name)
        if not isinstance(values, Encoded) and not fits(values.shape, tensor):
            raise InvalidInput(
                f"'instances' make a tensor {name!r} of shape {values.shape}; model {model.name!r} has no batch "
                f"dimension and takes whole tensors, {tensor.in_words}: send 'inputs' in place of 'instances'"
            )


def _columns(document: Document, value: JsonValue, model: LoadedModel) -> dict[str, Array | Encoded]:
    named = members(value) if hasattr(value, "as_dict") else value
    if isinstance(named, dict) and not is_b64(named):
        known = {tensor.name for tensor in model.spec.inputs}
        for name in model.spec.required_names - {input_name(key, model) for key in named}:
            raise InvalidInput(f"Missing named input: {name} in 'inputs' object; {how_to_name(model)}")
        # TensorFlow Serving ignores members that are not inputs.
        used = {input_name(key, model): item for key, item in named.items() if input_name(key, model) in known}
        return {name: or_strings(document.tensor(item, name), item, name, name, model) for name, item in used.items()}
    if named is None or isinstance(named, bool):
        raise InvalidInput(f"'inputs' is {kind_of_value(named)}; send a tensor or an object {{name: tensor}}")
    tensor = document.tensor(named, "inputs")
    if tensor is not None:
        return {_only_input(model): tensor}
    return _bare(plain(named), "inputs", model)


def _bare(values: JsonValue, name: str, model: LoadedModel) -> dict[str, Array | Encoded]:
    """Values that are not numbers, for the input that takes such."""
    only = model.spec.inputs[0]
    target = only.name if len(model.spec.required) == 1 and only.is_string else model.input_for_media()
    return {target: or_strings(None, values, name, target, model)}


def _is_media(value: JsonValue) -> bool:
    return isinstance(value, str) or is_b64(value)


def _only_input(model: LoadedModel) -> str:
    if len(model.spec.required) > 1:
        names = [tensor.name for tensor in model.spec.inputs]
        raise InvalidInput(f"the signature has {len(names)} inputs, {names}: name them, {{name: value}}")
    return model.spec.inputs[0].name
