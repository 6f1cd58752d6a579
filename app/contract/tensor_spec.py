"""One input or output of a model, as model.json states it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.contract.bfloat16 import BFLOAT16, widened
from app.contract.dtypes import NAMES, DType, numpy_dtype, wire_dtype
from app.contract.extent import Extent
from app.contract.strings import MOST_STRINGS, string_array
from app.types import Array

# Largest values that a contract may state. Each is checked before anything is allocated.
LARGEST_INSTANCE_BYTES = 64 * 2**20
LARGEST_SIZE = LARGEST_INSTANCE_BYTES
# Dimensions of one instance.
MOST_DIMENSIONS = 8


class Frozen(BaseModel):
    """A part of model.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values in some fields. Properties that were cached are computed again."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


Size = Annotated[int, Field(ge=-1, le=LARGEST_SIZE)]


class TensorSpec(Frozen):
    """One named input or output.

    Attributes:
        name: tensor name, the same in the SavedModel signature and in the ONNX graph.
        dtype: element type.
        shape: shape of one instance, without the batch; -1 is a length that varies.
        minimum, maximum: inclusive range of every element; None means the range of the dtype (all finite
            values of a floating point type).
        finite: whether NaN and infinity are refused; only inputs of a floating point type may allow them.
        utf8: whether strings must be UTF-8, as ONNX Runtime requires; otherwise they are any bytes. Not in model.json.
        batched: whether tensors have a batch dimension in front; without one, ``shape`` is that of the whole tensor,
            and a request is one instance. Not in model.json.
        graph_shape: shape of one instance in the graph, if clients see another one; None: it is ``shape``. Not in
            model.json.
        optional: whether a request may leave out this input, so that the graph takes its default. Not in model.json.
    """

    name: str = Field(min_length=1, max_length=256)
    dtype: DType
    shape: tuple[Size, ...] = Field(max_length=MOST_DIMENSIONS)
    minimum: float | None = None
    maximum: float | None = None
    finite: bool = True
    utf8: bool = Field(default=False, exclude=True)
    batched: bool = Field(default=True, exclude=True)
    graph_shape: tuple[Size, ...] | None = Field(default=None, max_length=MOST_DIMENSIONS, exclude=True)
    optional: bool = Field(default=False, exclude=True)

    @model_validator(mode="after")
    def _is_not_huge(self) -> Self:
        if 0 in self.shape:
            raise ValueError(f"{self.name!r} has shape {self.shape}; a size is at least 1, or -1")
        fixed = self.extent(1)
        if fixed.nbytes > LARGEST_INSTANCE_BYTES:
            raise ValueError(f"one instance of {self.name!r} has {fixed.in_words}; at most {LARGEST_INSTANCE_BYTES}")
        if fixed.strings > MOST_STRINGS:
            raise ValueError(f"one instance of {self.name!r} has {fixed.strings} strings; at most {MOST_STRINGS}")
        if self.is_string and self.has_range:
            raise ValueError(f"{self.name!r} holds strings, which have no minimum or maximum")
        return self

    @property
    def graph_rank(self) -> int:
        """Dimensions of the tensor in the graph, with the batch if there is one."""
        return len(self.shape if self.graph_shape is None else self.graph_shape) + self.batched

    def extent(self, size: int) -> Extent:
        """What one instance holds in which every variable size is ``size``; strings are empty."""
        return Extent.of(self.numpy_dtype, prod(size if each == -1 else each for each in self.shape))

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype as a numpy dtype; see ``dtypes.numpy_dtype``."""
        return numpy_dtype(self.dtype)

    @property
    def accepts_nan(self) -> bool:
        """Whether an element may be NaN, by which a number is missing."""
        return not self.finite and self.numpy_dtype.kind == "f"

    @cached_property
    def is_string(self) -> bool:
        """Whether the elements are strings."""
        return self.dtype == "string"

    @cached_property
    def is_bfloat16(self) -> bool:
        """Whether the elements are of bfloat16; here they are float32."""
        return self.dtype == BFLOAT16

    @cached_property
    def wire_dtype(self) -> np.dtype[Any]:
        """The dtype in raw bytes; see ``dtypes.wire_dtype``."""
        return wire_dtype(self.dtype)

    def from_bytes(self, data: bytes, shape: tuple[int, ...]) -> Array:
        """A tensor of numbers from its raw bytes, row-major; one of ``shape`` may be -1."""
        values = np.frombuffer(data, self.wire_dtype).reshape(shape)
        return widened(values) if self.is_bfloat16 else values

    @property
    def elements(self) -> int:
        """Elements of one instance of fixed shape."""
        return prod(self.shape)

    @cached_property
    def instance_bytes(self) -> int:
        """Bytes of one instance of fixed shape, as it is sent."""
        return self.wire_dtype.itemsize * prod(self.shape)

    @property
    def oip_datatype(self) -> str:
        """The name of the dtype in the Open Inference Protocol."""
        return NAMES[self.dtype].oip

    @cached_property
    def is_variable(self) -> bool:
        """Whether a dimension of an instance varies from request to request."""
        return -1 in self.shape

    @cached_property
    def has_range(self) -> bool:
        """Whether a value of the array's dtype may be out of the element's range."""
        return self.minimum is not None or self.maximum is not None or self.is_bfloat16

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Shape of the tensors of a request, in the form of Open Inference Protocol metadata."""
        return (-1, *self.shape) if self.batched else self.shape

    def requiring_utf8(self) -> Self:
        """The same tensor, but its strings must be UTF-8."""
        return self.model_copy(update={"utf8": True}) if self.is_string else self

    def string_rows(self, elements: Sequence[bytes]) -> Array:
        """Instances of one string each; a model without a batch dimension has one instance."""
        sizes = (1,) * len(self.shape)
        return string_array(elements, (len(elements), *sizes) if self.batched else sizes)

    @property
    def in_words(self) -> str:
        """Name and instance, for error messages: ``'pixels' (uint8 of shape (28, 28))``."""
        return f"{self.name!r} ({self.instance_in_words}{', optional' if self.optional else ''})"

    @property
    def instance_in_words(self) -> str:
        """One instance in words: ``uint8 of shape (28, 28)``."""
        if not self.shape:
            return f"one {self.dtype}"
        if self.shape == (-1,):
            return f"a list of {self.dtype}"
        sizes = ", ".join("any" if size == -1 else str(size) for size in self.shape)
        return f"{self.dtype} of shape ({sizes}{',' if len(self.shape) == 1 else ''})"
