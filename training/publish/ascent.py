"""Changes an instance, along the gradient, until a model assigns it to a given class."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tensor_spec import TensorSpec

STEPS = 300
STEP_SIZE = 1 / 64  # of the input's range, for the element with the steepest gradient

Array = npt.NDArray[Any]


def climb(model: Any, *, label: int, start: Array, tensor: TensorSpec) -> Array | None:
    """Gradient ascent on log p(label) from ``start``, within the input's range.

    Args:
        model: Sequential or functional tf_keras.Model of one input, whose layers, and models within it, also accept
            that input as float32.
        label: target class.
        start: one instance, shape ``tensor.shape``.
        tensor: the input; each step ends in a value of its dtype, so that rounding cannot undo the result.

    Returns:
        An instance of the input's dtype and shape for which the model gives ``label``: with a margin of 0.05 if 300
        steps reach that, otherwise with any margin. None if no step reached it.
    """
    import tensorflow as tf

    with tf.device("/CPU:0"):
        continuous = _continuous(model, tensor)
        continuous.set_weights(model.get_weights())
        low, high = value_range(tensor)
        span = high - low if np.isfinite(high - low) else 4.0
        here, reached = start.astype(np.float64), None
        for _ in range(STEPS):
            point = tf.constant(here[None], tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(point)
                scores = continuous(point, training=False)[0]
                height = tf.math.log(scores[label] + 1e-30)
            there = as_instance(here, tensor)
            answer = model(there[None], training=False).numpy()[0]
            if answer.argmax() == label:
                reached = there
                if answer[label] - np.delete(answer, label).max() >= 0.05:
                    break
            slope = np.asarray(tape.gradient(height, point))[0]
            ahead = np.clip(here + span * STEP_SIZE * slope / (np.abs(slope).max() + 1e-30), low, high)
            if np.array_equal(ahead, here):  # at the corner of the range, or the gradient is 0
                break
            here = ahead
        return reached


def _continuous(model: Any, tensor: TensorSpec) -> Any:
    """A copy of the model, and of the models within it, that accepts float32; an integer input has no gradient."""
    import tf_keras

    def copy(layer: Any) -> Any:
        inner = isinstance(layer, tf_keras.Model)
        return _continuous(layer, tensor) if inner else type(layer).from_config(layer.get_config())

    entrance = tf_keras.Input(tensor.shape, dtype="float32")
    return tf_keras.models.clone_model(model, input_tensors=entrance, clone_function=copy)


def value_range(tensor: TensorSpec) -> tuple[float, float]:
    """Smallest and largest value of an input: from the spec, otherwise from the dtype; 0 to 1000 for large integers."""
    dtype = tensor.numpy_dtype
    natural = {"b": (0.0, 1.0), "f": (-np.inf, np.inf)}.get(dtype.kind, (0.0, 1000.0))
    if dtype.kind in "iu" and dtype.itemsize == 1:
        natural = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    low = natural[0] if tensor.minimum is None else tensor.minimum
    return low, natural[1] if tensor.maximum is None else tensor.maximum


def as_instance(values: Array, tensor: TensorSpec) -> Array:
    """``values`` in the input's dtype, rounded to the nearest and within its range."""
    if tensor.numpy_dtype.kind == "f":
        return values.astype(tensor.numpy_dtype)
    low, high = value_range(tensor)
    return np.asarray(np.clip(np.rint(values), low, high).astype(tensor.numpy_dtype))
