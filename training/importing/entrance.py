"""Layers in front of an imported graph: pixels or token ids, as clients send them, become the input of the model.

The same conversion exists three times, for numpy, TensorFlow and ONNX; every made format is compared with the first.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from app.contract.tensor_spec import TensorSpec
from app.types import Array
from training.errors import SourceRefused

Layout = Literal["same", "grey", "channels_first", "grey_first"]

_CHANNEL_AXIS: dict[Layout, int] = {"grey": -1, "grey_first": 1}


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """A conversion of one input.

    Attributes:
        target: the input of the contract.
        source: the input of the model.
        layout: where the channels are in the model; a grey image of the contract has none.
        mean, std: a pixel becomes (pixel - mean) / std; one number, or one per channel; empty: unchanged.
    """

    target: TensorSpec
    source: TensorSpec
    layout: Layout = "same"
    mean: tuple[float, ...] = field(default=())
    std: tuple[float, ...] = field(default=())

    def _scale(self) -> tuple[Array, Array] | None:
        """Mean and standard deviation, float32, before the channels change their place; None: no scaling."""
        if not self.mean and not self.std:
            return None
        return np.array(self.mean or (0.0,), np.float32), np.array(self.std or (1.0,), np.float32)

    def numpy(self, values: Array) -> Array:
        """(rows, *target.shape) to (rows, *source.shape)."""
        if (scale := self._scale()) is not None:
            values = (values.astype(np.float32) - scale[0]) / scale[1]
        values = values.astype(self.source.numpy_dtype)
        if self.layout == "channels_first":
            return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        axis = _CHANNEL_AXIS.get(self.layout)
        return values if axis is None else np.expand_dims(values, axis)

    def tensorflow(self, tensor: Any) -> Any:
        """The same for a tensor of TensorFlow."""
        import tensorflow as tf

        if (scale := self._scale()) is not None:
            tensor = (tf.cast(tensor, tf.float32) - scale[0]) / scale[1]
        tensor = tf.cast(tensor, tf.as_dtype(self.source.dtype))
        if self.layout == "channels_first":
            return tf.transpose(tensor, (0, 3, 1, 2))
        axis = _CHANNEL_AXIS.get(self.layout)
        return tensor if axis is None else tf.expand_dims(tensor, axis)

    def add_to_onnx(self, proto: Any) -> None:
        """Put the same before the input of an ``onnx.ModelProto``, in place.

        Raises:
            SourceRefused: the graph has a tensor of the name of the contract's input.
        """
        from onnx import TensorProto, helper, numpy_helper

        graph = proto.graph
        names = {name for node in graph.node for name in (*node.input, *node.output)}
        names |= {value.name for value in (*graph.input, *graph.initializer)}
        if self.target.name in names:
            raise SourceRefused(f"the graph has a tensor {self.target.name!r}, which is the name of the new input")
        nodes, here = [], self.target.name

        def add(op: str, *constants: Array, **attributes: Any) -> None:
            nonlocal here
            parts = []
            for number, value in enumerate(constants):
                name = f"{self.target.name}/{op}/{number}"
                graph.initializer.append(numpy_helper.from_array(value, name))
                parts.append(name)
            nodes.append(helper.make_node(op, [here, *parts], [f"{self.target.name}/{op}"], **attributes))
            here = nodes[-1].output[0]

        if (scale := self._scale()) is not None:
            add("Cast", to=TensorProto.FLOAT)
            add("Sub", scale[0])
            add("Div", scale[1])
        if scale is None or self.source.dtype != "float32":
            to = helper.np_dtype_to_tensor_dtype(self.source.numpy_dtype)
            nodes.append(helper.make_node("Cast", [here], [f"{self.target.name}/as {self.source.dtype}"], to=to))
            here = nodes[-1].output[0]
        if self.layout == "channels_first":
            add("Transpose", perm=[0, 3, 1, 2])
        elif (axis := _CHANNEL_AXIS.get(self.layout)) is not None:
            add("Unsqueeze", np.array([axis], np.int64))
        nodes[-1].output[0] = self.source.name
        [old] = [value for value in graph.input if value.name == self.source.name]
        graph.input.remove(old)
        dtype = helper.np_dtype_to_tensor_dtype(self.target.numpy_dtype)
        sizes = ["length" if size == -1 else size for size in self.target.shape]
        graph.input.insert(0, helper.make_tensor_value_info(self.target.name, dtype, ["batch", *sizes]))
        for node in reversed(nodes):
            graph.node.insert(0, node)
