"""The smallest network there is: one unit finds the rule behind six pairs of numbers.

Command: python -m training run hello-world
Result: f(10) = 18.9817, y = 1.99735 x - 0.99177; 500 epochs in 2 s
Date and hardware: 2026-11-21, two cores of an AMD EPYC

As taught: one Dense(1) unit, stochastic gradient descent with Keras's default learning rate 0.01, mean squared error,
xs -1 to 4, ys 2x - 1, 500 epochs of all six pairs at once, the TensorBoard callback. Six pairs do not determine the
rule with certainty, so f(10) is close to 19 and not exactly 19.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.pipelines import NumberPipeline
from training.datasets.splits import Examples, Splits
from training.measure.findings import Findings, between, recorded
from training.measure.tasks import Regress
from training.recipe.fitting import Fitting, Loss, Optimizer
from training.recipe.recipe import VALUES_NAME, Recipe, Signature, Subject, Targets


@dataclass(frozen=True, kw_only=True)
class Line:
    """Six points of the line y = slope x + intercept; all of them are for training.

    Attributes:
        first, count: x values: ``first``, ``first + 1``, ...
    """

    slope: float = 2.0
    intercept: float = -1.0
    first: int = -1
    count: int = 6

    def load(self) -> Splits:
        """The points; see ``DataSource.load``."""
        xs = np.arange(self.first, self.first + self.count, dtype=np.float32)[:, None]
        points = Examples(instances=xs, labels=(self.slope * xs + self.intercept).astype(np.float32))
        nothing = points.take(np.arange(0))
        return Splits(
            name="six points of a line",
            form="computed",
            files={},
            labels=(),
            train=points,
            validation=nothing,
            read_test=lambda: nothing,
        )

    def synthetic(self) -> Splits:
        """The same points: they are always computed."""
        return self.load()


@dataclass(frozen=True, kw_only=True)
class Network:
    """Settings of the network; attributes: bias: whether the unit has one."""

    bias: bool = True


def build(network: Network, signature: Signature) -> Any:
    """One dense layer without activation: y = weight x + bias."""
    import tf_keras
    from tf_keras import layers

    x = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    return tf_keras.Model(x, layers.Dense(1, use_bias=network.bias, name=VALUES_NAME)(x))


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Evaluates the trained unit at a number that it has not seen.

    Attributes:
        x: the number.
        low, high: limits of the answer.
    """

    x: float = 10.0
    low: float = 18.9
    high: float = 19.1

    def __call__(self, subject: Subject) -> Findings:
        """f(x), and the rule that the unit learned."""
        answer = float(subject.model.predict(np.array([[self.x]], np.float32), verbose=0)[0, 0])
        weights = subject.model.get_weights()
        return Findings(
            figures=(
                between(f"f({self.x:g})", answer, self.low, self.high),
                recorded("weight", float(weights[0][0, 0])),
                *(recorded("bias", float(bias[0])) for bias in weights[1:]),
            )
        )


RECIPE = Recipe(
    name="hello-world",
    description="The rule behind six pairs of numbers, y = 2x - 1, by one unit.",
    license="apache-2.0",
    data=Line(),
    pipeline=NumberPipeline(),
    network=Network(),
    build=build,
    task=Regress(),
    study=Ask(),
    optimizer=Optimizer(name="sgd", learning_rate=0.01),
    loss=Loss(name="mean-squared-error"),
    metrics=("mean-absolute-error", "root-mean-squared-error"),
    fitting=Fitting(epochs=500, batch_size=6, descent="batch", keep="last", checkpoint_every=50),
    targets=Targets(parameters=2),
)
