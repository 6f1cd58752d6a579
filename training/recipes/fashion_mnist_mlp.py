"""Multi-layer perceptron on Fashion-MNIST.

Command: python -m training run fashion-mnist-mlp --publish
Result: 0.9151 on the test set (0.9194 on validation), 672,778 parameters, 3.0 min
Date and hardware: 2026-11-21, two cores of an AMD EPYC; reproduced in all four digits
"""

from dataclasses import dataclass
from typing import Any

from training.bounds import Bounded, Count, Share, ShareBelowOne
from training.data.pipelines import ImagePipeline
from training.data.settings import ImageAugmentation
from training.datasets.fashion_mnist import FASHION_STEPS, FashionMnist
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Targets


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network.

    Attributes:
        widths: units of each hidden layer.
        dropout: share of the hidden units that are silenced in training.
        normalisation_momentum: of the batch normalisation's running statistics.
    """

    widths: tuple[Count, ...] = (512, 512)
    dropout: ShareBelowOne = 0.2
    normalisation_momentum: Share = 0.98


def build(network: Network, signature: Signature) -> Any:
    """Flatten, then dense layers with batch normalisation, ReLU and dropout."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = layers.Flatten()(x)
    for width in network.widths:
        x = layers.Dense(width, use_bias=False)(x)
        x = layers.BatchNormalization(momentum=network.normalisation_momentum)(x)
        x = layers.ReLU()(x)
        x = layers.Dropout(network.dropout)(x)
    probabilities = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x)
    return tf_keras.Model(pixels, probabilities)


RECIPE = Recipe(
    name="fashion-mnist-mlp",
    description="Ten kinds of garment in 28x28 grey images, by a multi-layer perceptron.",
    license="apache-2.0",
    data=FashionMnist(),
    pipeline=ImagePipeline(steps=FASHION_STEPS, augmentation=ImageAugmentation(shift=1)),
    network=Network(),
    build=build,
    optimizer=Optimizer(
        name="adamw", learning_rate=3e-3, schedule=Schedule(name="cosine", warmup=0.027), weight_decay=0.02
    ),
    loss=Loss(label_smoothing=0.1),
    fitting=Fitting(epochs=75, batch_size=256),
    targets=Targets(test_accuracy=0.910, parameters=700_000, minutes=60),
)
