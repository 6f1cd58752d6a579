"""Changes an instance, along the gradient, until a model assigns it to a given class."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tensor_spec import TensorSpec

STEPS = 300
STEP_SIZE = 1 / 64  # of the input's range, for the element with the steepest gradient

MARGIN = 0.05  # between the class and the next one

Array = npt.NDArray[Any]


class Ascent:
    """Gradient ascent on log p(class) from an instance, within the input's range.

    Args:
        model: Sequential or functional tf_keras.Model of one input, whose layers, and models within it, also accept
            that input as float32.
        tensor: the input; each step ends in a value of its dtype, so that rounding cannot undo the result.
    """

    def __init__(self, model: Any, tensor: TensorSpec) -> None:
        self._model, self._tensor = model, tensor
        self._step: Callable[..., Any] | None = None

    def climb(self, start: Array, label: int) -> Array | None:
        """Change an instance, shape ``tensor.shape``, until the model assigns it to class ``label``.

        Returns:
            An instance of the input's dtype and shape for which the model gives ``label``: with a margin of 0.05 if 300
            steps reach that, otherwise with any margin. None if no step reached it.
        """
        import tensorflow as tf

        with tf.device("/CPU:0"):
            self._step = self._step or self._compiled()
            low, high = value_range(self._tensor)
            span = high - low if np.isfinite(high - low) else 4.0
            here, reached = start.astype(np.float64), None
            for _ in range(STEPS):
                there = as_instance(here, self._tensor)
                answer, slope = (each.numpy() for each in self._step(there[None], here.astype(np.float32)[None], label))
                if answer.argmax() == label:
                    reached = there
                    if answer[label] - np.delete(answer, label).max() >= MARGIN:
                        break
                ahead = np.clip(here + span * STEP_SIZE * slope / (np.abs(slope).max() + 1e-30), low, high)
                if np.array_equal(ahead, here):  # at the corner of the range, or the gradient is 0
                    break
                here = ahead
            return reached

    def _compiled(self) -> Callable[..., Any]:
        """(instance, the same as float32, class) -> the model's answer to the one, and the gradient at the other."""
        import tensorflow as tf

        model, tensor = self._model, self._tensor
        continuous = _continuous(model, tensor)
        continuous.set_weights(model.get_weights())

        def step(instance: Any, point: Any, label: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(point)
                height = tf.math.log(continuous(point, training=False)[0, label] + 1e-30)
            return model(instance, training=False)[0], tape.gradient(height, point)[0]

        inputs = [tf.TensorSpec((1, *tensor.shape), dtype) for dtype in (tensor.numpy_dtype, tf.float32)]
        compiled: Callable[..., Any] = tf.function(step, input_signature=[*inputs, tf.TensorSpec((), tf.int32)])
        return compiled


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
