"""The fused step of Adam against that of tf_keras."""

import numpy as np
import pytest


def stepped(optimizer, *, steps=20):
    """A matrix after steps with the same random gradients, of which some are of rows only."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    weights = tf.Variable(generator.normal(size=(5, 3)).astype(np.float32))
    for step in range(steps):
        gradient = tf.constant(generator.normal(size=(5, 3)).astype(np.float32))
        rows = tf.IndexedSlices(gradient[:2], tf.constant([1, 3]), tf.constant([5, 3]))
        optimizer.apply_gradients([(rows if step % 4 == 3 else gradient, weights)])
    return weights.numpy()


@pytest.mark.parametrize("decay", [None, 0.1])
def test_it_takes_the_same_steps_to_rounding(decay):
    import tf_keras

    from training.network.fused_adam import FusedAdam, FusedAdamW

    shared = {"learning_rate": 0.05, "epsilon": 1e-3, "global_clipnorm": 2.0}
    if decay is None:
        fused, plain = FusedAdam(**shared), tf_keras.optimizers.Adam(**shared)
    else:
        fused, plain = FusedAdamW(weight_decay=decay, **shared), tf_keras.optimizers.AdamW(weight_decay=decay, **shared)
    # 20 steps of about the learning rate are 1 together. The operation takes 1 - 0.999 in float32, 5e-5 of it too much,
    # and uses its root.
    np.testing.assert_allclose(stepped(fused), stepped(plain), atol=2.5e-5)
