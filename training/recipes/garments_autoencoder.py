"""An autoencoder: a drawn garment of 784 numbers becomes a code of 8 numbers, and a garment again.

Command: python -m training run garments-autoencoder --test
Result: RMSE 0.0457 on the test part (0.0466 on validation; 8 principal components 0.1039), 203,928 parameters, 16 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC

The expected answer is the input itself; no labels are needed. What goes through the narrow layer must be what garments
have in common. The same number of principal components is the best that a linear network could do; it is measured too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Count, Seed
from training.data.pipelines import NumberPipeline
from training.datasets.drawn.synthetic import fashion_images
from training.datasets.splits import Examples, Splits
from training.measure import drawing
from training.measure.evaluate import predict
from training.measure.findings import Findings, below, recorded
from training.measure.tasks import Regress
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.recipe import VALUES_NAME, Recipe, Signature, Subject, Targets

EDGE = 28
Rows = npt.NDArray[np.float32]
"""Pictures as rows, shape (rows, 784), values from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class DrawnGarments(Bounded):
    """Drawn garments, each its own expected answer.

    Attributes:
        rows: of the train part; validation and test have a quarter each.
        seed: of the drawings.
    """

    rows: Count = 4000
    seed: Seed = 0

    def load(self) -> Splits:
        """Draw the garments; see ``DataSource.load``."""
        return Splits(
            name="drawn garments",
            form="computed",
            files={},
            labels=(),
            train=_draw_rows(self.rows, self.seed),
            validation=_draw_rows(self.rows // 4, self.seed + 1),
            read_test=lambda: _draw_rows(self.rows // 4, self.seed + 2),
        )

    def synthetic(self) -> Splits:
        """The same garments: they are always drawn."""
        return self.load()


def _draw_rows(count: int, seed: int) -> Examples:
    images, _ = fashion_images(count, seed=seed)
    rows = images.reshape(count, -1).astype(np.float32) / 255
    return Examples(instances=rows, labels=rows)


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network; attributes: hidden: units on both sides; code: numbers in the middle."""

    hidden: Count = 128
    code: Count = 8


def build(network: Network, signature: Signature) -> Any:
    """784-128-8-128-784: the encoder, the code without an activation, and the decoder with a sigmoid at its end."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    code = layers.Dense(network.code, name="code")(layers.Dense(network.hidden, activation="relu")(pixels))
    decoded = layers.Dense(network.hidden, activation="relu")(code)
    return tf_keras.Model(pixels, layers.Dense(signature.input.shape[0], "sigmoid", name=VALUES_NAME)(decoded))


@dataclass(frozen=True, kw_only=True)
class CompareWithComponents(Bounded):
    """Compares the network with principal components, as many as its code has; attributes: drawn: garments shown."""

    drawn: Count = 10

    def __call__(self, subject: Subject) -> Findings:
        """Root mean squared error on new garments, by three ways."""
        network = subject.recipe.network
        train, new = subject.splits.train.instances, subject.splits.validation.instances
        assert isinstance(train, np.ndarray)  # the data source draws arrays
        assert isinstance(new, np.ndarray)
        decoded = predict(subject.model, subject.feed, subject.splits.validation, batch_size=256)
        components = by_components(train, new, network.code)
        mean = np.broadcast_to(train.mean(axis=0), new.shape)
        of_network, of_components, of_mean = (
            float(np.sqrt(((answers - new) ** 2).mean())) for answers in (decoded, components, mean)
        )
        picture = _draw(
            {"drawn": new, "from 8 numbers": decoded, "components": components},
            self.drawn,
            subject.directory / "garments.png",
        )
        return Findings(
            figures=(
                recorded("error of the mean garment", of_mean),
                recorded(f"error of {network.code} principal components", of_components),
                below(f"error of the network with {network.code} numbers", of_network, of_components, of="components"),
                recorded("numbers in, numbers in the code", f"{new.shape[1]}, {network.code}"),
            ),
            pictures={"Garments and what remains of them": picture},
        )


def by_components(train: Rows, rows: Rows, count: int) -> Rows:
    """``rows`` from their first ``count`` principal components, which are those of ``train``.

    The optimum of a linear autoencoder: Baldi & Hornik, Neural Networks and Principal Component Analysis (1989).
    """
    mean = train.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(train, rowvar=False))  # in ascending order
    axes = axes[:, ::-1][:, :count]
    return np.asarray(mean + (rows - mean) @ axes @ axes.T, np.float32)


def _draw(ways: dict[str, Rows], count: int, path: Path) -> Path:
    """The first garments in the first line, and below them what each way makes of them."""
    figure = drawing.figure(width=9.6, height=3.2)
    for line, (name, rows) in zip(figure.subplots(len(ways), 1), ways.items(), strict=True):
        line.imshow(np.hstack([row.reshape(EDGE, EDGE) for row in rows[:count]]), cmap="gray", vmin=0, vmax=1)
        line.set_ylabel(name, fontsize=8)
        line.set_xticks([])
        line.set_yticks([])
    return drawing.save(figure, path)


RECIPE = Recipe(
    name="garments-autoencoder",
    description="Drawn garments of 784 numbers through 8 numbers and back, by an autoencoder.",
    license="apache-2.0",
    data=DrawnGarments(),
    pipeline=NumberPipeline(),
    network=Network(),
    build=build,
    task=Regress(),
    study=CompareWithComponents(),
    optimizer=Optimizer(name="adam", learning_rate=3e-3, schedule=Schedule(name="one-cycle")),
    loss=Loss(name="mean-squared-error"),
    metrics=("root-mean-squared-error",),
    fitting=Fitting(epochs=30, batch_size=32, monitor="val_loss"),
    targets=Targets(parameters=203_928),
)
