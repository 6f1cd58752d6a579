"""The steps of a sequence that a mask keeps, as a recurrent ONNX operation reads them: the first ``length`` steps.

A mask of padding after a text has this form already. Any other mask, such as that of a Masking layer with a gap in
the middle, is brought into it: the kept steps move to the front in their order, and the answers move back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

_LEAST_BYTES = 4  # of a type to which an id is cast: in a smaller one 256 or 65536 could become 0


@dataclass(frozen=True)
class KeptSteps:
    """What a mask keeps.

    Attributes:
        mask: bool, (batch, steps).
        count: int32, (batch,): number of kept steps.
        lengths: the same, at least 1: some execution providers refuse a length of 0.
        order: int32, (batch, steps): the kept steps, then the others; None if the kept ones come first anyway.
    """

    mask: Any
    count: Any
    lengths: Any
    order: Any

    @classmethod
    def of(cls, mask: Any, *, ids: str | None) -> "KeptSteps":
        """From a mask, and the name of the traced input of token ids, of which 0 is padding and comes last, if any."""
        import tensorflow as tf

        count = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        order = None
        if ids is None or not _is_padding(mask, ids):
            steps = tf.shape(mask)[1]
            place = tf.range(steps)[tf.newaxis]
            order = tf.math.top_k(tf.where(mask, steps - place, -place), k=steps).indices
        return cls(mask, count, tf.maximum(count, 1), order)

    def packed(self, x: Any) -> Any:
        """(batch, steps, n) with the kept steps first."""
        import tensorflow as tf

        return x if self.order is None else tf.gather(x, self.order, batch_dims=1)

    def state(self, state: Any, initial: Any | None) -> Any:
        """A state (batch, n) after the last kept step; without any, the initial one (None: zeros).

        A text of padding only counts as one token, so that its answer is defined.
        """
        import tensorflow as tf

        if self.order is None:
            return state
        return tf.where(self.count[:, tf.newaxis] > 0, state, tf.zeros_like(state) if initial is None else initial)

    def sequence(self, y: Any, last: Any, *, backwards: bool, zeros: bool) -> Any:
        """The outputs as Keras gives them, in the order of time.

        Args:
            y: (batch, steps, n): outputs of the kept steps, first in each row, then zeros.
            last: (batch, n): the last output.
            backwards: whether the steps were read from the last to the first.
            zeros: give 0 at the other steps; otherwise the output of the step read before, 0 before the first.
        """
        import tensorflow as tf

        kept = self.mask[..., tf.newaxis]
        if self.order is None:
            return y if zeros or backwards else tf.where(kept, y, last[:, tf.newaxis])
        place = tf.cumsum(tf.cast(self.mask, tf.int32), axis=1, exclusive=backwards)
        place = place if backwards else place - 1
        read = (place < self.count[:, tf.newaxis]) if backwards else (place >= 0)
        chosen = tf.gather(y, tf.clip_by_value(place, 0, tf.shape(y)[1] - 1), batch_dims=1)
        return tf.where(kept if zeros else read[..., tf.newaxis], chosen, tf.zeros_like(chosen))


def _is_padding(mask: Any, ids: str) -> bool:
    """Whether a mask in a graph is ``ids != 0``, where ``ids`` is the name of an input of the outermost graph."""
    import tensorflow as tf

    if mask.op.type != "NotEqual":
        return False
    values, other = mask.op.inputs
    while values.op.type == "Identity" or (values.op.type == "Cast" and values.dtype.size >= _LEAST_BYTES):
        values = values.op.inputs[0]
    is_inner = getattr(values.graph.outer_graph, "outer_graph", None) is not None
    zero = tf.get_static_value(other)
    is_input = values.op.type == "Placeholder" and values.op.name == ids and not is_inner
    return is_input and zero is not None and not np.any(zero)
