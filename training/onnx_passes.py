"""Graph surgery between tf2onnx and the published file: the masked LSTM, and names that do not depend on chance.

Masked LSTM. A Keras LSTM behind ``Embedding(mask_zero=True)`` becomes an ONNX ``Loop`` that steps through the text
one op at a time. Built without the mask, with the same weights, it becomes the fused ``LSTM`` op; fed with
``sequence_lens`` = number of non-zero ids, and read through ``Y_h`` (the state after each row's own last token),
that op gives exactly what the mask gives, as long as padding stands after the text.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from app.contract.model_spec import TensorSpec
from training.errors import TrainingError

SEQUENCE_LENS, INITIAL_H, INITIAL_C = 4, 5, 6  # inputs of the ONNX operation LSTM
Y, Y_H = 0, 1  # its outputs


class PassFailed(TrainingError):
    """The graph does not have the form that a pass needs; the message says what was found."""


def has_mask(model: Any) -> bool:
    """Whether a layer of the Keras model derives a mask from the ids (``mask_zero=True``)."""
    return any(getattr(layer, "mask_zero", False) for layer in model._flatten_layers(include_self=False))


def without_mask(model: Any) -> Any:
    """A copy of a Sequential or functional Keras model, with the same weights, whose embeddings give no mask."""
    import tf_keras

    def unmasked(layer: Any) -> Any:
        config = layer.get_config()
        if config.get("mask_zero"):
            config["mask_zero"] = False
        return type(layer).from_config(config)

    copy = tf_keras.models.clone_model(model, clone_function=unmasked)
    copy.set_weights(model.get_weights())
    return copy


def restore_mask(graph: Any, *, ids: str) -> None:
    """Make every LSTM op of ``graph`` stop at the end of its row, in place.

    Args:
        graph: onnx.GraphProto of a model built by ``without_mask``.
        ids: name of the int32 input (batch, length), 0 for padding, which stands only after the text. A row of
            nothing but padding counts as one token, so that the answer is defined.

    Raises:
        PassFailed: a Loop or Scan is left, no LSTM is there, one reads only backwards, or an answer is taken from
            another step than the last.
    """
    loops = [node.name for node in graph.node if node.op_type in {"Loop", "Scan"}]
    recurrent = [node for node in graph.node if node.op_type == "LSTM"]
    if loops or not recurrent:
        raise PassFailed(
            f"a masked model wants fused LSTM ops and no loop; "
            f"the graph has {len(recurrent)} LSTM and {len(loops)} loops"
        )
    if any(node.op_type == "ReverseSequence" for node in graph.node):
        raise PassFailed("an LSTM that only reads backwards would meet the padding first; use Bidirectional or turn it")
    edit = _Edit(graph)
    lengths = _count_ids(edit, ids)
    for node in recurrent:
        while len(node.input) < INITIAL_C + 1:
            node.input.append("")
        node.input[SEQUENCE_LENS] = lengths
        for state in (INITIAL_H, INITIAL_C):
            if edit.is_zero(node.input[state]):
                node.input[state] = ""  # absent means zero; the six nodes that build the zeros fall away
        _answer_from_last_state(edit, node)
        _transpose_ids_instead(edit, node, ids)
    edit.sort_and_prune()


def canonicalise(proto: Any, *, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Give nodes and tensors names that follow from the graph alone, in place; drop what does not compute.

    tf2onnx names tensors after Keras layers and running numbers, both of which depend on what else the process
    built before. Nodes come in the order in which a depth-first walk from the outputs completes them. Inputs and
    outputs stand in the order of the spec; the free dimensions are called ``batch`` and ``length``.

    Raises:
        PassFailed: the graph's inputs or outputs are not those of the spec.
    """
    graph = proto.graph
    for kind, found, wanted in (("inputs", graph.input, inputs), ("outputs", graph.output, outputs)):
        if {value.name for value in found} != {tensor.name for tensor in wanted}:
            raise PassFailed(
                f"{kind} are {sorted(value.name for value in found)}, "
                f"the spec names {sorted(tensor.name for tensor in wanted)}"
            )
    _Edit(graph).sort_and_prune([tensor.name for tensor in outputs])
    _rename(graph, {tensor.name for tensor in (*inputs, *outputs)})
    del graph.value_info[:]
    several = sum(tensor.is_variable for tensor in inputs) > 1
    _set_signature(graph.input, inputs, several=several)
    _set_signature(graph.output, outputs, several=several)
    graph.name, graph.doc_string, proto.doc_string = name, "", ""
    used = {node.domain for node in graph.node}
    for index in reversed(range(len(proto.opset_import))):
        if proto.opset_import[index].domain not in used:
            del proto.opset_import[index]


class _Edit:
    """Lookups in an ONNX graph, and the edits that the passes share."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.made = 0

    def producer(self, tensor: str) -> Any | None:
        return next((node for node in self.graph.node if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[Any]:
        return [node for node in self.graph.node if tensor in node.input]

    def constant(self, tensor: str) -> np.ndarray[Any, Any] | None:
        """Value of an initialiser, None if the tensor is computed."""
        import onnx

        found = next((value for value in self.graph.initializer if value.name == tensor), None)
        return None if found is None else onnx.numpy_helper.to_array(found)

    def is_zero(self, tensor: str) -> bool:
        """Whether a tensor is 0 all over, seen through the ops that only repeat or reshape it."""
        value = self.constant(tensor)
        if value is not None:
            return not value.any()
        node = self.producer(tensor)
        if node is None:
            return False
        if node.op_type == "Concat":
            return all(self.is_zero(part) for part in node.input)
        return node.op_type in {"Expand", "Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity"} and self.is_zero(
            node.input[0]
        )

    def add_constant(self, value: np.ndarray[Any, Any]) -> str:
        import onnx

        name = self._fresh("constant")
        self.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node of one output; returns the output's name."""
        import onnx

        output = self._fresh(op)
        self.graph.node.append(onnx.helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def replace(self, old: str, new: str) -> None:
        """Let everything that reads ``old`` read ``new``; ``old`` is no graph output here."""
        for node in self.graph.node:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new

    def sort_and_prune(self, outputs: Sequence[str] | None = None) -> None:
        """Order nodes so that each stands after what it reads, and drop whatever no output depends on."""
        wanted = outputs or [value.name for value in self.graph.output]
        producer = {name: node for node in self.graph.node for name in node.output if name}
        ordered: list[Any] = []
        seen: set[int] = set()
        for output in wanted:
            _visit(output, producer, ordered, seen)
        used = {name for node in ordered for name in node.input} | set(wanted)
        constants = {value.name: value for value in self.graph.initializer}
        kept = dict.fromkeys(name for node in ordered for name in node.input if name in constants)
        nodes, values = list(ordered), [constants[name] for name in kept]
        for node in nodes:  # an output that nobody reads is not computed if it has no name
            for index, name in enumerate(node.output):
                if name not in used and len(node.output) > 1:
                    node.output[index] = ""
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(values)

    def _fresh(self, kind: str) -> str:
        self.made += 1
        return f"atelier_{kind.lower()}_{self.made}"


def _visit(tensor: str, producer: dict[str, Any], ordered: list[Any], seen: set[int]) -> None:
    """Append the node behind ``tensor`` to ``ordered``, after all that it needs. Iterative: graphs can be deep."""
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


def _count_ids(edit: _Edit, ids: str) -> str:
    """int32 (batch,): number of ids that are not 0, at least 1 (LSTM refuses a length of 0 on some providers)."""
    import onnx

    present = edit.add("Cast", [edit.add("Cast", [ids], to=onnx.TensorProto.BOOL)], to=onnx.TensorProto.INT32)
    count = edit.add("ReduceSum", [present, edit.add_constant(np.array([1], np.int64))], keepdims=0)
    return edit.add("Max", [count, edit.add_constant(np.array([1], np.int32))])


def _answer_from_last_state(edit: _Edit, node: Any) -> None:
    """Where the graph picks one step of Y (steps, directions, batch, units), let it read Y_h instead.

    The forward direction ends in Y's last step, the backward one in its first; with padding after the text the
    last step of a shorter row is not its last token, while Y_h always is.
    """
    while len(node.output) < Y_H + 1:
        node.output.append("")
    state = node.output[Y_H] or edit._fresh("state")
    node.output[Y_H] = state
    for direction, step, answer in list(_picked_steps(edit, node.output[Y])):
        if step != (-1 if direction == 0 else 0):
            raise PassFailed(f"direction {direction} of an LSTM is read at step {step}, which padding would move")
        last = edit.add_constant(np.array(direction, np.int64))
        edit.replace(answer, edit.add("Gather", [state, last], axis=0))


def _picked_steps(edit: _Edit, sequence: str) -> Iterator[tuple[int, int, str]]:
    """(direction, step, tensor) for every tensor (batch, units) that is one step of an LSTM's Y."""
    for direction, one_way in _one_direction(edit, sequence):
        for step in edit.consumers(one_way):
            bounds = _slice_bounds(edit, step)
            if bounds is None or bounds[0] != 0:
                continue
            for squeeze in edit.consumers(step.output[0]):
                if squeeze.op_type == "Squeeze" and _axes(edit, squeeze) == [0]:
                    yield direction, bounds[1], squeeze.output[0]


def _one_direction(edit: _Edit, sequence: str) -> Iterator[tuple[int, str]]:
    """(direction, tensor) for every tensor (steps, batch, units) that is one direction of Y."""
    for node in edit.consumers(sequence):
        if node.op_type == "Squeeze" and _axes(edit, node) == [1]:
            yield 0, node.output[0]
        bounds = _slice_bounds(edit, node)
        if bounds is not None and bounds[0] == 1:
            for squeeze in edit.consumers(node.output[0]):
                if squeeze.op_type == "Squeeze" and _axes(edit, squeeze) == [1]:
                    yield bounds[1], squeeze.output[0]


def _slice_bounds(edit: _Edit, node: Any) -> tuple[int, int] | None:
    """(axis, index) if ``node`` cuts a single element out of one axis, else None."""
    if node.op_type != "Slice" or len(node.input) < 4:
        return None
    starts, ends, axes = (edit.constant(name) for name in node.input[1:4])
    if starts is None or ends is None or axes is None or len(starts) != 1:
        return None
    start, end = int(starts[0]), int(ends[0])
    single = end == start + 1 or (start == -1 and end > 0)
    return (int(axes[0]), start) if single else None


def _axes(edit: _Edit, node: Any) -> list[int]:
    value = edit.constant(node.input[1]) if len(node.input) > 1 else None
    return [] if value is None else [int(axis) for axis in value]


def _transpose_ids_instead(edit: _Edit, node: Any, ids: str) -> None:
    """LSTM reads (steps, batch, units): turn the ids around before the embedding, not the vectors after it."""
    turn = edit.producer(node.input[0])
    if turn is None or turn.op_type != "Transpose" or list(turn.attribute[0].ints) != [1, 0, 2]:
        return
    lookup = edit.producer(turn.input[0])
    if lookup is None or lookup.op_type != "Gather" or lookup.input[1] != ids:
        return
    if any(attribute.name == "axis" and attribute.i != 0 for attribute in lookup.attribute):
        return
    turned = edit.add("Transpose", [ids], perm=[1, 0])
    node.input[0] = edit.add("Gather", [lookup.input[0], turned], axis=0)


def _rename(graph: Any, kept: set[str]) -> None:
    """Name nodes ``<op>_<n>``, their outputs alike, and constants after the first node that reads them."""
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


def _set_signature(values: Any, wanted: Sequence[TensorSpec], *, several: bool) -> None:
    """Put graph inputs or outputs in the spec's order, with readable free dimensions."""
    import onnx

    described = []
    for tensor in wanted:
        length = f"{tensor.name}_length" if several else "length"
        shape = ["batch", *(length if size == -1 else size for size in tensor.shape)]
        dtype = onnx.helper.np_dtype_to_tensor_dtype(tensor.numpy_dtype)
        described.append(onnx.helper.make_tensor_value_info(tensor.name, dtype, shape))
    del values[:]
    values.extend(described)
