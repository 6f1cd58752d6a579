"""model.json: the signature, labels, processing steps and batching hints of one model version.

Training writes it and the service reads it, both through the classes below, which refuse unknown keys.
"""

import re
from collections.abc import Collection
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from app.contract.files.regular import read_file
from app.contract.steps import (
    LONGEST_EDGE,
    BatchingHints,
    Classification,
    ImagePreprocessing,
    NextToken,
    Postprocessing,
    Preprocessing,
    TextPreprocessing,
)
from app.contract.tensor_spec import Frozen, TensorSpec
from app.errors import VersionRefused

SPEC_FILE = "model.json"
SPEC_LIMIT_BYTES = 8 * 2**20
ONNX_FILE = "model.onnx"
SAVED_MODEL_FILE = "saved_model.pb"
LITE_FILE = "model.tflite"
KERAS_WEIGHTS_FILE = "model.weights.h5"

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$"
LONGEST_NAME = 255
NAME_RULE = (
    "a name has ASCII letters, digits, spaces and . _ -, begins with a letter or digit, and has at most "
    f"{LONGEST_NAME} characters"
)
LARGEST_BATCH = 4096
MOST_TENSORS = 64
# Limits of an image input.
MOST_PIXELS = 2**20
_LONGEST_MESSAGE = 500


def is_model_name(name: str) -> bool:
    """Whether a model can have that name: see ``NAME_RULE``."""
    return re.fullmatch(NAME_PATTERN.strip("^$"), name) is not None and len(name) <= LONGEST_NAME


class ModelSpec(Frozen):
    """The contract of one model version: everything a server needs besides the graph."""

    format_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME)
    description: str = ""
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=MOST_TENSORS)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=MOST_TENSORS)
    preprocessing: Preprocessing | None = None
    postprocessing: Postprocessing | None = None
    batching: BatchingHints = BatchingHints()
    opset: int = Field(ge=1, le=1000)
    trained_on: str = Field(description="data set and the form it was read from")
    frameworks: dict[str, str] = Field(default={}, description="package -> version used for training and export")

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if self.inputs[0].optional:
            raise ValueError("all inputs are optional; at least one must be required, and come first")
        inputs = {tensor.name: tensor for tensor in self.inputs}
        outputs = {tensor.name: tensor for tensor in self.outputs}
        if len(inputs) != len(self.inputs) or len(outputs) != len(self.outputs):
            raise ValueError("two inputs or two outputs share a name")
        if self.preprocessing is not None:
            target = inputs.get(self.preprocessing.input)
            if target is None:
                raise ValueError(f"preprocessing feeds {self.preprocessing.input!r}, inputs are {sorted(inputs)}")
            _check_target(self.preprocessing, target)
        if self.postprocessing is not None:
            scores = outputs.get(self.postprocessing.output)
            if scores is None:
                raise ValueError(f"postprocessing reads {self.postprocessing.output!r}, outputs are {sorted(outputs)}")
            _check_scores(scores, self._columns(self.postprocessing))
        return self

    def _columns(self, step: Classification | NextToken) -> int:
        """Number of scores that the postprocessing names."""
        if isinstance(step, Classification):
            return len(step.labels)
        text = self.preprocessing
        largest = self.input(text.input).maximum if isinstance(text, TextPreprocessing) else None
        if largest is None or not largest.is_integer():
            raise ValueError("the next token requires a text model with one input that states its largest id")
        return int(largest)

    def input(self, name: str) -> TensorSpec:
        """The input called ``name``; KeyError without one (our mistake, not a client's)."""
        return next(tensor for tensor in self.inputs if tensor.name == name)

    def output(self, name: str) -> TensorSpec:
        """The output called ``name``; KeyError without one."""
        return self._outputs_by_name[name]

    @cached_property
    def required(self) -> tuple[TensorSpec, ...]:
        """The inputs that every request has, at least one; they come before the optional ones."""
        return tuple(tensor for tensor in self.inputs if not tensor.optional)

    @cached_property
    def required_names(self) -> frozenset[str]:
        """Names of these inputs."""
        return frozenset(tensor.name for tensor in self.required)

    @cached_property
    def input_counts(self) -> range:
        """How many inputs a request may have."""
        return range(len(self.required), len(self.inputs) + 1)

    @cached_property
    def whole(self) -> frozenset[str]:
        """Inputs without a batch dimension of a model that has one: a request has one value for all its instances."""
        return frozenset(tensor.name for tensor in self.inputs if self.batched and not tensor.batched)

    @cached_property
    def binary_only(self) -> frozenset[str]:
        """Outputs that the Open Inference Protocol sends as bytes only."""
        return frozenset(tensor.name for tensor in self.outputs if tensor.is_bfloat16)

    def given_optional(self, names: Collection[str]) -> list[str]:
        """The optional inputs among the inputs of a request."""
        return [tensor.name for tensor in self.inputs if tensor.optional and tensor.name in names]

    @cached_property
    def sequence(self) -> str | None:
        """The input whose rows vary in length and may be padded: the only input, of texts; None without one."""
        step = self.preprocessing
        return step.input if isinstance(step, TextPreprocessing) and len(self.inputs) == 1 else None

    @cached_property
    def body_string(self) -> TensorSpec | None:
        """The only required input, if an instance of it is one string: a body may be its bytes; None without one."""
        only = self.inputs[0]
        is_one = len(self.required) == 1 and only.is_string and all(size in {1, -1} for size in only.shape)
        return only if is_one else None

    @cached_property
    def _outputs_by_name(self) -> dict[str, TensorSpec]:
        return {tensor.name: tensor for tensor in self.outputs}

    @cached_property
    def batched(self) -> bool:
        """Whether tensors have a batch dimension; see ``TensorSpec``."""
        return self.inputs[0].batched

    def with_utf8_inputs(self) -> Self:
        """The same contract, but strings must be UTF-8."""
        return self.model_copy(update={"inputs": tuple(each.requiring_utf8() for each in self.inputs)})

    def write(self, directory: Path) -> None:
        """Write model.json to ``directory``."""
        (directory / SPEC_FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read model.json from ``directory``.

        Raises:
            VersionRefused: the file is missing, or see ``parse``.
        """
        path = directory / SPEC_FILE
        try:
            return cls.parse(path, read_file(path, SPEC_LIMIT_BYTES))
        except OSError as error:
            raise VersionRefused(f"{path}: {error.strerror}") from error

    @classmethod
    def parse(cls, path: Path, data: bytes) -> Self:
        """The contract from the bytes of model.json.

        Args:
            path: origin of the bytes, for messages.
            data: at most ``SPEC_LIMIT_BYTES``.

        Raises:
            VersionRefused: the bytes are not JSON, or break a rule above.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            what = f"{where}: {first['msg']}"[:_LONGEST_MESSAGE]
            raise VersionRefused(f"{path}: {what}") from error


def _check_scores(scores: TensorSpec, columns: int) -> None:
    """Refuse an output without one score per label."""
    if scores.dtype != "float32" or scores.shape != (columns,):
        raise ValueError(
            f"{columns} labels require a float32 output of shape ({columns},), "
            f"but {scores.name!r} is {scores.dtype} {scores.shape}"
        )


def _check_target(step: ImagePreprocessing | TextPreprocessing, target: TensorSpec) -> None:
    """Refuse an input that does not match the pre-processing."""
    if isinstance(step, TextPreprocessing):
        if target.dtype != "int32" or target.shape != (-1,):
            raise ValueError(
                f"text requires an int32 input of shape (-1,), but {target.name!r} is {target.dtype} {target.shape}"
            )
    elif target.dtype != "uint8" or target.is_variable or not _is_image(target.shape):
        raise ValueError(
            f"an image requires a uint8 input of shape (height, width) or (height, width, 3), "
            f"but {target.name!r} is {target.dtype} {target.shape}"
        )
    elif max(target.shape[:2]) > LONGEST_EDGE or prod(target.shape[:2]) > MOST_PIXELS:
        raise ValueError(
            f"an image input has at most {MOST_PIXELS} pixels and {LONGEST_EDGE} along an edge, "
            f"but {target.name!r} is {target.shape}"
        )


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
