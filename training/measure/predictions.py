"""The answers of a trained network to a held-out part, kept in the directory of a run for its report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.disk import replaced
from training.measure.tasks import Array

VALIDATION_FILE = "predictions-validation.npz"
TEST_FILE = "predictions-test.npz"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Answers and truth, in the order of the part.

    Attributes:
        answers: float32 (rows, width); of several outputs a structured array (rows,) with a field for each.
        truth: int32 (rows,), bool (rows, labels) or float32 (rows, width); of several outputs as the answers.
    """

    answers: Array
    truth: Array

    def of(self, head: str) -> tuple[Array, Array]:
        """Answers and truth of one output; ``""`` is the only one."""
        return (self.answers[head], self.truth[head]) if head else (self.answers, self.truth)


def write_predictions(path: Path, answers: Array, truth: Array) -> None:
    """Replace the file in one step."""
    with replaced(path) as temporary:
        np.savez(temporary, allow_pickle=False, answers=answers, truth=truth)


def read_predictions(path: Path) -> Predictions | None:
    """What ``write_predictions`` wrote; None without the file."""
    if not path.is_file():
        return None
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # closed also if it is damaged
        return Predictions(answers=file["answers"], truth=file["truth"])
