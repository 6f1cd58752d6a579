"""Writes two models of scikit-learn as ONNX: ``python write_scikit.py DIRECTORY``, where skl2onnx is installed.

Both have an INT64 label and float32 probabilities as outputs. The first is also saved as it is, with inputs and what it
answers to them.
"""

import sys
from pathlib import Path

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(directory: Path) -> None:
    """Fit both on random numbers."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 6)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64) + (features[:, 1] * features[:, 2] > 0.5)
    for name, model in (
        ("scikit-classes", make_pipeline(StandardScaler(), LogisticRegression())),
        ("scikit-trees", RandomForestClassifier(20, random_state=0)),
    ):
        model.fit(features, labels)
        if name == "scikit-classes":
            rows = features[:50].astype(np.float64)
            joblib.dump(model, directory / "pipeline.joblib")
            np.savez(directory / "pipeline.npz", features=rows, probabilities=model.predict_proba(rows))
        graph = to_onnx(model, initial_types=None, X=features[:1], options={"zipmap": False})
        graph.graph.input[0].name, before = "features", graph.graph.input[0].name
        for node in graph.graph.node:
            node.input[:] = ["features" if each == before else each for each in node.input]
        (directory / f"{name}.onnx").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
