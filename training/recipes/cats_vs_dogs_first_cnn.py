"""The first convolutional network of the course, layer by layer with add(), on cats and dogs; then single predictions.

Command: python -m training run cats-vs-dogs-first-cnn --test
Result: 0.7285 on the test set (0.7070 on validation), 922,753 parameters, 82 s; one cat: cat, 0.7671, one dog: dog,
    0.9999
Date and hardware: 2026-11-30, two cores of an AMD EPYC

As taught: 32 filters of 3x3 with ReLU, max pooling, Flatten, Dense 128 with ReLU, one sigmoid unit; Adam at 0.001,
binary cross-entropy, batches of 32, 25 epochs, images zoomed by up to a fifth, sheared and mirrored, 8,000 to train and
2,000 to validate. Two things differ: the images are those of CIFAR-10, 32x32 instead of 64x64, and the unit's answer is
the second of two probabilities, so that the service can name both classes.
Keras' shear_range=0.2 is in degrees, which moves a row by a third of a percent of its distance from the middle.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.contract.steps import TransformStep
from training.bounds import Bounded, Count
from training.data.pipelines import ImagePipeline
from training.data.settings import ImageAugmentation
from training.datasets.cifar10 import CAT_DOG_LABELS, EDGE, CatsVsDogs
from training.measure.evaluate import predict
from training.measure.findings import Finding, Findings, above, below, recorded
from training.measure.tasks import Array
from training.recipe.fitting import Fitting, Loss, Optimizer
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Subject, Targets


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network; attributes: filters: of the convolution; units: of the dense layer."""

    filters: Count = 32
    units: Count = 128


def build(network: Network, signature: Signature) -> Any:
    """The layers are added one after the other; p of the last one becomes (1 - p, p), cat and dog."""
    import tf_keras
    from tf_keras import layers

    classifier = tf_keras.Sequential(name="classifier")
    classifier.add(layers.Rescaling(1 / 255, input_shape=signature.input.shape))
    classifier.add(layers.Conv2D(network.filters, 3, activation="relu"))
    classifier.add(layers.MaxPooling2D(2))
    classifier.add(layers.Flatten())
    classifier.add(layers.Dense(network.units, activation="relu"))
    classifier.add(layers.Dense(1, activation="sigmoid"))
    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    dog = classifier(pixels)
    cat = layers.Rescaling(-1.0, offset=1.0)(dog)
    return tf_keras.Model(pixels, layers.Concatenate(name=OUTPUT_NAME)([cat, dog]))


@dataclass(frozen=True, kw_only=True)
class SinglePredictions:
    """Asks the trained network about one cat and one dog, each alone: the first ones of the validation part."""

    def __call__(self, subject: Subject) -> Findings:
        """Both answers, and that an image alone gets the answer that it gets among others."""
        held_out = subject.splits.validation
        together = predict(subject.model, subject.feed, held_out, batch_size=256)
        right = float((together.argmax(axis=1) == held_out.labels).mean())
        answers = [self._single(subject, together, label) for label in range(len(CAT_DOG_LABELS))]
        return Findings(
            figures=(
                above("share of the validation images that are right", right, 0.6, of="a guess is 0.5"),
                *(figure for answer in answers for figure in answer),
            )
        )

    def _single(self, subject: Subject, together: Array, label: int) -> tuple[Finding, Finding]:
        """The answer to the first image with ``label``, alone in its batch."""
        held_out, name = subject.splits.validation, CAT_DOG_LABELS[label]
        row = int(np.flatnonzero(held_out.labels == label)[0])
        assert isinstance(held_out.instances, np.ndarray)  # CIFAR-10 is in memory
        alone = subject.model.predict(held_out.instances[row : row + 1], verbose=0)[0]
        taken_for = CAT_DOG_LABELS[int(alone.argmax())]
        return (
            recorded(f"the first {name} is taken for", f"{taken_for}, {alone.max():.4f}"),
            below(
                f"the first {name}, difference", float(np.abs(alone - together[row]).max()), 1e-5, of="from its batch"
            ),
        )


RECIPE = Recipe(
    name="cats-vs-dogs-first-cnn",
    description="Cat or dog, by the first convolutional network of the course: convolve, pool, flatten, dense.",
    license="apache-2.0",
    data=CatsVsDogs(),
    pipeline=ImagePipeline(
        steps=(
            TransformStep(step="crop_square"),
            TransformStep(step="resize", arguments={"width": EDGE, "height": EDGE}),
        ),
        augmentation=ImageAugmentation(
            flip=True, warp=1.0, rotation=0.0, zoom=0.2, aspect=0.0, shear=round(math.tan(math.radians(0.2)), 6)
        ),
    ),
    network=Network(),
    build=build,
    study=SinglePredictions(),
    optimizer=Optimizer(name="adam", learning_rate=1e-3),
    loss=Loss(name="binary-crossentropy"),
    fitting=Fitting(epochs=25, batch_size=32, keep="last"),
    calibrate=False,
    targets=Targets(parameters=922_753),
)
