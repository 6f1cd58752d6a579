"""metrics.json of a small classifier."""

import numpy as np

from training.measure.evaluate import evaluate
from training.measure.findings import between

EVALUATION = evaluate(
    np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], np.float32),
    np.array([0, 1, 1], np.int32),
    names=("dark", "<bright>"),
)

METRICS = {
    "test": EVALUATION.as_json(),
    "validation": EVALUATION.as_json(),
    "dataset": {"name": "tiny", "form": "drawn", "counts": {"train": 128, "validation": 3, "test": 3}},
    "target": {"test_accuracy": 0.6},
    "gate": "validation accuracy reaches the target",
    "forced": False,
    "parameters": 12_345,
    "epochs": 2,
    "kept_epoch": 2,
    "seconds": {"training": 61.4},
    "hardware": {"cpu": "A CPU", "cpu_count": 2},
    "date": "2026-01-01",
    "command": "python -m training run tiny",
    "overrides": ["fitting.epochs=2"],
    "findings": [between("f(10)", 18.98, 18.9, 19.1).as_json()],
    "warnings": ["the gradient vanishes"],
}
