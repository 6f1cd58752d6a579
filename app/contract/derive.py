"""The contract of a model that comes without model.json, derived from what its graph says. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from app.contract.dtypes import NAMES, DType
from app.contract.files.regular import shown
from app.contract.model_spec import ModelSpec
from app.contract.steps import BatchingHints
from app.contract.tensor_spec import TensorSpec
from app.errors import VersionRefused

_DTYPES: dict[str, DType] = {names.onnx: dtype for dtype, names in NAMES.items()}
_NOT_KNOWN = "not known: the version has no model.json"


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output as a graph declares it.

    Attributes:
        name: as in the graph.
        onnx_type: in ONNX Runtime's words, such as ``tensor(float)``.
        shape: with the batch; a size that varies is None.
    """

    name: str
    onnx_type: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Inputs and outputs of a graph."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


def derive(name: str, facts: GraphFacts) -> ModelSpec:
    """The contract of model ``name``.

    The first dimension of every tensor is the batch. Where the graph fixes it at 1, instances run one at a time
    (``batching.max_batch_size`` is 1).

    Raises:
        VersionRefused: a tensor has no batch dimension, one of another size, or elements that are not numbers; or a
            limit of model.json is exceeded.
    """
    firsts = {_first_size(kind, tensor) for kind, tensors in _kinds(facts) for tensor in tensors}
    hints = BatchingHints(max_batch_size=1) if 1 in firsts else BatchingHints()
    try:
        return ModelSpec(
            name=name,
            inputs=tuple(_spec("input", tensor) for tensor in facts.inputs),
            outputs=tuple(_spec("output", tensor) for tensor in facts.outputs),
            batching=hints,
            opset=1,
            trained_on=_NOT_KNOWN,
        )
    except ValidationError as error:
        raise VersionRefused(f"the graph does not make a contract: {error.errors()[0]['msg']}") from error


def _kinds(facts: GraphFacts) -> Sequence[tuple[str, Sequence[TensorFacts]]]:
    return ("input", facts.inputs), ("output", facts.outputs)


def _first_size(kind: str, tensor: TensorFacts) -> int | None:
    if not tensor.shape or tensor.shape[0] not in {None, 1}:
        shape = [size if size is not None else "any" for size in tensor.shape]
        raise VersionRefused(
            f"{kind} {shown(tensor.name)!r} has shape {shape}; its first dimension must be the batch: of any size, or 1"
        )
    return tensor.shape[0]


def _spec(kind: str, tensor: TensorFacts) -> TensorSpec:
    dtype = _DTYPES.get(tensor.onnx_type)
    if dtype is None:
        hint = "; export a scikit-learn classifier with zipmap=False" if tensor.onnx_type.startswith("seq(map") else ""
        raise VersionRefused(
            f"{kind} {shown(tensor.name)!r} is a {tensor.onnx_type}; tensors of {', '.join(NAMES)} are served{hint}"
        )
    shape = tuple(-1 if size is None else size for size in tensor.shape[1:])
    return TensorSpec(name=tensor.name, dtype=dtype, shape=shape, finite=False)
