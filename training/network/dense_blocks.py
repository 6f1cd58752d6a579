"""Settings of dense networks, shared by several recipes, and the layers that they define."""

from dataclasses import dataclass
from typing import Any, Literal

from training.bounds import Bounded, Count, ShareBelowOne, ZeroOrMore
from training.network.activations import LEAKY_SLOPE
from training.network.answers import answers_of
from training.recipe.recipe import Signature

Activation = Literal["linear", "relu", "leaky_relu", "sigmoid", "tanh", "softplus"]
Initializer = Literal[
    "zeros",
    "random_normal",
    "random_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "orthogonal",
]


@dataclass(frozen=True, kw_only=True)
class Dense(Bounded):
    """Hidden dense layers that differ only in their width.

    Attributes:
        units: of each layer, first to last.
        activation: after each layer; see the recipe ``activations`` for their formulas.
        initializer: of the weights, by its Keras name; biases start at 0.
        l2: weight of the sum of the squared weights in the loss.
        batch_normalization: between a layer and its activation.
        dropout: share of the units that are silenced in training, after the activation.
    """

    units: tuple[Count, ...]
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    l2: ZeroOrMore = 0.0
    batch_normalization: bool = False
    dropout: ShareBelowOne = 0.0

    def __call__(self, x: Any) -> Any:
        """The layers on top of ``x``, a Keras tensor (batch, features), named hidden_1, hidden_2, ..."""
        for number, units in enumerate(self.units, start=1):
            x = self._layer(x, units, f"hidden_{number}")
        return x

    def _layer(self, x: Any, units: int, name: str) -> Any:
        import tf_keras
        from tf_keras import layers

        activation = layers.LeakyReLU(alpha=LEAKY_SLOPE) if self.activation == "leaky_relu" else self.activation
        x = layers.Dense(
            units,
            activation=None if self.batch_normalization else activation,
            kernel_initializer=self.initializer,
            kernel_regularizer=tf_keras.regularizers.L2(self.l2) if self.l2 else None,
            name=name,
        )(x)
        if self.batch_normalization:
            x = layers.BatchNormalization()(x)
            x = activation(x) if callable(activation) else layers.Activation(activation, name=f"{name}_activation")(x)
        return layers.Dropout(self.dropout)(x) if self.dropout else x


def dense_classifier(network: Dense, signature: Signature) -> Any:
    """A classifier of images: pixels scaled to 0 to 1, flattened, the dense layers, softmax."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    x = network(layers.Flatten()(layers.Rescaling(1 / 255)(pixels)))
    return tf_keras.Model(pixels, answers_of(signature, x))
