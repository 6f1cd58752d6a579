"""Files of a run while it trains: its state, its best weights, its history."""

import csv
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.disk import replaced

CHECKPOINT_FOLDER = "checkpoint"
STATE_FILE = "state.json"
BEST_FILE = "best.npz"
HISTORY_FILE = "history.csv"
TENSORBOARD_FOLDER = "tensorboard"


@dataclass
class Progressed:
    """Progress of a run: what an interrupted run needs besides weights and optimiser.

    Attributes:
        epoch: epochs finished.
        best: best value of the monitor; None before the first validation.
        best_epoch: its epoch, counted from 1.
        history: one row per finished epoch.
        seconds: time of the finished epochs.
        finished: whether training ended by itself.
        warnings: kind -> a sentence about the training, printed once.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False
    warnings: dict[str, str] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        """Replace ``directory``/state.json in one step."""
        with replaced(directory / STATE_FILE) as path:
            path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> "Progressed":
        """Read what ``write`` wrote; a fresh start without a file."""
        path = directory / STATE_FILE
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()


def write_weights(path: Path, weights: list[Any]) -> None:
    """Write arrays to an .npz file, in order, with one rename."""
    with replaced(path) as temporary:
        np.savez(temporary, allow_pickle=False, **{f"{index:04d}": weight for index, weight in enumerate(weights)})


def read_weights(path: Path) -> list[Any]:
    """The arrays from ``write_weights``, in order."""
    with np.load(path, allow_pickle=False) as file:
        return [file[name] for name in sorted(file.files)]


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """Write one row per epoch as CSV; a figure that an epoch lacks stays empty."""
    columns: dict[str, None] = {}
    for row in history:
        columns |= dict.fromkeys(row)
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)
