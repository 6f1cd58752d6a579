"""TensorFlow's Examples to tensors: features are named as in the examples of the REST interface.

Source: TensorFlow, example.proto and feature.proto; TensorFlow Serving, input.proto.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from app.contract.tensor_spec import TensorSpec
from app.edge.codec.datatypes import array_from_numbers
from app.edge.codec.encoded import Encoded
from app.edge.grpc.tfs import serving_pb2 as pb
from app.edge.rest.named_rows import columns, is_shared, one_for_all, repeated
from app.errors import InvalidInput
from app.loaded import LoadedModel
from app.types import Array

NAME = "examples"
_ELEMENTS: dict[str, np.dtype[Any]] = {"int64_list": np.dtype("i8"), "float_list": np.dtype("f4")}


def read_examples(sent: pb.Input, model: LoadedModel) -> dict[str, Array | Encoded]:
    """The tensors of a request of Examples, one instance each.

    A feature of the context is used where an Example does not have one of that name. Numbers are an instance in
    row-major order; bytes are a text or an encoded image, or the strings of an instance.

    Raises:
        InvalidInput: no Examples, or one that does not fit; names the feature and the rule it breaks.
    """
    kind = sent.WhichOneof("kind")
    examples = () if kind is None else getattr(sent, kind).examples
    if not examples:
        raise InvalidInput("Input is empty; send example_list with at least one Example")
    context = sent.example_list_with_context.context.features.feature if kind == "example_list_with_context" else {}
    rows = [example.features.feature for example in examples]
    tensors: dict[str, Array | Encoded] = {}
    for target, (key, features) in columns(rows, NAME, model, context, size_of=_values).items():
        one = features[:1] if is_shared(features) else features
        tensors[target] = _column(one, key, model.spec.input(target), model)
        if target in model.spec.whole:
            tensors[target] = one_for_all(tensors[target], f"{NAME}.{key}", target)
        elif len(one) < len(features):
            tensors[target] = repeated(tensors[target], len(features))
    return tensors


def _values(feature: pb.Feature) -> int:
    kind = feature.WhichOneof("kind")
    return 1 if kind is None else 1 + len(getattr(feature, kind).value)


def _column(features: Sequence[pb.Feature], key: str, spec: TensorSpec, model: LoadedModel) -> Array | Encoded:
    """The tensor of one input."""
    kinds = [feature.WhichOneof("kind") for feature in features]
    media = model.spec.preprocessing
    is_media = media is not None and media.input == spec.name
    if is_media and kinds[0] == "bytes_list":
        items: list[bytes | str] = [_only(feature, _place(row, key)) for row, feature in enumerate(features)]
        return Encoded(items, place=lambda row: _place(row, key))
    wanted = ("bytes_list",) if spec.is_string else tuple(_ELEMENTS)
    for row, kind in enumerate(kinds):
        if kind not in wanted:
            takes = f"{' or '.join(wanted)}{' or bytes_list' if is_media else ''} for {spec.in_words}"
            raise InvalidInput(f"{_place(row, key)} has {kind or 'no values'}; send {takes}")
    rows = [_instance(each, _place(row, key), spec) for row, each in enumerate(features)]
    for row, values in enumerate(rows):
        if values.shape != rows[0].shape:
            raise InvalidInput(
                f"{_place(row, key)} has {values.size} values, {_place(0, key)} has {rows[0].size}; all rows must "
                "share one shape"
            )
    return np.stack(rows)


def _instance(feature: pb.Feature, place: str, spec: TensorSpec) -> Array:
    """The values of one feature in the shape of an instance; at most one size varies."""
    kind: str = feature.WhichOneof("kind")
    values: Sequence[Any] = getattr(feature, kind).value
    known = prod(size for size in spec.shape if size != -1)
    whole = len(values) % known == 0 if spec.is_variable else len(values) == known
    if not whole or len(values) == 0 or spec.shape.count(-1) > 1:
        raise InvalidInput(f"{place} has {len(values)} values; expected {spec.instance_in_words}")
    if kind == "bytes_list":
        array = np.empty(len(values), object)
        array[:] = values
    else:
        array = array_from_numbers(values, np.dtype(_ELEMENTS[kind]))
    return array.reshape(spec.shape)


def _only(feature: pb.Feature, place: str) -> bytes:
    """The one text or image of a feature."""
    if feature.WhichOneof("kind") != "bytes_list" or len(feature.bytes_list.value) != 1:
        count = len(feature.bytes_list.value)
        raise InvalidInput(f"{place} has {count} values in bytes_list; send one text or image in each Example")
    content: bytes = feature.bytes_list.value[0]
    return content


def _place(row: int, key: str) -> str:
    return f"{NAME}[{row}].{key}"
