"""How many steps of a training TensorFlow makes before Python sees one: many small ones, few large ones.

Between two calls Python costs about half a millisecond, for metrics, progress and callbacks; the weights are the same.
"""

import time
from typing import Any

CALL_S = 0.25
"""Longest time of one call, about: Ctrl-C, the progress bar and the search for NaN wait for its end."""
STEP_SHARE = 3
"""A step costs about this many times a forward pass: forward, and twice as much backward."""


def steps_per_call(model: Any, batches: Any, *, steps: int) -> int:
    """The number of steps that take about ``CALL_S``, at most one epoch; measured with one batch, without training it.

    Args:
        model: compiled or not.
        batches: tf.data.Dataset of training batches.
        steps: of one epoch.
    """
    inputs = next(iter(batches))[0]
    passes = []
    for _ in range(2):  # the first one is slower
        start = time.perf_counter()
        model(inputs, training=False)
        passes.append(time.perf_counter() - start)
    return max(1, min(steps, int(CALL_S / (STEP_SHARE * min(passes)))))
