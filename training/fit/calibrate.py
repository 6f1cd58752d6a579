"""Calibrates a trained classifier with one temperature, fitted on the validation part only."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.pipelines import Feed
from training.datasets.splits import Splits
from training.measure.calibration import Bins
from training.measure.card import NO_CLASSES
from training.measure.evaluate import Evaluation, predict
from training.measure.label_sets import MultiLabel
from training.measure.several_outputs import SeveralTasks
from training.measure.tasks import Array, Classify
from training.measure.temperature import NoTemperature, best_temperature
from training.network.temperature_scaling import head_of
from training.recipe.recipe import Recipe

SUM_TOLERANCE = 1e-3
"""Largest difference of a row of probabilities from the sum 1."""
NO_TEMPERATURE = {
    MultiLabel: "each label has a probability of its own; one temperature is for classes",
    SeveralTasks: "a network with several heads has no temperature",
}
"""Task with probabilities -> why it is not calibrated."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The result of ``calibrate``.

    Attributes:
        model: with the temperature, if one was adopted.
        answers: of that model to the validation part, (rows, width); None if it is empty.
        temperature: 1 if none was adopted.
        reason: why none was; empty if one was.
        place: where it is in the graph; empty if none was adopted.
        before, after: figures of the validation part; None if no temperature was tried.
    """

    model: Any
    answers: Array | None
    temperature: float = 1.0
    reason: str = ""
    place: str = ""
    before: Evaluation | None = None
    after: Evaluation | None = None

    @property
    def adopted(self) -> bool:
        """Whether the model has a temperature."""
        return bool(self.place)

    @property
    def sentence(self) -> str:
        """What happened, for the console."""
        if not self.adopted or self.before is None or self.after is None:
            return f"not calibrated: {self.reason}"
        return (
            f"calibrated with temperature {self.temperature:.3f}: validation log loss {self.before.log_loss:.4f} -> "
            f"{self.after.log_loss:.4f}, calibration error {self.before.calibration_error:.4f} -> "
            f"{self.after.calibration_error:.4f}"
        )

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "adopted": self.adopted,
            "temperature": self.temperature,
            "reason": self.reason,
            "place": self.place,
            "before": _figures(self.before) if self.before else None,
            "after": _figures(self.after) if self.after else None,
        }


def _figures(evaluation: Evaluation) -> dict[str, float | int | list[float] | Bins | None]:
    document = evaluation.as_json()
    names = ("rows", "accuracy", "log_loss", "calibration_error", "calibration_interval", "calibration_bins")
    return {name: document[name] for name in names}


def calibrate(recipe: Recipe, model: Any, feed: Feed, splits: Splits) -> Calibrated:
    """Find the temperature of a trained network, and build it into the graph if that does no harm.

    It is adopted if the log loss of the validation part is not worse and its accuracy is the same. The test part is
    not read.

    Args:
        recipe: with ``calibrate``; only a recipe that classifies has a temperature.
        model: trained, as ``finish`` made it; it stays unchanged.
        feed: the recipe's pipeline, bound to ``splits.train``.
        splits: the data.
    """
    validation, size = splits.validation, recipe.fitting.evaluation_batch_size
    answers = predict(model, feed, validation, batch_size=size) if len(validation) else None
    if not isinstance(recipe.task, Classify):
        reason = NO_TEMPERATURE.get(type(recipe.task), NO_CLASSES)
        return Calibrated(model=model, answers=answers, reason=reason)
    if not recipe.calibrate:
        return Calibrated(model=model, answers=answers, reason="calibrate=false")
    if answers is None:
        return Calibrated(model=model, answers=answers, reason="there is no validation part")
    head, truth = head_of(model), feed.truth(validation)
    if head is None:
        reason = "the network has not one output with a probability for each class"
        return Calibrated(model=model, answers=answers, reason=reason)
    if (
        head.activation == "softmax"
        and np.isfinite(answers).all()
        and not np.allclose(answers.sum(axis=1), 1, atol=SUM_TOLERANCE)
    ):
        reason = f"its answers end in {_last(model)}, neither softmax nor sigmoid, and do not sum to 1"
        return Calibrated(model=model, answers=answers, reason=reason)
    logits = predict(head.logits, feed, validation, batch_size=size)
    try:
        temperature = best_temperature(logits, truth, activation=head.activation)
    except NoTemperature as error:
        return Calibrated(model=model, answers=answers, reason=str(error))
    divided = head.divided(temperature)
    new_answers = predict(divided, feed, validation, batch_size=size)
    before, after = (recipe.task.measure(each, truth, names=splits.labels) for each in (answers, new_answers))
    if worse := _worse(before, after):
        return Calibrated(model=model, answers=answers, reason=worse, before=before, after=after)
    return Calibrated(
        model=divided,
        answers=new_answers,
        temperature=temperature,
        place=head.place,
        before=before,
        after=after,
    )


def _worse(before: Evaluation, after: Evaluation) -> str:
    """What a temperature made worse; empty if nothing."""
    if after.accuracy != before.accuracy:
        return f"it would change the accuracy from {before.accuracy:.6g} to {after.accuracy:.6g}"
    if not after.log_loss <= before.log_loss:
        return f"it would change the log loss from {before.log_loss:.6g} to {after.log_loss:.6g}"
    return ""


def _last(model: Any) -> str:
    layer = model.get_layer(model.output_names[0])
    return f"layer {layer.name!r} ({type(layer).__name__})"
