"""The worst mistakes of a classifier: validation rows that it was most sure of and got wrong, with what it saw.

They are rows of the data, so they stay in the directory of the run and are never part of a published version.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from training.datasets.splits import Examples
from training.measure.predictions import Predictions
from training.report.page import inline

MOST = 24
MOST_NUMBERS = 8
LONGEST_TEXT = 400
LARGEST_EDGE = 256  # pixels of a picture in the report


def worst_mistakes(examples: Examples, predictions: Predictions, *, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """The MOST surest mistakes, the surest first.

    Args:
        examples: the validation part.
        predictions: probabilities of classes, and the right ones, row by row.
        labels: class names.

    Returns:
        For each: its row, the right and the predicted class with their probabilities, and ``picture`` (the address of
        an image, which contains it) or ``text``. JSON can hold all of it.
    """
    answers, truth = predictions.answers, predictions.truth
    predicted = answers.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    worst = wrong[np.argsort(-answers[wrong, predicted[wrong]], kind="stable")][:MOST]
    shown = examples.take(worst).instances if len(worst) else ()
    seen = shown if isinstance(shown, tuple) else np.asarray(shown)
    return [
        {
            "row": int(row),
            "right": labels[truth[row]],
            "right_probability": float(answers[row, truth[row]]),
            "predicted": labels[predicted[row]],
            "predicted_probability": float(answers[row, predicted[row]]),
            **_seen(instance),
        }
        for row, instance in zip(worst, seen, strict=True)
    ]


def _seen(instance: Any) -> Mapping[str, str]:
    """A picture, a text, or the columns or numbers of a row."""
    if isinstance(instance, str):
        text = instance if len(instance) <= LONGEST_TEXT else f"{instance[:LONGEST_TEXT]} ..."
        return {"text": text}
    if isinstance(instance, np.void):  # a row of a table
        values = {name: instance[name] for name in instance.dtype.names or ()}
        return {"text": ", ".join(f"{name} = {_cell(value)}" for name, value in values.items())}
    if instance.dtype == np.uint8:
        image = Image.fromarray(instance)
        image.thumbnail((LARGEST_EDGE, LARGEST_EDGE))
        buffer = io.BytesIO()
        image.save(buffer, format="png")
        return {"picture": inline(buffer.getvalue())}
    return {"text": ", ".join(f"{value:.4g}" for value in instance.ravel()[: LONGEST_TEXT // 8])}


def _cell(value: Any) -> str:
    """A category, a number, or the first numbers of an array."""
    if isinstance(value, np.ndarray):
        numbers = [f"{number:.4g}" for number in value.ravel()[:MOST_NUMBERS]]
        return f"[{', '.join([*numbers, '...'] if value.size > MOST_NUMBERS else numbers)}]"
    return value.decode(errors="replace") if isinstance(value, bytes) else f"{value:.6g}"
