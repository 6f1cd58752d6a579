"""Conversions of single TensorFlow operations that tf2onnx 1.17 lacks, or that change answers."""

from collections.abc import Callable
from typing import Any

Handler = tuple[Callable[..., None], list[Any]]


def handlers() -> dict[str, Handler]:
    """TensorFlow operation -> its conversion, in the form of tf2onnx's ``custom_op_handlers``."""
    return {
        "Select": (_where, []),
        "SelectV2": (_where, []),
        "Erfc": (_erfc, []),
        "Equal": (_equal, []),
        "TensorScatterAdd": (_scatter_add, []),
    }


def _where(ctx: Any, node: Any, name: str, args: Any) -> None:
    """``tf.where`` as Where. tf2onnx adds products with 0 and 1: NaN or infinity at the side not chosen gives NaN.

    Source: tf2onnx 1.17, onnx_opset/controlflow.py: its own conversion uses Where for a node with this attribute.
    """
    from tf2onnx.onnx_opset.controlflow import Select

    node.set_attr("handles_nan", True)
    Select.version_9(ctx, node)


def _equal(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Strings compared with constant ones, which Equal of ONNX can only do from opset 19 on; others as tf2onnx does it.

    LabelEncoder of ai.onnx.ml turns the strings into the places of the constants, or -1, and these are compared.
    """
    import numpy as np
    from onnx import TensorProto
    from tf2onnx.onnx_opset.logical import Equal
    from tf2onnx.utils import make_name

    constant = [place for place in (0, 1) if node.inputs[place].is_const()]
    if ctx.get_dtype(node.input[0]) != TensorProto.STRING or not constant:
        Equal.version_11(ctx, node)
        return
    keys = node.inputs[constant[0]].get_tensor_value(as_list=False)
    (output,), strings = node.output, node.input[1 - constant[0]]
    shape, strings_shape = ctx.get_shape(output), ctx.get_shape(strings)
    places = {key: place for place, key in reversed(list(enumerate(keys.ravel())))}
    ctx.remove_node(node.name)
    attributes = {"keys_strings": list(places), "values_int64s": list(places.values()), "default_int64": -1}
    found = ctx.make_node(
        "LabelEncoder",
        [strings],
        attr=attributes,
        domain="ai.onnx.ml",
        shapes=[strings_shape],
        dtypes=[TensorProto.INT64],
    ).output[0]
    wanted = np.array([places[key] for key in keys.ravel()], np.int64).reshape(keys.shape)
    constants = ctx.make_const(make_name("places"), wanted).output[0]
    ctx.make_node("Equal", [found, constants], outputs=[output], shapes=[shape], dtypes=[TensorProto.BOOL])


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """1 - erf(x), which the exact gelu reads; erfc itself is not an ONNX operation."""
    import numpy as np
    from tf2onnx.utils import make_name, map_onnx_to_numpy_type

    (x,), (output,) = node.input, node.output
    shape, dtype = ctx.get_shape(output), ctx.get_dtype(output)
    ctx.remove_node(node.name)
    one = ctx.make_const(make_name("one"), np.array(1, map_onnx_to_numpy_type(dtype))).output[0]
    erf = ctx.make_node("Erf", [x], shapes=[shape], dtypes=[dtype]).output[0]
    ctx.make_node("Sub", [one, erf], outputs=[output], shapes=[shape], dtypes=[dtype])


def _scatter_add(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Slices added at places of a tensor: tensor (d0, d1, ..., rest), places (..., depth), slices (..., rest).

    As ScatterElements over rows of slices. tf2onnx makes ScatterND of it, whose places ONNX Runtime divides among
    threads; two of them may add to one place at the same time, and one sum is lost (ONNX Runtime 1.31.1, found with two
    threads and a million numbers).
    """
    import numpy as np
    from onnx import TensorProto
    from tf2onnx.utils import make_name

    (output,), (tensor, places, slices) = node.output, node.input
    shape, dtype, depth = ctx.get_shape(output), ctx.get_dtype(output), ctx.get_shape(places)[-1]
    ctx.remove_node(node.name)

    def made(kind: str, inputs: list[str], gives: int = TensorProto.INT64, **attr: Any) -> str:
        return str(ctx.make_node(kind, inputs, attr=attr, dtypes=[gives], shapes=[None]).output[0])

    def constant(*numbers: int) -> str:
        return str(ctx.make_const(make_name("numbers"), np.array(numbers, np.int64)).output[0])

    sizes, places = made("Shape", [tensor]), made("Cast", [places], to=TensorProto.INT64)
    row = made("Gather", [places, constant(0)], axis=-1)
    for axis in range(1, depth):
        size, place = made("Gather", [sizes, constant(axis)]), made("Gather", [places, constant(axis)], axis=-1)
        row = made("Add", [made("Mul", [row, size]), place])
    rest = made("Slice", [sizes, constant(depth), constant(2**31)])
    across = made("Concat", [constant(-1), made("ReduceProd", [rest], keepdims=1)], axis=0)
    added = made("Reshape", [slices, across], dtype)
    rows = made("Expand", [made("Reshape", [row, constant(-1, 1)]), made("Shape", [added])])
    sums = made(
        "ScatterElements", [made("Reshape", [tensor, across], dtype), rows, added], dtype, axis=0, reduction="add"
    )
    ctx.make_node("Reshape", [sums, sizes], outputs=[output], shapes=[shape], dtypes=[dtype])
