"""Conversions of single TensorFlow operations that tf2onnx 1.17 lacks, or that change answers."""

from collections.abc import Callable
from typing import Any

Handler = tuple[Callable[..., None], list[Any]]


def handlers() -> dict[str, Handler]:
    """TensorFlow operation -> its conversion, in the form of tf2onnx's ``custom_op_handlers``."""
    return {"Select": (_where, []), "SelectV2": (_where, []), "Erfc": (_erfc, [])}


def _where(ctx: Any, node: Any, name: str, args: Any) -> None:
    """``tf.where`` as Where. tf2onnx adds products with 0 and 1: NaN or infinity at the side not chosen gives NaN.

    Source: tf2onnx 1.17, onnx_opset/controlflow.py: its own conversion uses Where for a node with this attribute.
    """
    from tf2onnx.onnx_opset.controlflow import Select

    node.set_attr("handles_nan", True)
    Select.version_9(ctx, node)


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
