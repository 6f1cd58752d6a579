"""Training batches of rows with several named inputs, in another order in each epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from training.data.settings import Span


def shuffled(inputs: Mapping[str, Any], after: Callable[[Any], tuple[Any, ...]], *, rows: int, span: Span) -> Any:
    """tf.data.Dataset of (inputs, targets), and weights if rows have some.

    Args:
        inputs: name -> tensor (rows, *shape).
        after: row numbers -> what follows the inputs; see ``training.data.targets.following``.
        rows: how many.
        span: seed and epoch determine the order.
    """

    def epoch(number: Any) -> Any:
        seed = tf.stack([tf.constant(span.seed * 1000 + 900, tf.int64), number])
        order = tf.random.experimental.stateless_shuffle(tf.range(rows), seed)
        return tf.data.Dataset.from_tensor_slices(order).batch(span.batch_size, drop_remainder=True)

    def batch(chosen: Any) -> Any:
        return {name: tf.gather(values, chosen) for name, values in inputs.items()}, *after(chosen)

    return tf.data.Dataset.range(span.first_epoch, span.epochs).flat_map(epoch).map(batch).prefetch(8)
