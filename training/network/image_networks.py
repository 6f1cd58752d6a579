"""Networks for pictures, by name: a small convolutional one, and a residual one."""

from dataclasses import dataclass
from typing import Any, Literal

from training.bounds import Bounded, Count, ShareBelowOne, ZeroOrMore
from training.network.answers import answers_of
from training.recipe.recipe import Signature

SMALLEST_MAP = 6  # pixels along an edge below which no further pooling helps
MOST_POOLINGS = 5


@dataclass(frozen=True, kw_only=True)
class ImageNetwork(Bounded):
    """Settings of a network for pictures of any size, grey or in colour.

    Attributes:
        name: ``small-cnn``: one convolution before each pooling. ``residual-cnn``: two more with a shortcut after each
            pooling; three times the cost, and better with thousands of pictures.
        filters: of the first convolution; twice as many after each pooling, at most eight times as many.
        dropout: share of the features before the last layer that are silenced in training.
        l2: weight of the sum of squared kernels in the loss.
    """

    name: Literal["small-cnn", "residual-cnn"] = "small-cnn"
    filters: Count = 16
    dropout: ShareBelowOne = 0.3
    l2: ZeroOrMore = 1e-4


def build_image_network(network: ImageNetwork, signature: Signature) -> Any:
    """Pixels scaled to -1 to 1, convolutions and poolings, the mean over the picture, one dense layer.

    Source of the shortcuts: He et al., Deep Residual Learning, arXiv:1512.03385.
    """
    import tf_keras
    from tf_keras import layers

    l2 = tf_keras.regularizers.L2(network.l2) if network.l2 else None

    def convolve(x: Any, filters: int) -> Any:
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", kernel_regularizer=l2
        )(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    def shortcut(x: Any, filters: int) -> Any:
        change = convolve(layers.ReLU()(convolve(x, filters)), filters)
        return layers.ReLU()(layers.Add()([x, change]))

    shape = signature.input.shape
    pixels = layers.Input(shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = layers.Reshape((*shape, 1))(x) if len(shape) == 2 else x
    filters, edge, poolings = network.filters, min(shape[:2]), 0
    x = layers.ReLU()(convolve(x, filters))
    while edge >= 2 * SMALLEST_MAP and poolings < MOST_POOLINGS:
        edge, poolings = edge // 2, poolings + 1
        filters = network.filters * min(8, 2**poolings)
        x = layers.ReLU()(convolve(layers.MaxPooling2D()(x), filters))
        x = shortcut(x, filters) if network.name == "residual-cnn" else x
    x = layers.Dropout(network.dropout)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(pixels, answers_of(signature, x))
