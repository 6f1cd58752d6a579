"""The parts of an instance of a model, and the output that is explained."""

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from app.contract.steps import ImagePreprocessing, NextToken
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import PADDING_ID
from app.errors import InvalidInput, TooLarge
from app.explain.input_parts import DEFAULT_GRID, ColumnParts, ImageParts, TextParts
from app.explain.parts import MOST_PARTS, AllParts, Parts
from app.loaded import LoadedModel
from app.types import Array, Tensors

MID_GREY = 128.0
TRAINED = "as in the training data"
UNKNOWN_TRAINING = "as nothing is known of the training data"


def answer_of(model: LoadedModel) -> str:
    """Name of the output that is explained: one score for each class, or one number.

    Raises:
        InvalidInput: the model has another kind of answer.
    """
    if not model.spec.batched:
        raise InvalidInput(f"model {model.name!r} has no batch dimension; :explain asks it for many instances at once")
    if isinstance(model.spec.postprocessing, NextToken):
        raise InvalidInput(f"model {model.name!r} generates text; :explain takes models with classes or one number")
    if model.classes:
        return model.score_output()
    outputs = model.spec.outputs
    if len(outputs) > 1 or outputs[0].shape not in {(), (1,)} or outputs[0].is_string:
        raise InvalidInput(
            f"model {model.name!r} has neither classes nor one number as its answer; :explain explains only those"
        )
    return outputs[0].name


def is_explained(model: LoadedModel) -> bool:
    """Whether ``:explain`` takes this model."""
    try:
        answer_of(model)
    except InvalidInput:
        return False
    if model.spec.preprocessing is not None:
        return True
    sizes = [prod(tensor.shape) for tensor in model.spec.required]
    return all(size > 0 for size in sizes) and sum(sizes) <= MOST_PARTS


def parts_of(
    model: LoadedModel,
    tensors: Tensors,
    row: int,
    *,
    grid: int | None = None,
    words: Mapping[str, Sequence[Sequence[str]]],
) -> AllParts:
    """The parts of one instance.

    Args:
        model: of the instance.
        tensors: input name -> (rows, *shape), validated.
        row: which one.
        grid: regions of an image along its longer side; None: the default.
        words: see ``Explainer.explain``.

    Raises:
        InvalidInput: an input has a variable shape, or a request asks for a grid without an image.
        TooLarge: more parts than ``MOST_PARTS``.
    """
    specs = [spec for spec in model.spec.inputs if spec.name in tensors]
    each = [_parts(model, spec, tensors[spec.name][row, ...], row, grid, words) for spec in specs]
    if grid is not None and not any(isinstance(parts, ImageParts) for parts in each):
        raise InvalidInput(f"'grid' is {grid}, but model {model.name!r} takes no images")
    parts = AllParts(each)
    if parts.count > MOST_PARTS:
        raise TooLarge(
            f"an instance of model {model.name!r} has {parts.count} parts; at most {MOST_PARTS} are explained"
        )
    return parts


def _parts(
    model: LoadedModel,
    spec: TensorSpec,
    values: Array,
    row: int,
    grid: int | None,
    words: Mapping[str, Sequence[Sequence[str]]],
) -> Parts:
    typical = model.typical.get(spec.name)
    step = model.spec.preprocessing
    is_image = isinstance(step, ImagePreprocessing) and step.input == spec.name
    if is_image and not isinstance(typical, str):
        fill, source = (MID_GREY, UNKNOWN_TRAINING) if typical is None else (typical, TRAINED)
        return ImageParts(spec.name, values, fill=fill, source=source, grid=grid or DEFAULT_GRID)
    if model.sequence == spec.name and model.tokenizer is not None:
        ids = values[: max(1, int(np.count_nonzero(values != PADDING_ID)))]
        written = words[spec.name][row] if spec.name in words else model.tokenizer.decode(ids.tolist())
        return TextParts(spec.name, ids, written)
    if spec.is_variable:
        raise InvalidInput(
            f"input {spec.name!r} of model {model.name!r} has no fixed shape; :explain takes images, texts and rows of "
            "numbers or strings"
        )
    if spec.is_string:
        source = "an empty string" if typical is None else f"the most frequent value, {TRAINED}"
        text = "" if typical is None else str(typical)
        is_bytes = isinstance(values.reshape(-1)[0], bytes)
        return ColumnParts(spec.name, values, typical=text.encode() if is_bytes else text, source=source)
    if typical is None or isinstance(typical, str):
        typical, source = 0.0, f"0, {UNKNOWN_TRAINING}"
    else:
        source = f"the mean, {TRAINED}"
    if spec.minimum is not None:
        typical = max(typical, spec.minimum)
    if spec.maximum is not None:
        typical = min(typical, spec.maximum)
    return ColumnParts(spec.name, values, typical=typical, source=source)
