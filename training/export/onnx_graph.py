"""Edits an ONNX graph in place: lookups, insertions, pruning, and deterministic names."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tensor_spec import TensorSpec
from training.errors import TrainingError


class PassFailed(TrainingError):
    """The graph does not have the form that a pass requires; the message describes what was found."""


class GraphEdit:
    """Lookups in an ONNX graph, and edits shared by the passes."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.made = 0

    def producer(self, tensor: str) -> Any | None:
        """The node that computes a tensor; None for an input or a constant."""
        return next((node for node in self.graph.node if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[Any]:
        """The nodes that read a tensor."""
        return [node for node in self.graph.node if tensor in node.input]

    def constant(self, tensor: str) -> npt.NDArray[Any] | None:
        """Value of an initialiser; None if the tensor is computed."""
        import onnx

        found = next((value for value in self.graph.initializer if value.name == tensor), None)
        return None if found is None else onnx.numpy_helper.to_array(found)

    def same_constant(self, value: npt.NDArray[Any], other_than: str) -> str | None:
        """Name of another initialiser with this value; None without one."""
        for found in self.graph.initializer:
            constant = self.constant(found.name)
            if found.name != other_than and constant is not None and np.array_equal(constant, value):
                return str(found.name)
        return None

    def add_constant(self, value: npt.NDArray[Any]) -> str:
        """Append an initialiser; returns its name."""
        import onnx

        name = self.fresh("constant")
        self.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node of one output; returns the output's name."""
        import onnx

        output = self.fresh(op)
        self.graph.node.append(onnx.helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def replace(self, old: str, new: str) -> None:
        """Replace ``old`` by ``new`` in all its readers, including the outputs of the graph."""
        import onnx

        for node in self.graph.node:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new
        if old in {value.name for value in self.graph.output}:
            for node in self.graph.node:
                for index, name in enumerate(node.output):
                    if name == old:
                        node.output[index] = self.fresh("unused")
            self.graph.node.append(onnx.helper.make_node("Identity", [new], [old]))

    def sort_and_prune(self, outputs: Sequence[str] | None = None) -> None:
        """Order nodes so that each is after its inputs, and drop nodes on which no output depends."""
        needed = outputs or [value.name for value in self.graph.output]
        producer = {name: node for node in self.graph.node for name in node.output if name}
        ordered: list[Any] = []
        seen: set[int] = set()
        for output in needed:
            _visit(output, producer, ordered, seen)
        used = {name for node in ordered for name in node.input} | set(needed)
        constants = {value.name: value for value in self.graph.initializer}
        kept = dict.fromkeys(name for node in ordered for name in node.input if name in constants)
        nodes, values = list(ordered), [constants[name] for name in kept]
        for node in nodes:  # an unread output without a name is not computed
            for index in _optional_outputs(node):
                if node.output[index] not in used:
                    node.output[index] = ""
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(values)

    def fresh(self, kind: str) -> str:
        """An unused tensor name."""
        self.made += 1
        return f"atelier_{kind.lower()}_{self.made}"


def canonicalise(proto: Any, *, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Give nodes and tensors names that depend only on the graph, in place; drop unused nodes.

    tf2onnx names tensors after Keras layers and running numbers, both of which depend on what the process built before.
    Nodes are in the order in which a depth-first walk from the outputs completes them. Inputs and outputs are in the
    order of the spec; the free dimensions are called ``batch`` and ``length``, or after their tensors.

    Raises:
        PassFailed: the graph's inputs or outputs differ from the spec's.
    """
    graph = proto.graph
    for kind, found, expected in (("inputs", graph.input, inputs), ("outputs", graph.output, outputs)):
        if {value.name for value in found} != {tensor.name for tensor in expected}:
            raise PassFailed(
                f"{kind} are {sorted(value.name for value in found)}, "
                f"but the spec names {sorted(tensor.name for tensor in expected)}"
            )
    GraphEdit(graph).sort_and_prune([tensor.name for tensor in outputs])
    _rename(graph, {tensor.name for tensor in (*inputs, *outputs)})
    del graph.value_info[:]
    one = sum(tensor.shape.count(-1) for tensor in inputs) == 1
    _set_signature(graph.input, inputs, one=one)
    _set_signature(graph.output, outputs, one=False)
    graph.name, graph.doc_string, proto.doc_string = name, "", ""
    used = {node.domain for node in graph.node}
    for index in reversed(range(len(proto.opset_import))):
        if proto.opset_import[index].domain not in used:
            del proto.opset_import[index]


def _optional_outputs(node: Any) -> list[int]:
    """Places of the outputs that a node may leave out: not, for example, the values of TopK if only places are read."""
    import onnx

    try:
        stated = onnx.defs.get_schema(node.op_type, domain=node.domain).outputs
    except onnx.defs.SchemaError:
        return []
    option = onnx.defs.OpSchema.FormalParameterOption.Optional
    return [index for index, output in enumerate(stated[: len(node.output)]) if output.option == option]


def _visit(tensor: str, producer: dict[str, Any], ordered: list[Any], seen: set[int]) -> None:
    """Append the node that computes ``tensor`` to ``ordered``, after its inputs. Iterative: graphs can be deep."""
    stack: list[tuple[Any, Iterator[str]]] = []

    def enter(name: str) -> None:
        node = producer.get(name)
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            stack.append((node, iter(list(node.input))))

    enter(tensor)
    while stack:
        node, inputs = stack[-1]
        following = next(inputs, None)
        if following is None:
            ordered.append(node)
            stack.pop()
        else:
            enter(following)


def _rename(graph: Any, kept: set[str]) -> None:
    """Name nodes and their outputs ``<op>_<n>``, and constants after the first node that reads them."""
    names = {name: name for name in kept} | {"": ""}
    constants = {value.name for value in graph.initializer}
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        node.doc_string = ""
        for index, tensor in enumerate(node.input):
            if tensor in constants:
                names.setdefault(tensor, f"{node.name}.{index}")
        for index, tensor in enumerate(node.output):
            names.setdefault(tensor, node.name if index == 0 else f"{node.name}:{index}")
    for node in graph.node:
        node.input[:] = [names[tensor] for tensor in node.input]
        node.output[:] = [names[tensor] for tensor in node.output]
    for value in graph.initializer:
        value.name, value.doc_string = names[value.name], ""


def _set_signature(values: Any, expected: Sequence[TensorSpec], *, one: bool) -> None:
    """Put graph inputs or outputs in the spec's order, with readable names of free dimensions.

    Each has a name of its own, for ONNX Runtime takes dimensions of one name for equal: those of an output may differ
    from those of the input, and height from width.
    """
    import onnx

    described = []
    for tensor in expected:
        places = [place for place, size in enumerate(tensor.shape) if size == -1]
        names = {place: f"{tensor.name}_length{f'_{place}' if len(places) > 1 else ''}" for place in places}
        shape = [
            "batch",
            *("length" if one and size == -1 else names.get(place, size) for place, size in enumerate(tensor.shape)),
        ]
        dtype = onnx.helper.np_dtype_to_tensor_dtype(tensor.numpy_dtype)
        described.append(onnx.helper.make_tensor_value_info(tensor.name, dtype, shape))
    del values[:]
    values.extend(described)
