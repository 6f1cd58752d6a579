"""Real handwritten digits of 8x8 pixels, with all building blocks of the course, and without each of them.

Command: python -m training run digits-building-blocks --test
Result: 0.9850 on 400 test digits, 31,074 parameters; Adam adds .120, convolutions .057, augmentation -.009; 14 min
Date and hardware: 2026-11-30, two cores of an AMD EPYC

One network has everything that the course teaches against bad starts, slow descent and overfitting. The study trains it
again without one block at a time, from several seeds, and compares the pairs with equal seeds. scikit-learn ships the
digits, so nothing is downloaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from training.bounds import Bounded, Bounds, Count, ShareBelowOne, ZeroOrMore
from training.data.pipelines import ImagePipeline
from training.data.settings import ImageAugmentation
from training.datasets.digits import EDGE, Digits
from training.datasets.mnist import digit_steps
from training.measure import drawing
from training.measure.evaluate import predict
from training.measure.findings import Finding, Findings, above, recorded
from training.network.dense_blocks import Activation, Initializer
from training.overrides import apply_overrides
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Subject, Targets

WITHOUT: Mapping[str, tuple[str, ...]] = {
    "convolutions": ("network.convolutions=false",),
    "batch normalisation": ("network.batch_normalization=false",),
    "dropout": ("network.dropout=0",),
    "L2": ("network.l2=0",),
    "He's initial weights": ("network.initializer=random_uniform",),
    "ReLU": ("network.activation=sigmoid",),
    "augmentation": ("pipeline.augmentation.shift=0", "pipeline.augmentation.warp=0"),
    "label smoothing": ("loss.label_smoothing=0",),
    "Adam": ("optimizer.name=sgd",),
    "a schedule": ("optimizer.schedule.name=constant",),
    "the best epoch": ("fitting.keep=last",),
}
"""Building block -> the settings of a network without it: sigmoid in place of ReLU, plain descent in place of Adam."""

Accuracies = npt.NDArray[np.float64]
"""On the validation part, one for each seed, (seeds,)."""


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network.

    Attributes:
        convolutions: whether two convolutions with a pooling come before the dense layers.
        filters: of each convolution.
        units: of the hidden dense layer.
        activation, initializer: of each layer but the last.
        batch_normalization: before each activation.
        dropout: share of the inputs of the last layer that are silenced in training.
        l2: weight of the sum of squared kernels in the loss.
    """

    convolutions: bool = True
    filters: Count = 24
    units: Count = 64
    activation: Activation = "relu"
    initializer: Initializer = "he_normal"
    batch_normalization: bool = True
    dropout: ShareBelowOne = 0.3
    l2: ZeroOrMore = 1e-4


def build(network: Network, signature: Signature) -> Any:
    """Convolution, pooling, convolution, dense, dropout, softmax; normalisation before each activation."""
    import tf_keras
    from tf_keras import layers

    settings = {
        "kernel_initializer": network.initializer,
        "kernel_regularizer": tf_keras.regularizers.L2(network.l2) if network.l2 else None,
        "use_bias": not network.batch_normalization,
    }

    def activated(x: Any) -> Any:
        x = layers.BatchNormalization(momentum=0.9)(x) if network.batch_normalization else x
        return layers.Activation(network.activation)(x)

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Reshape((*signature.input.shape, 1))(layers.Rescaling(1 / 255)(pixels))
    if network.convolutions:
        x = activated(layers.Conv2D(network.filters, 3, padding="same", **settings)(x))
        x = activated(layers.Conv2D(network.filters, 3, padding="same", **settings)(layers.MaxPooling2D()(x)))
    x = activated(layers.Dense(network.units, **settings)(layers.Flatten()(x)))
    x = layers.Dropout(network.dropout)(x)
    return tf_keras.Model(pixels, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(Bounded):
    """Trains the recipe with all blocks, and without each, from the same seeds.

    Attributes:
        seeds: trainings of each network.
        at_least: mean accuracy on the validation part that the network with all blocks must exceed.
    """

    seeds: Annotated[int, Bounds(at_least=2, at_most=50)] = 5
    at_least: ShareBelowOne = 0.97

    def __call__(self, subject: Subject) -> Findings:
        """Mean accuracy of each network, and what each block adds, with the standard error of the paired difference."""
        everything = self._accuracies(subject, "all blocks", ())
        added = {
            block: compared(everything, self._accuracies(subject, f"without {block}", settings))
            for block, settings in WITHOUT.items()
        }
        picture = _draw(added, subject)
        figures = [above("all blocks", float(everything.mean()), self.at_least, of="the expected accuracy")]
        for block, (difference, error) in added.items():
            figures += _figures(block, float(everything.mean()) - difference, difference, error)
        return Findings(
            figures=tuple(figures),
            pictures={"What each building block adds": picture},
            notes=("A difference of less than two standard errors may be chance.",),
        )

    def _accuracies(self, subject: Subject, name: str, settings: tuple[str, ...]) -> Accuracies:
        from training.fit.fit import fit

        recipe, splits = apply_overrides(subject.recipe, settings), subject.splits
        feed = recipe.pipeline.bind(splits.train, classes=splits.classes)
        found = []
        for seed in range(self.seeds):
            seeded = replace(recipe, fitting=replace(recipe.fitting, seed=seed, watch=False))
            directory = subject.directory / name.replace(" ", "-").replace("'", "") / str(seed)
            directory.mkdir(parents=True, exist_ok=True)
            trained = fit(seeded, feed, splits, directory=directory, console=Console(quiet=True))
            answers = predict(trained.model, feed, splits.validation, batch_size=recipe.fitting.evaluation_batch_size)
            found.append(float((answers.argmax(axis=1) == splits.validation.labels).mean()))
        subject.console.print(f"study: {name}: accuracy {np.mean(found):.4f}", highlight=False)
        return np.array(found)


def compared(one: Accuracies, other: Accuracies) -> tuple[float, float]:
    """Mean of the paired differences ``one - other``, and its standard error; a pair has the same seed."""
    differences = one - other
    return float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)


def _figures(block: str, accuracy: float, difference: float, error: float) -> tuple[Finding, ...]:
    return (
        recorded(f"without {block}", accuracy),
        recorded(f"{block} adds", difference),
        recorded(f"standard error of what {block} adds", error),
    )


def _draw(added: Mapping[str, tuple[float, float]], subject: Subject) -> Path:
    """Points of percentage with two standard errors, for each block."""
    figure = drawing.figure()
    axes = figure.subplots()
    means, errors = (100 * np.array(column) for column in zip(*added.values(), strict=True))
    axes.errorbar(means, range(len(added)), xerr=2 * errors, fmt="o", capsize=3)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(added)), list(added))
    axes.invert_yaxis()
    axes.set_xlabel("points of accuracy that the block adds, with two standard errors")
    axes.grid(alpha=0.3)
    return drawing.save(figure, subject.directory / "building-blocks.png")


RECIPE = Recipe(
    name="digits-building-blocks",
    description="Real handwritten digits of 8x8 pixels, with all building blocks of the course, and without each.",
    license="apache-2.0",
    data=Digits(),
    pipeline=ImagePipeline(
        steps=digit_steps(EDGE),
        augmentation=ImageAugmentation(shift=1, warp=0.5, rotation=10, zoom=0.1, aspect=0.1, shear=0.1),
    ),
    network=Network(),
    build=build,
    study=LeaveOneOut(),
    optimizer=Optimizer(name="adam", learning_rate=0.004, schedule=Schedule(name="one-cycle")),
    loss=Loss(label_smoothing=0.1),
    fitting=Fitting(epochs=30, batch_size=32),
    targets=Targets(parameters=40_000),
)
