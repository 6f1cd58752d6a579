"""Trains a tiny network through Ray Train: ``python -m tests.training.ray_check``; ``make ray-train`` calls it.

It runs where the extra ``ray`` is installed. Two workers on this machine must give the curve of one process, and a
worker that dies must end the run with one sentence. Ends with an error if they do not.
"""

import csv
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.training_command import Ended, run_training

RECIPE = """
from tests.training.tiny import *
RECIPE = image_recipe(epochs=3, target=0.1, optimizer=Optimizer(name="sgd", learning_rate=0.003))
"""
DIES = """
import json, os
from tests.training.tiny import *
class Data(TinyData):
    def load(self):
        if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1:
            os._exit(3)
        return super().load()
RECIPE = image_recipe(epochs=3, data=Data(draw=bright_images))
"""
RAY = ("--strategy", "ray", "--workers", "2")
TOLERANCE = 1e-4
"""Relative, as in tests/training/fit/test_distribution.py: two sums of a gradient differ by rounding."""


def main(place: Path) -> None:
    """Run the command line in this process, in ``place``."""
    console = Console(highlight=False, soft_wrap=True)
    (place / "tiny_images.py").write_text(RECIPE)
    ended = _run(place, "--run-id", "alone")
    assert ended.code == 0, ended.err
    ended = _run(place, *RAY, "--run-id", "ray")
    console.print(ended.out)
    assert ended.code == 0, ended.err
    assert "report: runs/tiny-images/ray/report.html" in ended.out
    alone, divided = (_curve(place / "runs/tiny-images" / name) for name in ("alone", "ray"))
    assert divided == [pytest.approx(figures, rel=TOLERANCE, abs=1e-6) for figures in alone]
    difference = max(abs(b[name] / a[name] - 1) for a, b in zip(alone, divided, strict=True) for name in a if a[name])
    console.print(f"{len(alone)} epochs: two workers differ from one process by at most {difference:.1e}, relatively")
    (place / "tiny_images.py").write_text(DIES)
    ended = _run(place, *RAY, "--run-id", "dies")
    console.print(f"a worker that dies: {ended.err.strip()}")
    assert ended.code == 2
    assert ended.err == "error: worker 1 ended by itself; the others were stopped, start the training again\n"


def _run(place: Path, *arguments: str) -> Ended:
    return run_training("run", "tiny_images.py", *arguments, cwd=place)


def _curve(directory: Path) -> list[dict[str, float]]:
    with (directory / "history.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(Path(directory))
