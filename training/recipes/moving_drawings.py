"""Short films of moving drawings: which way does the shape move? By convolutions over time, height and width.

Command: python -m training run moving-drawings --test
Result: accuracy 1.0000 on 500 test films; 0.2500 with one frame, which is chance; 3,764 parameters; 31 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC

A batch of films is a tensor of five axes: films, frames, height, width, and one channel. A shape begins anywhere,
moves up, down, left or right, and comes back at the other side when it leaves the picture. So each place and shape is
equally probable in each frame, whatever the direction: a single frame cannot tell it. The study proves this with the
same network on films that stand still.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from training.bounds import Bounded, Count, Seed, ShareBelowOne
from training.data.pipelines import ArrayPipeline
from training.datasets.splits import Examples, Splits
from training.measure import drawing
from training.measure.evaluate import predict
from training.measure.findings import Findings, above, between, recorded
from training.recipe.fitting import Fitting, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Subject, Targets

FRAMES, EDGE = 6, 16
INPUT = "frames"
STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
"""Direction -> rows and columns that the shape moves in each frame."""
DIRECTIONS = tuple(STEPS)
SHAPES = ("square", "disc", "cross", "ring")

Films = npt.NDArray[Any]
"""Structured array (rows,) with the field ``frames``, uint8 (6, 16, 16, 1)."""


@dataclass(frozen=True, kw_only=True)
class MovingDrawings(Bounded):
    """Films of one shape each, which are drawn.

    Attributes:
        rows: of the train part; validation and test have a quarter each.
        noise: standard deviation of the noise on each pixel, of 255.
        seed: of the drawings.
    """

    rows: Count = 2000
    noise: Count = 20
    seed: Seed = 0

    def load(self) -> Splits:
        """Draw the films; see ``DataSource.load``."""
        return Splits(
            name="moving drawings",
            form="computed",
            files={},
            labels=DIRECTIONS,
            train=self._films(self.rows, 0),
            validation=self._films(self.rows // 4, 1),
            read_test=lambda: self._films(self.rows // 4, 2),
        )

    def synthetic(self) -> Splits:
        """The same films: they are always drawn."""
        return self.load()

    def _films(self, count: int, part: int) -> Examples:
        rng = np.random.default_rng([self.seed, part])
        labels = rng.permutation(np.arange(count) % len(DIRECTIONS)).astype(np.int32)
        films = np.zeros(count, [(INPUT, np.uint8, (FRAMES, EDGE, EDGE, 1))])
        for row, label in enumerate(labels):
            shape = _shape(SHAPES[rng.integers(len(SHAPES))], radius=int(rng.integers(2, 5)))
            begin, speed = rng.integers(EDGE, size=2), int(rng.integers(1, 3))
            step = np.array(STEPS[DIRECTIONS[label]]) * speed
            for frame in range(FRAMES):
                picture = np.roll(shape, begin + frame * step, axis=(0, 1)) + rng.normal(0, self.noise, shape.shape)
                films[INPUT][row, frame, :, :, 0] = np.clip(picture, 0, 255)
        return Examples(instances=films, labels=labels)


def _shape(name: str, *, radius: int) -> npt.NDArray[np.float64]:
    """A shape in the middle of a picture, (16, 16), 0 or 200."""
    rows, columns = np.abs(np.mgrid[:EDGE, :EDGE] - EDGE // 2)
    distance = np.hypot(rows, columns)
    cover = {
        "square": np.maximum(rows, columns) <= radius,
        "disc": distance <= radius,
        "cross": (np.minimum(rows, columns) == 0) & (np.maximum(rows, columns) <= radius),
        "ring": np.abs(distance - radius) <= 0.7,
    }[name]
    return np.where(cover, 200.0, 0.0)


def standing_still(films: Films) -> Films:
    """Films whose frames are all their middle one: the same pictures without motion."""
    still = films.copy()
    still[INPUT] = films[INPUT][:, FRAMES // 2 : FRAMES // 2 + 1]
    return still


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network; attributes: filters: of each convolution over 3 frames, 3 rows and 3 columns."""

    filters: tuple[Count, ...] = (8, 16)


def build(network: Network, signature: Signature) -> Any:
    """Convolutions over time, height and width, with a pooling of height and width between them; the mean; softmax."""
    import tf_keras
    from tf_keras import layers

    frames = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Rescaling(1 / 255)(frames)
    for number, filters in enumerate(network.filters):
        x = layers.MaxPooling3D((1, 2, 2))(x) if number else x
        x = layers.Conv3D(filters, 3, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    x = layers.GlobalAveragePooling3D()(x)
    return tf_keras.Model(frames, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


@dataclass(frozen=True, kw_only=True)
class StandStill(Bounded):
    """Trains the same network on the same films without motion; attributes: at_least: accuracy with motion."""

    at_least: ShareBelowOne = 0.95

    def __call__(self, subject: Subject) -> Findings:
        """Accuracy with and without motion; without, it must be within five standard errors of chance."""
        from training.fit.fit import fit

        validation = subject.splits.validation
        moving = _share_right(predict(subject.model, subject.feed, validation, batch_size=256), validation)
        train, still = (
            Examples(instances=standing_still(np.asarray(part.instances)), labels=part.labels)
            for part in (subject.splits.train, validation)
        )
        splits = Splits(
            name="films that stand still",
            form="computed",
            files={},
            labels=DIRECTIONS,
            train=train,
            validation=still,
            read_test=lambda: still,
        )
        directory = subject.directory / "still"
        directory.mkdir(exist_ok=True)
        feed = subject.recipe.pipeline.bind(train, classes=splits.classes)
        recipe = subject.recipe
        trained = fit(recipe, feed, splits, directory=directory, console=Console(quiet=True))
        standing = _share_right(predict(trained.model, feed, still, batch_size=256), still)
        chance = 1 / len(DIRECTIONS)
        error = (chance * (1 - chance) / len(still)) ** 0.5
        return Findings(
            figures=(
                above("accuracy with six frames", moving, self.at_least, of="the expected accuracy"),
                between("accuracy with one frame", standing, chance - 5 * error, chance + 5 * error),
                recorded("standard error of chance", error),
            ),
            pictures={"A film of each direction": _draw(validation, subject.directory / "films.png")},
            notes=("The same network learns from films whose frames are all their middle one.",),
        )


def _share_right(answers: npt.NDArray[Any], films: Examples) -> float:
    return float((answers.argmax(axis=1) == films.labels).mean())


def _draw(films: Examples, path: Path) -> Path:
    """The first film of each direction, frame by frame."""
    figure = drawing.figure(width=6.4, height=4.4)
    frames = np.asarray(films.instances)[INPUT]
    for label, line in enumerate(figure.subplots(len(DIRECTIONS), 1)):
        film = frames[np.flatnonzero(films.labels == label)[0], :, :, :, 0]
        line.imshow(np.concatenate(list(film), axis=1), cmap="gray")
        line.set_ylabel(DIRECTIONS[label])
        line.set_xticks(np.arange(1, FRAMES) * EDGE - 0.5, [])
        line.set_yticks([])
    return drawing.save(figure, path)


RECIPE = Recipe(
    name="moving-drawings",
    description="Which way a drawn shape moves in a film of six frames, by convolutions over time and space.",
    license="apache-2.0",
    data=MovingDrawings(),
    pipeline=ArrayPipeline(),
    network=Network(),
    build=build,
    study=StandStill(),
    optimizer=Optimizer(name="adam", learning_rate=0.01, schedule=Schedule(name="one-cycle")),
    fitting=Fitting(epochs=12, batch_size=32, monitor="val_loss"),
    publish_examples=True,
    targets=Targets(parameters=5_000),
)
