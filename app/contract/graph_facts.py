"""Inputs and outputs of a graph as it declares them, and as the settings of another server state them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.contract.dtypes import NAMES
from app.types import Tensors

# The signature of a SavedModel that answers if nothing names another one; that of every graph with a single one.
SIGNATURE = "serving_default"
_ONNX_TYPES: dict[str, str] = {names.onnx: dtype for dtype, names in NAMES.items()}


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output as a graph declares it.

    Attributes:
        name: as in the graph.
        element: element type as model.json names it; as the runtime names it if it is not one of these.
        shape: with the batch; a size that varies is None. None: even the number of dimensions is unknown.
        graph_shape: that of one instance in the graph, if ``shape`` is another one, for clients.
        optional: whether the graph has a default for this input.
        utf8: whether its strings must be UTF-8.
        default: it, as TensorFlow's JSON of a TensorProto; None if there is none, or the runtime does not tell.
    """

    name: str
    element: str
    shape: tuple[int | None, ...] | None
    graph_shape: tuple[int, ...] | None = None
    optional: bool = False
    utf8: bool = False
    default: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Inputs and outputs of a graph."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]

    @property
    def required(self) -> tuple[TensorFacts, ...]:
        """The inputs without a default."""
        return tuple(tensor for tensor in self.inputs if not tensor.optional)

    @property
    def defaults(self) -> dict[str, Mapping[str, Any]]:
        """Input name -> its default, of those that are known."""
        return {tensor.name: tensor.default for tensor in self.inputs if tensor.default is not None}


def facts_of_onnx(nodes: Iterable[Any], *, optional: bool = False) -> tuple[TensorFacts, ...]:
    """The inputs or outputs of a session of ONNX Runtime. A size that has a name varies.

    Args:
        nodes: as the session describes them.
        optional: whether they are its overridable initializers.
    """
    return tuple(
        TensorFacts(
            node.name,
            _ONNX_TYPES.get(node.type, node.type),
            tuple(size if isinstance(size, int) else None for size in node.shape),
            optional=optional,
        )
        for node in nodes
    )


@dataclass(frozen=True, slots=True)
class StatedTensor:
    """An input or output as the settings of another server state it.

    Attributes:
        name: as in the graph.
        triton_type: as Triton names it, such as ``TYPE_FP32``.
        shape: without the batch if there is one; a size that varies is -1.
        graph_shape: that of the graph, if clients see another one.
        optional: whether requests may leave out this input.
    """

    name: str
    triton_type: str
    shape: tuple[int, ...]
    graph_shape: tuple[int, ...] | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """Facts of a graph that the settings of another server state.

    Attributes:
        max_batch_size: most instances of a batch; 0: the graph has no batch dimension.
        inputs, outputs: empty if nothing is stated of them; outputs may be some of those of the graph.
        labels: an output and the names of its scores; None without them.
        samples: input name -> (rows, *shape), which are known to run; None without them.
        signature: of a SavedModel.
    """

    max_batch_size: int
    inputs: tuple[StatedTensor, ...] = ()
    outputs: tuple[StatedTensor, ...] = ()
    labels: tuple[str, tuple[str, ...]] | None = None
    samples: Tensors | None = None
    signature: str = SIGNATURE
