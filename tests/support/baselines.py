"""baseline.json for the models of a few weights: what a training would have measured of generated images and texts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.manifest import write_manifest
from tests.support.tiny_models import COLOURS, SIDE

QUANTILES = (1, 5, 25, 50, 75, 95, 99)


def histogram(values: npt.NDArray[Any], edges: npt.NDArray[Any]) -> dict[str, Any]:
    """As the training writes it."""
    counts, _ = np.histogram(values, bins=edges)
    return {"edges": edges.tolist(), "shares": (counts / counts.sum()).tolist()}


def grey_images(rows: int, *, brighter: float = 0, seed: int = 0) -> npt.NDArray[np.uint8]:
    """uint8 (rows, SIDE, SIDE): a brightness for each image, and noise for each pixel."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(120 + brighter, 30, (rows, 1, 1)) + rng.normal(0, 20, (rows, SIDE, SIDE))
    return np.clip(levels, 0, 255).astype(np.uint8)


def write_brightness_baseline(version: Path, rows: int = 5000) -> None:
    """Of ``grey_images``, and of what ``write_brightness_model`` answers to them."""
    images = grey_images(rows, seed=1)
    means = images.reshape(rows, -1).mean(axis=1)
    bright = 1 / (1 + np.exp(-2 * (means - 127.5)))
    inputs = {
        "kind": "image",
        "rows": rows,
        "mean": float(images.mean()),
        "histogram": histogram(images, np.linspace(0, 256, 17)),
        "mean_per_image": {f"p{part}": float(np.percentile(means, part)) for part in QUANTILES},
    }
    predictions = {
        "rows": rows,
        "predicted_shares": {COLOURS[0]: float((bright < 0.5).mean()), COLOURS[1]: float((bright >= 0.5).mean())},
        "confidence": {"histogram": histogram(np.maximum(bright, 1 - bright), np.linspace(0, 1, 21))},
    }
    document = {"inputs": {"pixels": inputs}, "predictions": predictions}
    (version / "baseline.json").write_text(json.dumps(document))
    write_manifest(version)
