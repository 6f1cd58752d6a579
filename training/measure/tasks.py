"""Tasks of a network, and how its answers are measured: classes, numbers, or the next token.

Imports no TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from app.contract.steps import Classification, NextToken
from app.contract.tensor_spec import TensorSpec
from training.data.deciles import decile_histogram
from training.measure.evaluate import SMALLEST_PROBABILITY, Evaluation, evaluate, prediction_statistics

PROBABILITIES = "probabilities"
VALUES = "values"

Array = npt.NDArray[Any]
Names = tuple[str, ...]
Activation = Literal["softmax", "sigmoid", "linear"]


class Measured(Protocol):
    """Held-out figures of one part.

    Attributes:
        rows: number of examples.
        headline: the most important figure and its name, e.g. ``accuracy 0.9151``.
    """

    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def headline(self) -> str: ...  # noqa: D102

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        ...


class Task(Protocol):
    """The task of a network.

    ``names`` are those of ``Splits.names``, which has the form that the task needs. With several outputs, answers and
    truth are structured arrays (rows,) with a field for each.

    Attributes:
        activations: name of each output, in order -> the activation of a usual last layer for it.
    """

    @property
    def activations(self) -> Mapping[str, Activation]: ...  # noqa: D102

    def tensors(self, lengths: Mapping[str, int]) -> tuple[TensorSpec, ...]:
        """The outputs; ``lengths`` has the last dimension of each."""
        ...

    def postprocessing(self, names: Any) -> Classification | NextToken | None:
        """The service's postprocessing of an output."""
        ...

    def measure(self, answers: Array, truth: Array, *, names: Any) -> Measured:
        """Compare answers, (rows, width), with the truth."""
        ...

    def restore(self, document: dict[str, Any]) -> Measured:
        """Inverse of ``Measured.as_json``."""
        ...

    def statistics(self, answers: Array, truth: Array, *, names: Any) -> Mapping[str, Any]:
        """Statistics of answers, for drift detection."""
        ...


class Probabilities:
    """Part of a task with one output of float32 (width,), each from 0 to 1."""

    output: str

    def tensors(self, lengths: Mapping[str, int]) -> tuple[TensorSpec, ...]:
        """See ``Task.tensors``."""
        shape = (lengths[self.output],)
        return (TensorSpec(name=self.output, dtype="float32", shape=shape, minimum=0.0, maximum=1.0),)


@dataclass(frozen=True, kw_only=True)
class Classify(Probabilities):
    """One of several classes; the output contains their probabilities."""

    output: str = PROBABILITIES

    @property
    def activations(self) -> Mapping[str, Activation]:
        """See ``Task.activations``."""
        return {self.output: "softmax"}

    def postprocessing(self, names: Names) -> Classification:
        """The class names."""
        return Classification(output=self.output, labels=names)

    def measure(self, answers: Array, truth: Array, *, names: Names) -> Evaluation:
        """See ``evaluate``."""
        return evaluate(answers, truth, names=names)

    def restore(self, document: dict[str, Any]) -> Evaluation:
        """See ``Evaluation.from_json``."""
        return Evaluation.from_json(document)

    def statistics(self, answers: Array, truth: Array, *, names: Names) -> Mapping[str, Any]:
        """See ``prediction_statistics``."""
        return prediction_statistics(answers, truth, names=names)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """Distance of numbers from the expected ones.

    Attributes:
        mae: mean absolute error.
        mse: mean squared error.
        rmse: its square root.
    """

    rows: int
    mae: float
    mse: float
    rmse: float

    @property
    def headline(self) -> str:
        """The root of the mean squared error, which has the unit of the values."""
        return f"RMSE {self.rmse:.4g}"

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        return vars(self).copy()


@dataclass(frozen=True, kw_only=True)
class Regress:
    """Unbounded numbers."""

    output: str = VALUES

    @property
    def activations(self) -> Mapping[str, Activation]:
        """See ``Task.activations``."""
        return {self.output: "linear"}

    def tensors(self, lengths: Mapping[str, int]) -> tuple[TensorSpec, ...]:
        """float32 (width,)."""
        return (TensorSpec(name=self.output, dtype="float32", shape=(lengths[self.output],)),)

    def postprocessing(self, names: Names) -> None:
        """None: the numbers are the answer."""

    def measure(self, answers: Array, truth: Array, *, names: Names) -> Deviation:
        """Mean absolute and squared error over all rows and values."""
        difference = answers.astype(np.float64) - truth
        mse = float(np.square(difference).mean())
        return Deviation(rows=len(truth), mae=float(np.abs(difference).mean()), mse=mse, rmse=mse**0.5)

    def restore(self, document: dict[str, Any]) -> Deviation:
        """Inverse of ``Deviation.as_json``."""
        return Deviation(**document)

    def statistics(self, answers: Array, truth: Array, *, names: Names) -> Mapping[str, Any]:
        """Mean and standard deviation of each value; of a single one also its histogram."""
        found = {
            "rows": len(answers),
            "mean": answers.mean(axis=0).tolist(),
            "standard_deviation": answers.std(axis=0).tolist(),
        }
        return found | {"histogram": decile_histogram(answers.ravel())} if answers.size == len(answers) else found


@dataclass(frozen=True, kw_only=True)
class NextTokenMetrics:
    """Quality of next-token predictions.

    Attributes:
        log_loss: mean of -ln(probability of the token that came next).
        accuracy, top_5: share of these tokens that were the most probable, or among the five most probable.
    """

    rows: int
    log_loss: float
    accuracy: float
    top_5: float

    @property
    def perplexity(self) -> float:
        """e to the log loss: as uncertain as an even choice among this many tokens."""
        return float(np.exp(self.log_loss))

    @property
    def headline(self) -> str:
        """The perplexity."""
        return f"perplexity {self.perplexity:.2f}"

    def as_json(self) -> dict[str, Any]:
        """All figures, and the perplexity."""
        return {**vars(self), "perplexity": self.perplexity}


@dataclass(frozen=True, kw_only=True)
class PredictNextToken(Probabilities):
    """The next token of a text; the output contains a probability for every id except padding."""

    output: str = PROBABILITIES

    @property
    def activations(self) -> Mapping[str, Activation]:
        """See ``Task.activations``."""
        return {self.output: "softmax"}

    def postprocessing(self, names: Names) -> NextToken:
        """The labels are the vocabulary's."""
        return NextToken(output=self.output)

    def measure(self, answers: Array, truth: Array, *, names: Names) -> NextTokenMetrics:
        """Log loss and shares; ``truth`` contains columns of the output, int32 (rows,)."""
        chosen = answers[np.arange(len(truth)), truth]
        better = (answers > chosen[:, None]).sum(axis=1)
        return NextTokenMetrics(
            rows=len(truth),
            log_loss=float(-np.log(np.maximum(chosen, SMALLEST_PROBABILITY), dtype=np.float64).mean()),
            accuracy=float((better < 1).mean()),
            top_5=float((better < 5).mean()),
        )

    def restore(self, document: dict[str, Any]) -> NextTokenMetrics:
        """Inverse of ``NextTokenMetrics.as_json``."""
        return NextTokenMetrics(**{name: value for name, value in document.items() if name != "perplexity"})

    def statistics(self, answers: Array, truth: Array, *, names: Names) -> Mapping[str, Any]:
        """Confidence of the predictions."""
        confidence = answers.max(axis=1)
        counts, edges = np.histogram(confidence, bins=np.linspace(0, 1, 21))
        return {
            "rows": len(answers),
            "confidence": {
                "mean": float(confidence.mean()),
                "histogram": {"edges": edges.round(2).tolist(), "shares": (counts / counts.sum()).tolist()},
            },
        }
