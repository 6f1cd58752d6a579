"""Changes of images by a few grey levels: those that hurt a network most, and random ones of the same size."""

from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]
BATCH = 250


def on_floats(model: Any) -> Any:
    """The same network with the same weights for float32 pixels: whole numbers have no gradient.

    Args:
        model: tf_keras.Model with one input of uint8 pixels.
    """
    import tf_keras

    [pixels] = model.inputs
    floats = tf_keras.layers.Input(pixels.shape[1:], dtype="float32")
    copy = tf_keras.models.clone_model(model, input_tensors=floats)
    copy.set_weights(model.get_weights())
    return copy


def gradient_signs(model: Any, images: Images, labels: Labels) -> npt.NDArray[np.int8]:
    """Which way each pixel must change for the loss of the right class to grow: -1, 0 or 1, shape of ``images``.

    Args:
        model: of ``on_floats``; answers with probabilities.
        images: (rows, height, width) or (rows, height, width, channels).
        labels: (rows,), the right classes.
    """
    import tensorflow as tf

    signs = []
    for begin in range(0, len(images), BATCH):
        pixels = tf.constant(images[begin : begin + BATCH], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            chosen = tf.gather(model(pixels, training=False), labels[begin : begin + BATCH], batch_dims=1)
            loss = -tf.math.log(tf.maximum(chosen, 1e-30))
        signs.append(tf.sign(tape.gradient(loss, pixels)).numpy().astype(np.int8))
    return np.concatenate(signs)


def shifted(images: Images, signs: npt.NDArray[np.int8], levels: int) -> Images:
    """Every pixel changed by ``levels`` of 255 in the direction of its sign, and kept within 0 to 255.

    With the signs of the gradient this is the fast gradient sign method: Goodfellow, Shlens & Szegedy, Explaining and
    Harnessing Adversarial Examples, arXiv:1412.6572, section 4.
    """
    changed: Images = np.clip(images + levels * signs.astype(np.int16), 0, 255).astype(np.uint8)
    return changed


def random_signs(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """-1 or 1 with equal probability: a change of the same size without knowledge of the network."""
    return (2 * rng.integers(2, size=shape) - 1).astype(np.int8)


def with_noise(images: Images, deviation: float, rng: np.random.Generator) -> Images:
    """Normal noise on each pixel, with this standard deviation of 255, kept within 0 to 255."""
    changed: Images = np.clip(np.rint(images + rng.normal(0, deviation, images.shape)), 0, 255).astype(np.uint8)
    return changed
