"""Passes between tf2onnx and the published file: scales folded into weights, weights used twice.

On ONNX Runtime 1.31.1, one thread, medians of runs in random order: folding a batch normalisation after a dense layer
into its weights (``fold_scales``), because tf2onnx leaves it as Mul and Add, which prevents ONNX Runtime's FusedGemm,
takes 6 % less for one row of the 512-256 MLP, 3 % for 32.

Tried and left out: reversing the ids before the embedding instead of the vectors after it (no difference);
moving the last Transpose of a convolutional network into the dense weights (below 1 %: ONNX Runtime absorbs it in
its own blocked layout); folding the rescaling of pixels into the first dense layer (2 %, but three times the
rounding difference from Keras). ONNX Runtime itself fuses Conv and Relu at load; tf2onnx folds batch normalisation
into convolutions and turns channels only once on the way in and once before the dense layer.
"""

from typing import Any

from training.export.onnx_graph import GraphEdit


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
