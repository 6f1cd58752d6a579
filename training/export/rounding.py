"""How much the answers of a network depend on rounding, measured: what an exact copy of it may differ by."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import magnitude
from training.export.model_export import Runner

TRIALS = 3
# Times the measured change. ONNX Runtime differed from Keras by 0.5 to 2.5 times it: MLP, CNN, MobileNetV2, ResNet50,
# EfficientNetB0 and DenseNet121 with random weights.
MARGIN = 8
LARGEST_FACTOR = 100

Array = npt.NDArray[Any]


def rounding_factor(model: Any, keras: Runner, inputs: Mapping[str, Array], *, tolerance: float) -> float:
    """How many times ``tolerance`` the answers of an exact copy of ``model`` may differ by.

    Every weight is moved by one unit in the last place, up or down at random, as in random rounding (Vignes, A
    stochastic arithmetic for reliable scientific computation, 1993): the largest change of an answer shows how the
    rounding errors of all sums and products grow on their way to it. In a deep network they grow more.

    Args:
        model: tf_keras.Model; has its own weights again at the end.
        keras: runs it.
        inputs: name -> (rows, *shape).
        tolerance: for answers of magnitude 1.

    Returns:
        From 1 to ``LARGEST_FACTOR``.
    """
    before = keras(inputs)
    if _largest_difference(keras(inputs), before):
        return 1.0  # random answers: no rounding
    weights = model.get_weights()
    change = 0.0
    try:
        for seed in range(TRIALS):
            generator = np.random.default_rng(seed)
            model.set_weights([_moved(values, generator) for values in weights])
            change = max(change, _largest_difference(keras(inputs), before))
    finally:
        model.set_weights(weights)
    return float(np.clip(MARGIN * change / (tolerance * magnitude(before)), 1, LARGEST_FACTOR))


def _moved(values: Array, generator: np.random.Generator) -> Array:
    """Each number is the next one above or below; whole numbers are unchanged."""
    if values.dtype.kind != "f":
        return values
    towards = np.where(generator.random(values.shape) < 0.5, -np.inf, np.inf).astype(values.dtype)
    moved: Array = np.nextafter(values, towards)
    return moved


def _largest_difference(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Of all numbers with fractions; numbers that are not finite do not count."""
    differences = [np.abs(found[name] - values) for name, values in expected.items() if values.dtype.kind == "f"]
    return max((float(np.max(each, initial=0, where=np.isfinite(each))) for each in differences), default=0.0)
