"""A recurrent layer of Keras as the weights and attributes of the ONNX operation LSTM, GRU or RNN.

Source: the formulas of the cells in ``keras/src/layers/rnn`` and of the operations in the ONNX operator reference,
https://onnx.ai/onnx/operators/. Keras orders the gates of an LSTM input, forget, cell, output and ONNX input, output,
forget, cell; both order those of a GRU update, reset, hidden. ``linear_before_reset`` of ONNX is ``reset_after``.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError
from training.export.layer_calls import named

Array = npt.NDArray[np.float32]

LIBRARIES = ("keras", "tf_keras")
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}  # place in ONNX -> gate of Keras
_STEEPNESS = {"keras": 1 / 6, "tf_keras": 0.2}  # of hard_sigmoid, which is 0.5 at 0 in both
# Keras -> ONNX operation, as ONNX Runtime accepts it inside a recurrent one; alpha and beta only where it has them.
# Not Softplus: ONNX Runtime 1.31.1 computes log(1 + exp(x)) there, which is infinite above 88.
_ACTIVATIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    "tanh": ("Tanh", ()),
    "sigmoid": ("Sigmoid", ()),
    "relu": ("Relu", ()),
    "softsign": ("Softsign", ()),
    "elu": ("Elu", (1.0,)),
    "linear": ("Affine", (1.0, 0.0)),
}


class NoOnnxForm(TrainingError):
    """A recurrent layer has a setting that the ONNX operation lacks; the message names layer and setting."""


@dataclass(frozen=True)
class OnnxCell:
    """One direction of a recurrent operation.

    Attributes:
        op: LSTM, GRU or RNN.
        units: size of the state.
        weights: float32, (gates * units, inputs).
        recurrence: float32, (gates * units, units).
        bias: float32, (2 * gates * units,): of the input, then of the recurrence.
        activations: ONNX names of the functions, in the order of the operation, each with its alpha and beta, if any.
        linear_before_reset: only of a GRU.
        backwards: whether the last step is read first.
    """

    op: str
    units: int
    weights: Array
    recurrence: Array
    bias: Array
    activations: tuple[tuple[str, tuple[float, ...]], ...]
    linear_before_reset: bool
    backwards: bool

    @property
    def states(self) -> int:
        """Number of tensors (batch, units) that are carried from step to step."""
        return 2 if self.op == "LSTM" else 1

    def fits(self, other: "OnnxCell") -> bool:
        """Whether both can be the directions of one operation, this one forward."""
        same = (self.op, self.units, self.linear_before_reset) == (other.op, other.units, other.linear_before_reset)
        return same and not self.backwards and other.backwards


def library_of(layer: Any) -> str:
    """``keras`` or ``tf_keras``; another name for a class of someone else."""
    return str(type(layer).__module__.partition(".")[0])


def is_layer(layer: Any, *names: str) -> bool:
    """Whether the class of a layer is one of Keras' own of these names; a subclass may compute something else."""
    library = library_of(layer)
    if library not in LIBRARIES:
        return False
    layers = importlib.import_module(library).layers
    return any(type(layer) is getattr(layers, name) for name in names)


def remembering(model: Any) -> str:
    """The recurrent layer that keeps its state from one batch to the next, in words; empty without one."""
    layers = model._flatten_layers(recursive=True, include_self=False)
    odd = next((layer for layer in layers if hasattr(layer, "cell") and layer.stateful), None)
    if odd is None:
        return ""
    return f"{named(odd)} has stateful=True, so that an answer depends on earlier requests; set stateful=False"


def onnx_cell(layer: Any) -> OnnxCell:
    """The weights and attributes of a built recurrent layer.

    Args:
        layer: LSTM, GRU, SimpleRNN, or RNN of one such cell, of Keras 3 or of tf_keras.

    Raises:
        NoOnnxForm: see the class.
    """
    cell = layer.cell
    op = next((op for op, name in (("LSTM", "LSTM"), ("GRU", "GRU"), ("RNN", "SimpleRNN")) if _is_cell(cell, name)), "")
    if not op:
        raise NoOnnxForm(f"{named(layer)}: cell {type(cell).__name__} has no ONNX operation")
    for setting in ("stateful", "time_major"):
        if getattr(layer, setting, False):
            raise NoOnnxForm(f"{named(layer)}: {setting}=True has no ONNX form")
    if str(cell.compute_dtype) != "float32":
        raise NoOnnxForm(f"{named(layer)}: computes in {cell.compute_dtype}; a recurrent operation uses float32")
    functions = [cell.activation] if op == "RNN" else [cell.recurrent_activation, cell.activation]
    if op == "LSTM":
        functions.append(cell.activation)  # of the cell's state and of the output
    order = _GATES[op]
    bias = np.zeros((2, len(order) * cell.units), np.float32)
    if cell.use_bias:
        given = _value(cell.bias)
        bias[: 1 if given.ndim == 1 else 2] = given
    return OnnxCell(
        op=op,
        units=int(cell.units),
        weights=_in_order(_value(cell.kernel), order).T,
        recurrence=_in_order(_value(cell.recurrent_kernel), order).T,
        bias=_in_order(bias, order).ravel(),
        activations=tuple(_activation(layer, function) for function in functions),
        linear_before_reset=op == "GRU" and bool(cell.reset_after),
        backwards=bool(layer.go_backwards),
    )


def _is_cell(cell: Any, name: str) -> bool:
    return is_layer(cell, f"{name}Cell")


def _in_order(values: Array, order: tuple[int, ...]) -> Array:
    """(n, gates * units) with the gates in the order of ONNX."""
    gates = np.split(values, len(order), axis=1)
    return np.concatenate([gates[gate] for gate in order], axis=1)


def _value(variable: Any) -> Array:
    """The value of a variable, also while a graph is traced."""
    import tensorflow as tf

    with tf.init_scope():
        return np.asarray(tf.convert_to_tensor(variable).numpy(), np.float32)


def _activation(layer: Any, function: Any) -> tuple[str, tuple[float, ...]]:
    library = library_of(layer)
    known = importlib.import_module(library).activations
    name = getattr(function, "__name__", type(function).__name__)
    if function is getattr(known, "hard_sigmoid", None):
        return "HardSigmoid", (_STEEPNESS[library], 0.5)
    if name in _ACTIVATIONS and function is getattr(known, name):
        return _ACTIVATIONS[name]
    raise NoOnnxForm(f"{named(layer)}: activation {name!r} has no form inside an ONNX recurrent operation")
