"""Training in half precision: layers compute in 16 bits, weights, loss and answers stay float32.

The network that is measured and published is built again without it, with the same weights, so its graph is float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tf_keras

from training.errors import SettingRefused
from training.recipe.fitting import Precision


@contextmanager
def layers_in(precision: Precision) -> Iterator[None]:
    """Layers that are built in the body compute in this precision.

    Raises:
        SettingRefused: the network cannot be built so, e.g. because one of its own functions mixes 16 and 32 bits.
    """
    if precision == "float32":
        yield
        return
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
        first = str(error).strip().partition("\n")[0]
        raise SettingRefused(
            f"the network cannot be built with fitting.mixed_precision={precision}: {first}; train it in float32"
        ) from error
    finally:
        tf_keras.mixed_precision.set_global_policy(before)


def with_float32_answers(model: Any) -> Any:
    """The same network whose answers are float32: a last dense layer computes in float32, any other is cast.

    A softmax in 16 bits has steps of 0.0005 to 0.004, which the loss of a confident answer would show.

    Args:
        model: built within ``layers_in``; shares its weights with the result, in the same order.
    """
    if len(model.outputs) > 1:
        if all(output.dtype == tf.float32 for output in model.outputs):
            return model
        raise SettingRefused("a network with several heads is trained in float32; set fitting.mixed_precision=float32")
    if model.output.dtype == tf.float32:
        return model
    last = model.output.node.layer
    if isinstance(last, tf_keras.layers.Dense) and len(last.inbound_nodes) == 1:
        answers = type(last).from_config(last.get_config() | {"dtype": "float32"})
        built = tf_keras.Model(model.inputs, answers(last.input))
        answers.set_weights(last.get_weights())
        return built
    cast = tf_keras.layers.Activation("linear", dtype="float32", name=f"{last.name}_float32")
    return tf_keras.Model(model.inputs, cast(model.output))


def with_scaled_loss(optimizer: Any, precision: Precision) -> Any:
    """The optimiser; for float16 with a loss scale, without which small gradients would be 0.

    Source: Micikevicius et al., Mixed Precision Training, arXiv:1710.03740, section 3.2.
    """
    if precision != "mixed_float16":
        return optimizer
    return tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
