"""Adam and AdamW whose step is one operation of TensorFlow for each variable, in place of a dozen.

For a small network the dozen cost about as much as its gradients.
"""

from typing import Any

import tensorflow as tf
import tf_keras


class _Fused:
    """Overrides the step of a dense gradient; everything else is that of tf_keras, state and checkpoints included."""

    def update_step(self, gradient: Any, variable: Any) -> None:
        """One step of Adam, with the formula of tf_keras.

        Source: Kingma & Ba, arXiv:1412.6980, end of section 2, where epsilon is outside the root ("epsilon hat").
        """
        if isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)  # type: ignore[misc]
            return
        self._apply(gradient, variable)

    def _apply(self, gradient: Any, variable: Any) -> None:
        optimizer: Any = self
        place = optimizer._index_dict[optimizer._var_key(variable)]
        momentum, velocity = optimizer._momentums[place], optimizer._velocities[place]
        kind = variable.dtype
        step = tf.cast(optimizer.iterations + 1, kind)
        first, second = tf.cast(optimizer.beta_1, kind), tf.cast(optimizer.beta_2, kind)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.handle,
            v=velocity.handle,
            beta1_power=tf.pow(first, step),
            beta2_power=tf.pow(second, step),
            lr=tf.cast(optimizer.learning_rate, kind),
            beta1=first,
            beta2=second,
            epsilon=tf.cast(optimizer.epsilon, kind),
            grad=gradient,
        )


class FusedAdam(_Fused, tf_keras.optimizers.Adam):  # type: ignore[misc]
    """``tf_keras.optimizers.Adam`` with a fused step."""


class FusedAdamW(_Fused, tf_keras.optimizers.AdamW):  # type: ignore[misc]
    """``tf_keras.optimizers.AdamW`` with a fused step."""
