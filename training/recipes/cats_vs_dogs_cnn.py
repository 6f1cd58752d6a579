"""Convolutional network that tells the cats of CIFAR-10 from its dogs.

Command: python -m training run cats-vs-dogs-cnn --publish
"""

from dataclasses import dataclass
from typing import Any

from app.contract.model_spec import TransformStep
from training.datasets.cifar10 import EDGE, CatsVsDogs
from training.pipelines import ImageAugmentation, ImagePipeline
from training.recipe import OUTPUT_NAME, Fitting, Loss, Optimizer, Recipe, Schedule, Signature, Targets


@dataclass(frozen=True, kw_only=True)
class Network:
    """Settings of the network.

    Attributes:
        first, second, third, fourth: filters of each convolution of the stages; a max-pooling ends a stage.
        hidden: units of the dense layer before the last.
        dropout: share of its inputs that are silenced in training; half as many of its outputs.
        normalisation_momentum: of the batch normalisation's running statistics.
    """

    first: tuple[int, ...] = (32,)
    second: tuple[int, ...] = (64, 64)
    third: tuple[int, ...] = (128, 128)
    fourth: tuple[int, ...] = (144,)
    hidden: int = 64
    dropout: float = 0.4
    normalisation_momentum: float = 0.97


def build(network: Network, signature: Signature) -> Any:
    """Stages of 3x3 convolutions with batch normalisation and ReLU, max-pooling after each, two dense layers."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Rescaling(1 / 64, offset=-123 / 64)(pixels)  # mean and standard deviation of the training pixels
    for stage in (network.first, network.second, network.third, network.fourth):
        for filters in stage:
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
            x = layers.BatchNormalization(momentum=network.normalisation_momentum)(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(network.dropout)(layers.Flatten()(x))
    x = layers.Dense(network.hidden, activation="relu")(x)
    x = layers.Dropout(network.dropout / 2)(x)
    probabilities = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x)
    return tf_keras.Model(pixels, probabilities)


RECIPE = Recipe(
    name="cats-vs-dogs-cnn",
    description="Cat or dog in 32x32 colour images, by a convolutional network.",
    data=CatsVsDogs(),
    pipeline=ImagePipeline(
        steps=(
            TransformStep(step="crop_square"),
            TransformStep(step="resize", arguments={"width": EDGE, "height": EDGE}),
        ),
        augmentation=ImageAugmentation(
            shift=4,
            flip=True,
            contrast=0.15,
            brightness=9.6,
            colour=8.0,
            cutout=8,
            cutout_share=0.5,
            cutout_fill=123,
            mixup=0.4,
        ),
    ),
    network=Network(),
    build=build,
    optimizer=Optimizer(
        name="adamw", learning_rate=3e-3, schedule=Schedule(name="cosine", warmup=0.1), weight_decay=0.03
    ),
    loss=Loss(label_smoothing=0.1),
    fitting=Fitting(epochs=84, batch_size=64, validate_every=4),
    targets=Targets(test_accuracy=0.880, parameters=600_000, minutes=30),
)
