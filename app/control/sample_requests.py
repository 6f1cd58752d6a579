"""Requests that a model answers, made from its signature: examples for those who have none at hand."""

import base64
from io import BytesIO
from math import prod
from typing import Any

import numpy as np

from app.contract.steps import ImagePreprocessing
from app.contract.tensor_spec import TensorSpec
from app.errors import InvalidInput
from app.explain.of_model import is_explained
from app.loaded import LoadedModel
from app.serving.generation import generates_text

TEXT = "A wonderful film, moving and funny from start to finish."
PROMPT = "My lord,"
MOST_VALUES = 4096
"""Most elements of an example; a larger one is of no use to a reader."""

Body = dict[str, Any]


def sample_requests(model: LoadedModel) -> dict[str, Body]:
    """Verb -> the JSON body of a request; without the verbs that the model does not answer.

    The verbs are those at the end of a path: predict, classify, regress, explain, infer, generate, generate_stream.
    """
    spec = model.spec
    sizes = sum(prod(abs(size) for size in tensor.shape) for tensor in spec.required)
    if not spec.batched or sizes > MOST_VALUES * (1 if spec.preprocessing is None else 16):
        return {}
    instance = _instance(model)
    example = _example(model, instance)
    found: dict[str, Body] = {"predict": {"instances": [instance]}, "infer": {"inputs": _tensors(model)}}
    if model.classes:
        found["classify"] = {"examples": [example]}
    if _gives_a_number(model):
        found["regress"] = {"examples": [example]}
    if is_explained(model):
        found["explain"] = {"instances": [instance]}
    if generates_text(model):
        found["generate"] = found["generate_stream"] = {"text_input": PROMPT, "max_tokens": 20, "seed": 1}
    return found


def _gives_a_number(model: LoadedModel) -> bool:
    try:
        model.value_output()
    except InvalidInput:
        return False
    return True


def _instance(model: LoadedModel) -> Any:
    """One instance in the row format."""
    step = model.spec.preprocessing
    if isinstance(step, ImagePreprocessing):
        return {"b64": _picture(model.spec.input(step.input))}
    if model.tokenizer is not None:
        return PROMPT if generates_text(model) else TEXT
    values = {tensor.name: _values(model, tensor).tolist() for tensor in model.spec.required}
    return values if len(values) > 1 else next(iter(values.values()))


def _example(model: LoadedModel, instance: Any) -> Body:
    """The same, as classify and regress take it."""
    if isinstance(model.spec.preprocessing, ImagePreprocessing):
        return {"image": instance}
    if model.tokenizer is not None:
        return {"text": instance}
    return instance if isinstance(instance, dict) else {model.spec.required[0].name: instance}


def _tensors(model: LoadedModel) -> list[Body]:
    """The inputs of the Open Inference Protocol."""
    if model.tokenizer is not None:
        text = _instance(model)
        return [{"name": model.input_for_media(), "datatype": "BYTES", "shape": [1], "data": [text]}]
    return [
        {
            "name": tensor.name,
            "datatype": tensor.oip_datatype,
            "shape": [1, *map(abs, tensor.shape)],
            "data": _values(model, tensor).reshape(-1).tolist(),
        }
        for tensor in model.spec.required
    ]


def _values(model: LoadedModel, tensor: TensorSpec) -> Any:
    """One instance of an input, (*shape): typical values of the training data, or 0, or a string."""
    shape = tuple(map(abs, tensor.shape))
    typical = model.typical.get(tensor.name)
    if tensor.is_string:
        return np.full(shape, typical if isinstance(typical, str) else "a", object)
    number = typical if isinstance(typical, float) else 0.0
    least, most = tensor.minimum, tensor.maximum
    number = min(max(number, number if least is None else least), number if most is None else most)
    dtype = tensor.numpy_dtype
    return np.full(shape, round(number) if dtype.kind in "iu" else number, dtype)


def _picture(tensor: TensorSpec) -> str:
    """A gradient of the size that an image input takes, as PNG in base64."""
    from PIL import Image

    height, width = tensor.shape[:2]
    levels = np.linspace(0, 255, width, dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(np.tile(levels, (height, 1))).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
