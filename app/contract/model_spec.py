"""model.json: the signature, labels, processing steps and batching hints of one model version.

Training writes it, the service reads it; both through the classes below, which refuse unknown keys.
"""

from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.files.regular import read_file
from app.errors import VersionRefused

SPEC_FILE = "model.json"
SPEC_LIMIT_BYTES = 8 * 2**20
ONNX_FILE = "model.onnx"
SAVED_MODEL_FILE = "saved_model.pb"

# Largest of what a contract may state. Nothing of it is allocated before it is checked.
LARGEST_BATCH = 4096
LARGEST_INSTANCE_BYTES = 64 * 2**20
LONGEST_TEXT = 2**20
MOST_LABELS = 2**17
MOST_TENSORS = 64
# Pixels along an edge of an image input, and of what a step may be told to make; pixels of an image input.
LONGEST_EDGE = 2048
MOST_PIXELS = 2**20
MOST_STEPS = 16
_LONGEST_MESSAGE = 500

DType = Literal["uint8", "int32", "float32"]
_OIP_DATATYPES: dict[DType, str] = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Size = Annotated[int, Field(ge=-1, le=LARGEST_INSTANCE_BYTES)]


class TensorSpec(_Frozen):
    """One named input or output.

    Attributes:
        name: tensor name, the same in the SavedModel signature and in the ONNX graph.
        dtype: element type.
        shape: shape of one instance, without the batch; -1 stands for a length that varies.
        minimum, maximum: inclusive range of every element; None means that of the dtype (all finite
            values for float32).
        finite: whether NaN and infinity are refused; only float32 inputs may allow them.
    """

    name: str = Field(min_length=1, max_length=256)
    dtype: DType
    shape: tuple[Size, ...] = Field(max_length=8)
    minimum: float | None = None
    maximum: float | None = None
    finite: bool = True

    @model_validator(mode="after")
    def _is_not_huge(self) -> Self:
        if 0 in self.shape:
            raise ValueError(f"{self.name!r} has shape {self.shape}; a size is at least 1, or -1")
        if (nbytes := self.fixed_bytes) > LARGEST_INSTANCE_BYTES:
            raise ValueError(f"one instance of {self.name!r} has {nbytes} bytes; at most {LARGEST_INSTANCE_BYTES}")
        return self

    @property
    def fixed_bytes(self) -> int:
        """Bytes of one instance, of which every size that varies is 1."""
        return self.numpy_dtype.itemsize * prod(abs(size) for size in self.shape)

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype as numpy's own."""
        return np.dtype(self.dtype)

    @cached_property
    def wire_dtype(self) -> np.dtype[Any]:
        """The dtype in little-endian order, as raw bytes hold it."""
        return self.numpy_dtype.newbyteorder("<")

    @cached_property
    def instance_bytes(self) -> int:
        """Bytes of one instance of fixed shape."""
        return self.numpy_dtype.itemsize * prod(self.shape)

    @property
    def oip_datatype(self) -> str:
        """The dtype as the Open Inference Protocol names it."""
        return _OIP_DATATYPES[self.dtype]

    @property
    def is_variable(self) -> bool:
        """Whether one dimension of an instance varies from request to request."""
        return -1 in self.shape

    @cached_property
    def has_range(self) -> bool:
        """Whether an element may be out of range though the dtype can hold it."""
        return self.minimum is not None or self.maximum is not None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape with the batch dimension in front, as Open Inference Protocol metadata prints it."""
        return (-1, *self.shape)

    @property
    def in_words(self) -> str:
        """Name and what one instance is, for error messages: ``'pixels' (uint8 of shape (28, 28))``."""
        return f"{self.name!r} ({self.instance_in_words})"

    @property
    def instance_in_words(self) -> str:
        """What one instance is: ``uint8 of shape (28, 28)``."""
        if not self.shape:
            return f"one {self.dtype}"
        if self.shape == (-1,):
            return f"a list of {self.dtype}"
        sizes = ", ".join("any" if size == -1 else str(size) for size in self.shape)
        return f"{self.dtype} of shape ({sizes}{',' if len(self.shape) == 1 else ''})"


class TransformStep(_Frozen):
    """One named image step of ``contract.transforms`` with its arguments."""

    step: str = Field(max_length=100)
    arguments: dict[str, float | int | bool | str] = Field(default={}, max_length=16)

    @model_validator(mode="after")
    def _is_not_huge(self) -> Self:
        for name, value in self.arguments.items():
            if not isinstance(value, str) and not abs(value) <= LONGEST_EDGE:  # nor is NaN
                raise ValueError(f"step {self.step!r}: {name} is {value!s:.20}; at most {LONGEST_EDGE} is accepted")
        return self


class ImagePreprocessing(_Frozen):
    """Turns an encoded image (PNG, JPEG, ...) into one instance of ``input``.

    Attributes:
        input: name of the input it feeds; uint8, shape (height, width) or (height, width, 3).
        steps: what happens, in order, to an image that does not already have the signature's size and channels.
    """

    kind: Literal["image"] = "image"
    input: str
    steps: tuple[TransformStep, ...] = Field(max_length=MOST_STEPS)


class TextPreprocessing(_Frozen):
    """Turns a sentence into one instance of ``input`` with ``contract.tokenizer``.

    Attributes:
        input: name of the input it feeds; int32, shape (-1,): token ids, at least one, without padding.
        vocabulary: file beside model.json with one token a line; line i (from 0) has id i + 2.
        scheme: how a text is split, see ``contract.tokenizer.split_tokens``.
        max_length: most tokens of one text.
        keep: which end of a longer text is kept.
    """

    kind: Literal["text"] = "text"
    input: str
    scheme: Literal["words", "lines"] = "words"
    vocabulary: str = Field(default="vocabulary.txt", max_length=256)
    max_length: int = Field(ge=1, le=LONGEST_TEXT)
    keep: Literal["first", "last"]


Preprocessing = Annotated[ImagePreprocessing | TextPreprocessing, Field(discriminator="kind")]


class Classification(_Frozen):
    """Says that ``output`` holds one probability per label.

    Attributes:
        output: name of a float32 output of shape (classes,).
        labels: the classes in the order of the output.
    """

    kind: Literal["classification"] = "classification"
    output: str
    labels: tuple[str, ...] = Field(min_length=2, max_length=MOST_LABELS)


class NextToken(_Frozen):
    """Says that ``output`` holds the probability that a token comes next, for each id from 1 up.

    Attributes:
        output: name of a float32 output of shape (ids - 1,): padding, id 0, never comes next.
    """

    kind: Literal["next-token"] = "next-token"
    output: str


Postprocessing = Annotated[Classification | NextToken, Field(discriminator="kind")]


class BatchingHints(_Frozen):
    """What training knows about batching; serving.json overrides it.

    Attributes:
        max_batch_size: most instances in one backend call. It is a hint: what is above the service's own limits is cut
            to them, so that a version goes on serving where these are lower than on the machine that trained it.
    """

    max_batch_size: int = Field(default=32, ge=1, le=2**31)


class ModelSpec(_Frozen):
    """The contract of one model version: everything a server needs besides the graph."""

    format_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=255)
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
        """How many scores the postprocessing names."""
        if isinstance(step, Classification):
            return len(step.labels)
        text = self.preprocessing
        largest = self.input(text.input).maximum if isinstance(text, TextPreprocessing) else None
        if largest is None or not largest.is_integer():
            raise ValueError("the next token wants a text model whose one input states its largest id")
        return int(largest)

    def input(self, name: str) -> TensorSpec:
        """The input called ``name``; KeyError if there is none (our mistake, not a client's)."""
        return next(tensor for tensor in self.inputs if tensor.name == name)

    def output(self, name: str) -> TensorSpec:
        """The output called ``name``; KeyError if there is none."""
        return self._outputs_by_name[name]

    @cached_property
    def sequence(self) -> str | None:
        """The input whose rows have a length of their own and may be padded: a single one, of texts; else None."""
        step = self.preprocessing
        return step.input if isinstance(step, TextPreprocessing) and len(self.inputs) == 1 else None

    @cached_property
    def _outputs_by_name(self) -> dict[str, TensorSpec]:
        return {tensor.name: tensor for tensor in self.outputs}

    def write(self, directory: Path) -> None:
        """Write model.json into ``directory``."""
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
            path: where they come from, for messages.
            data: at most ``SPEC_LIMIT_BYTES``.

        Raises:
            VersionRefused: they are not JSON, or break a rule above.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            what = f"{where}: {first['msg']}"[:_LONGEST_MESSAGE]
            raise VersionRefused(f"{path}: {what}") from error


def _check_scores(scores: TensorSpec, columns: int) -> None:
    """Refuse an output that does not hold one score per label."""
    if scores.dtype != "float32" or scores.shape != (columns,):
        raise ValueError(
            f"{columns} labels want a float32 output of shape ({columns},), "
            f"{scores.name!r} is {scores.dtype} {scores.shape}"
        )


def _check_target(step: ImagePreprocessing | TextPreprocessing, target: TensorSpec) -> None:
    """Refuse an input that the pre-processing cannot feed."""
    if isinstance(step, TextPreprocessing):
        if target.dtype != "int32" or target.shape != (-1,):
            raise ValueError(
                f"text wants an int32 input of shape (-1,), {target.name!r} is {target.dtype} {target.shape}"
            )
    elif target.dtype != "uint8" or target.is_variable or not _is_image(target.shape):
        raise ValueError(
            f"an image wants a uint8 input of shape (height, width) or (height, width, 3), "
            f"{target.name!r} is {target.dtype} {target.shape}"
        )
    elif max(target.shape[:2]) > LONGEST_EDGE or prod(target.shape[:2]) > MOST_PIXELS:
        raise ValueError(
            f"an image input has at most {MOST_PIXELS} pixels and {LONGEST_EDGE} along an edge, "
            f"{target.name!r} is {target.shape}"
        )


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)
