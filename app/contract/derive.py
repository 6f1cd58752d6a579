"""The contract of a model that comes without model.json, derived from what its graph says. Pure."""

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


def derive(name: str, facts: GraphFacts) -> tuple[ModelSpec, str]:
    """The contract of model ``name``, and why its requests cannot share a batch; empty if they may.

    If the first dimension of every tensor varies, it is taken for the batch. If it is 1 in every tensor, instances run
    one at a time. Otherwise there is no batch dimension, and each request runs as a whole.

    Raises:
        VersionRefused: the elements of a tensor are not numbers, or a limit of model.json is exceeded.
    """
    firsts = {tensor.shape[:1] for tensor in (*facts.inputs, *facts.outputs)}
    if firsts == {(None,)}:
        return _contract(name, facts, BatchingHints(), batched=True), ""
    alone = BatchingHints(max_batch_size=1)
    if firsts == {(1,)}:
        return _contract(name, facts, alone, batched=True), "the graph fixes its first dimension at 1"
    return _contract(name, facts, alone, batched=False), "its tensors do not share a first dimension that varies"


def without_batch(spec: ModelSpec) -> ModelSpec:
    """The contract of a graph whose first dimension turns out not to be a batch: it is a dimension that varies."""

    def whole(tensor: TensorSpec) -> TensorSpec:
        return TensorSpec(
            name=tensor.name, dtype=tensor.dtype, shape=(-1, *tensor.shape), finite=tensor.finite, batched=False
        )

    return ModelSpec(
        name=spec.name,
        inputs=tuple(map(whole, spec.inputs)),
        outputs=tuple(map(whole, spec.outputs)),
        batching=BatchingHints(max_batch_size=1),
        opset=spec.opset,
        trained_on=spec.trained_on,
    )


def _contract(name: str, facts: GraphFacts, hints: BatchingHints, *, batched: bool) -> ModelSpec:
    try:
        return ModelSpec(
            name=name,
            inputs=tuple(_spec("input", tensor, batched=batched) for tensor in facts.inputs),
            outputs=tuple(_spec("output", tensor, batched=batched) for tensor in facts.outputs),
            batching=hints,
            opset=1,
            trained_on=_NOT_KNOWN,
        )
    except ValidationError as error:
        raise VersionRefused(f"the graph does not make a contract: {error.errors()[0]['msg']}") from error


def _spec(kind: str, tensor: TensorFacts, *, batched: bool) -> TensorSpec:
    dtype = _DTYPES.get(tensor.onnx_type)
    if dtype is None:
        hint = "; export a scikit-learn classifier with zipmap=False" if tensor.onnx_type.startswith("seq(map") else ""
        raise VersionRefused(
            f"{kind} {shown(tensor.name)!r} is a {tensor.onnx_type}; tensors of {', '.join(NAMES)} are served{hint}"
        )
    shape = tuple(-1 if size is None else size for size in tensor.shape)
    return TensorSpec(
        name=tensor.name, dtype=dtype, shape=shape[1:] if batched else shape, finite=False, batched=batched
    )
