"""The first network of the course with TensorBoard: 784-64-10 on random numbers, which it learns by heart.

Command: python -m training run hello-tensorboard --tensorboard --test
Result: accuracy 0.7660 on the 1,000 rows that it learned, 0.0960 and 0.1030 on new ones; 50,890 parameters; 27 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC

1,000 rows of 784 random numbers with random labels from 0 to 9: there is no rule, so what the network learns of the
training part says nothing of other rows. With ``--tensorboard`` the logs have the graph, and histograms of all weights
after each epoch; ``tensorboard --logdir runs/hello-tensorboard`` shows them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.bounds import Bounded, Count, Seed
from training.data.pipelines import NumberPipeline
from training.datasets.splits import Examples, Splits
from training.fit.run_files import TENSORBOARD_FOLDER
from training.measure import drawing
from training.measure.evaluate import predict
from training.measure.findings import Findings, above, between, recorded
from training.network.dense_blocks import Dense
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Subject, Targets

WIDTH = 784
DIGITS = tuple(map(str, range(10)))


@dataclass(frozen=True, kw_only=True)
class RandomRows(Bounded):
    """Random numbers with random labels.

    Attributes:
        rows: of each of the three parts.
        seed: of the numbers and labels.
    """

    rows: Count = 1000
    seed: Seed = 0

    def load(self) -> Splits:
        """Draw the rows; see ``DataSource.load``."""
        return Splits(
            name="random numbers",
            form="computed",
            files={},
            labels=DIGITS,
            train=self._draw(0),
            validation=self._draw(1),
            read_test=lambda: self._draw(2),
        )

    def synthetic(self) -> Splits:
        """The same rows: they are always computed."""
        return self.load()

    def _draw(self, part: int) -> Examples:
        rng = np.random.default_rng([self.seed, part])
        numbers = rng.random((self.rows, WIDTH), np.float32)
        return Examples(instances=numbers, labels=rng.integers(len(DIGITS), size=self.rows).astype(np.int32))


def build(network: Dense, signature: Signature) -> Any:
    """The hidden layers, and softmax; the numbers go in as they are."""
    import tf_keras
    from tf_keras import layers

    numbers = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    scores = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)
    return tf_keras.Model(numbers, scores(network(numbers)))


@dataclass(frozen=True, kw_only=True)
class ReadLogs:
    """Compares known rows with new ones, and reads the logs as TensorBoard does."""

    def __call__(self, subject: Subject) -> Findings:
        """Accuracy on both parts; what the logs of the training have."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        known, new = (
            float((predict(subject.model, subject.feed, part, batch_size=1000).argmax(axis=1) == part.labels).mean())
            for part in (subject.splits.train, subject.splits.validation)
        )
        logs = EventAccumulator(str(subject.directory / TENSORBOARD_FOLDER / "train"), size_guidance={"tensors": 0})
        logs.Reload()
        tags = logs.Tags()
        histograms = [tag for tag in tags["tensors"] if tag.endswith("/histogram")]
        chance = 1 / len(DIGITS)
        error = 5 * (chance * (1 - chance) / len(subject.splits.validation)) ** 0.5
        return Findings(
            figures=(
                above("accuracy on the rows that it learned", known, 0.5, of="learning by heart"),
                between("accuracy on new rows", new, chance - error, chance + error),
                recorded("graph in the logs", "yes" if tags["graph"] else "no"),
                recorded("weights with a histogram in the logs", len(histograms)),
            ),
            pictures=_draw(logs, histograms, subject.directory / "histograms.png"),
            notes=("New rows have labels of their own: one right answer in ten is chance.",),
        )


def _draw(logs: Any, histograms: list[str], path: Path) -> dict[str, Path]:
    """The histogram of the hidden weights after the first and the last epoch; nothing without histograms."""
    from tensorboard.util.tensor_util import make_ndarray

    tag = "hidden_1/kernel_0/histogram"
    if tag not in histograms:
        return {}
    events = logs.Tensors(tag)
    curves = {}
    for event in (events[0], events[-1]):
        left, right, count = make_ndarray(event.tensor_proto).T
        curves[f"after epoch {event.step + 1}"] = (((left + right) / 2).tolist(), (count / (right - left)).tolist())
    return {"Weights of the hidden layer": drawing.lines(curves, path, x="weight", y="weights per unit of width")}


RECIPE = Recipe(
    name="hello-tensorboard",
    description="Random numbers with random labels, by 784-64-10: what TensorBoard shows, and learning by heart.",
    license="apache-2.0",
    data=RandomRows(),
    pipeline=NumberPipeline(),
    network=Dense(units=(64,)),
    build=build,
    study=ReadLogs(),
    optimizer=Optimizer(name="adam", learning_rate=1e-3),
    fitting=Fitting(epochs=40, batch_size=32, keep="last"),
    calibrate=False,
    targets=Targets(parameters=50_890),
)
