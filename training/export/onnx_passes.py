"""Passes between tf2onnx and the published file: the masked LSTM, scales folded into weights, weights used twice.

Masked LSTM. A Keras LSTM behind ``Embedding(mask_zero=True)`` becomes an ONNX ``Loop`` that steps through the text
one op at a time. Built without the mask, with the same weights, it becomes the fused ``LSTM`` op; fed with
``sequence_lens`` = number of non-zero ids, and read through ``Y_h`` (the state after each row's own last token),
that op gives exactly the result of the mask, as long as padding comes after the text.

``python -m benchmarks lstm`` measures the pass against the loop; docs/explanation/performance.md has the
table. Of its parts, and of another pass, on ONNX Runtime 1.31.1, one thread, medians of runs in random order:

- Leaving out the zero initial states, instead of computing them from the batch size: 3 to 15 % less for one row.
- Folding a batch normalisation after a dense layer into its weights (``fold_scales``), because tf2onnx leaves it as
  Mul and Add, which prevents ONNX Runtime's FusedGemm: 6 % less for one row of the 512-256 MLP, 3 % for 32.

Tried and left out: reversing the ids before the embedding instead of the vectors after it (no difference);
moving the last Transpose of a convolutional network into the dense weights (below 1 %: ONNX Runtime absorbs it in
its own blocked layout); folding the rescaling of pixels into the first dense layer (2 %, but three times the
rounding difference from Keras). ONNX Runtime itself fuses Conv and Relu at load; tf2onnx folds batch normalisation
into convolutions and turns channels only once on the way in and once before the dense layer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from training.export.onnx_graph import GraphEdit, PassFailed

SEQUENCE_LENS, INITIAL_H, INITIAL_C = 4, 5, 6  # inputs of the ONNX operation LSTM
Y, Y_H = 0, 1  # its outputs


def has_mask(model: Any) -> bool:
    """Whether a layer of the Keras model derives a mask from the ids (``mask_zero=True``)."""
    return any(getattr(layer, "mask_zero", False) for layer in model.submodules)


@contextmanager
def without_mask(model: Any) -> Iterator[None]:
    """Disable the masks of a Keras model's embeddings for traces in the body."""
    masking = [layer for layer in model.submodules if getattr(layer, "mask_zero", False)]
    for layer in masking:
        layer.mask_zero = False
    try:
        yield
    finally:
        for layer in masking:
            layer.mask_zero = True


def restore_mask(graph: Any, *, ids: str) -> None:
    """Make every LSTM op of ``graph`` stop at the end of its row, in place.

    Args:
        graph: onnx.GraphProto of a model traced ``without_mask``.
        ids: name of the int32 input (batch, length), 0 for padding, which comes only after the text. A row of only
            padding counts as one token, so that the answer is defined.

    Raises:
        PassFailed: a Loop or Scan remains, there is no LSTM, an LSTM reads only backwards, or an answer is taken from
            another step than the last.
    """
    loops = [node.name for node in graph.node if node.op_type in {"Loop", "Scan"}]
    recurrent = [node for node in graph.node if node.op_type == "LSTM"]
    if loops or not recurrent:
        raise PassFailed(
            f"a masked model requires fused LSTM ops and no loop; "
            f"the graph has {len(recurrent)} LSTM and {len(loops)} loops"
        )
    if any(node.op_type == "ReverseSequence" for node in graph.node):
        raise PassFailed("an LSTM that only reads backwards would read the padding first; use Bidirectional instead")
    edit = GraphEdit(graph)
    lengths = _count_ids(edit, ids)
    for node in recurrent:
        while len(node.input) < INITIAL_C + 1:
            node.input.append("")
        node.input[SEQUENCE_LENS] = lengths
        for state in (INITIAL_H, INITIAL_C):
            if edit.is_zero(node.input[state]):
                node.input[state] = ""  # absent means zero; the six nodes that build the zeros become unused
        _answer_from_last_state(edit, node)
    edit.sort_and_prune()


def fold_scales(graph: Any) -> None:
    """Fold a factor per column that follows a dense layer into the layer's weights, in place.

    ``x @ W * a`` becomes ``x @ (W * a)``, if W is constant (inputs, units), a is constant with one factor per unit, and
    nothing else reads ``x @ W`` or W.
    """
    edit = GraphEdit(graph)
    for dense in [node for node in graph.node if node.op_type == "MatMul"]:
        if dense.output[0] in {value.name for value in graph.output}:
            continue
        readers = edit.consumers(dense.output[0])
        weights = edit.constant(dense.input[1])
        if weights is None or weights.ndim != 2 or len(readers) != 1 or readers[0].op_type != "Mul":
            continue
        factors = [value for name in readers[0].input if (value := edit.constant(name)) is not None]
        if len(factors) != 1 or factors[0].size not in {1, weights.shape[1]}:
            continue
        if len(edit.consumers(dense.input[1])) != 1:
            continue
        dense.input[1] = edit.add_constant(weights * factors[0].reshape(1, -1))
        edit.replace(readers[0].output[0], dense.output[0])
    edit.sort_and_prune()


def share_transposed(proto: Any) -> None:
    """Keep one copy of weights that are used both directly and transposed, in place.

    An embedding that also scores the next token becomes ``Gather(E)`` and ``MatMul(x, E')``, with a second initialiser
    E' for E transposed. ``Gemm(x, E)`` transposes by itself, if x has two dimensions.

    Args:
        proto: onnx.ModelProto.
    """
    import onnx

    edit = GraphEdit(proto.graph)
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    matrices = {
        value.name
        for value in (*inferred.input, *inferred.value_info)
        if value.type.tensor_type.HasField("shape") and len(value.type.tensor_type.shape.dim) == 2
    }
    kept: set[str] = set()
    for product in [node for node in proto.graph.node if node.op_type == "MatMul"]:
        x, turned = product.input
        weights = edit.constant(turned)
        if weights is None or weights.ndim != 2 or x not in matrices or turned in kept:
            continue
        original = edit.same_constant(weights.T, turned)
        if original is not None:
            kept.add(original)  # if each is the other's transpose, the other stays unchanged
            edit.replace(product.output[0], edit.add("Gemm", [x, original], transB=1))
    edit.sort_and_prune()


def _count_ids(edit: GraphEdit, ids: str) -> str:
    """int32 (batch,): number of ids that are not 0, at least 1 (LSTM refuses a length of 0 on some providers)."""
    import onnx

    present = edit.add("Cast", [edit.add("Cast", [ids], to=onnx.TensorProto.BOOL)], to=onnx.TensorProto.INT32)
    count = edit.add("ReduceSum", [present, edit.add_constant(np.array([1], np.int64))], keepdims=0)
    return edit.add("Max", [count, edit.add_constant(np.array([1], np.int32))])


def _answer_from_last_state(edit: GraphEdit, node: Any) -> None:
    """Replace reads of one step of Y (steps, directions, batch, units) by reads of Y_h.

    The forward direction ends in Y's last step, the backward one in its first. With padding after the text, the last
    step of a shorter row is not its last token, while Y_h always is.
    """
    while len(node.output) < Y_H + 1:
        node.output.append("")
    state = node.output[Y_H] or edit.fresh("state")
    node.output[Y_H] = state
    for direction, step, answer in list(_picked_steps(edit, node.output[Y])):
        if step != (-1 if direction == 0 else 0):
            raise PassFailed(f"direction {direction} of an LSTM is read at step {step}, which padding would shift")
        last = edit.add_constant(np.array(direction, np.int64))
        edit.replace(answer, edit.add("Gather", [state, last], axis=0))


def _picked_steps(edit: GraphEdit, sequence: str) -> Iterator[tuple[int, int, str]]:
    """(direction, step, tensor) for every tensor (batch, units) that is one step of an LSTM's Y."""
    for direction, one_way in _one_direction(edit, sequence):
        for step in edit.consumers(one_way):
            bounds = _slice_bounds(edit, step)
            if bounds is None or bounds[0] != 0:
                continue
            for squeeze in edit.consumers(step.output[0]):
                if squeeze.op_type == "Squeeze" and _axes(edit, squeeze) == [0]:
                    yield direction, bounds[1], squeeze.output[0]


def _one_direction(edit: GraphEdit, sequence: str) -> Iterator[tuple[int, str]]:
    """(direction, tensor) for every tensor (steps, batch, units) that is one direction of Y."""
    for node in edit.consumers(sequence):
        if node.op_type == "Squeeze" and _axes(edit, node) == [1]:
            yield 0, node.output[0]
        bounds = _slice_bounds(edit, node)
        if bounds is not None and bounds[0] == 1:
            for squeeze in edit.consumers(node.output[0]):
                if squeeze.op_type == "Squeeze" and _axes(edit, squeeze) == [1]:
                    yield bounds[1], squeeze.output[0]


def _slice_bounds(edit: GraphEdit, node: Any) -> tuple[int, int] | None:
    """(axis, index) if ``node`` selects a single element of one axis, else None."""
    if node.op_type != "Slice" or len(node.input) < 4:
        return None
    starts, ends, axes = (edit.constant(name) for name in node.input[1:4])
    if starts is None or ends is None or axes is None or len(starts) != 1:
        return None
    start, end = int(starts[0]), int(ends[0])
    single = end == start + 1 or (start == -1 and end > 0)
    return (int(axes[0]), start) if single else None


def _axes(edit: GraphEdit, node: Any) -> list[int]:
    value = edit.constant(node.input[1]) if len(node.input) > 1 else None
    return [] if value is None else [int(axis) for axis in value]
