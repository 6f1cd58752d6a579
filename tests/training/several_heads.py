"""A recipe that trains in two seconds, with two inputs of different kinds and three heads of different tasks."""

from typing import Any

import numpy as np

from app.contract.steps import TransformStep
from training.data.pipelines import ArrayPipeline
from training.measure.label_sets import MultiLabel
from training.measure.tasks import Classify, Regress
from training.recipe.fitting import Fitting, Loss, Optimizer
from training.recipe.heads import Head
from training.recipe.recipe import Recipe, Signature
from training.sources.named_arrays import ArrayTarget, NamedArrays

ROWS = 200
EDGE = 4
INPUTS = ("pixels", "numbers")
TARGETS = (
    ArrayTarget(name="kind", predicts="classes"),
    ArrayTarget(name="tags", predicts="labels", labels=("tall", "wide")),
    ArrayTarget(name="price", predicts="number"),
)


def arrays() -> dict[str, Any]:
    """Bright or dark pictures with two numbers: what kind, which numbers are positive, and a price from both inputs."""
    rng = np.random.default_rng(4)
    bright, numbers = rng.integers(0, 2, ROWS), rng.normal(size=(ROWS, 2))
    return {
        "pixels": (rng.integers(0, 100, (ROWS, EDGE, EDGE)) + 150 * bright[:, None, None]).astype(np.uint8),
        "numbers": numbers,
        "kind": np.array(["dark", "bright"])[bright],
        "tags": numbers > 0,
        "price": 3 * bright + numbers[:, 0],
        "counts": 1 + bright,
    }


def build(network: None, signature: Signature) -> Any:
    """Two branches, a shared layer, a layer for each head."""
    import tf_keras
    from tf_keras import layers

    inputs = [layers.Input(each.shape, dtype=each.dtype, name=each.name) for each in signature.inputs]
    pixels = layers.Dense(4, activation="relu")(layers.Flatten()(layers.Rescaling(1 / 128, offset=-1)(inputs[0])))
    shared = layers.Dense(8, activation="relu", name="shared")(layers.Concatenate()([pixels, inputs[1]]))
    heads = [
        layers.Dense(length, activation=signature.activations[name], name=name)(shared)
        for name, length in signature.heads.items()
    ]
    return tf_keras.Model(inputs, heads)


def heads(**changes: Any) -> tuple[Head, ...]:
    """The three heads; ``changes`` are fields of ``price``."""
    price = {"task": Regress(), "loss": Loss(name="mean-squared-error"), "weight": 0.3, "name": "price"}
    return (
        Head(name="kind", task=Classify(), loss=Loss(), metrics=("accuracy",)),
        Head(name="tags", task=MultiLabel(), loss=Loss(name="binary-crossentropy"), metrics=("binary-accuracy",)),
        Head(**(price | changes)),
    )


def source(made: Any = arrays, **changes: Any) -> NamedArrays:
    """The arrays as data."""
    return NamedArrays(**({"make": made, "inputs": INPUTS, "targets": TARGETS} | changes))


def recipe(**changes: Any) -> Recipe:
    """Trains in two seconds."""
    settings: dict[str, Any] = {
        "name": "tiny-heads",
        "description": "Kind, tags and price.",
        "data": source(),
        "pipeline": ArrayPipeline(
            image="pixels", steps=(TransformStep(step="resize", arguments={"width": EDGE, "height": EDGE}),)
        ),
        "network": None,
        "build": build,
        "heads": heads(),
        "optimizer": Optimizer(learning_rate=0.03),
        "fitting": Fitting(epochs=8, batch_size=10, monitor="val_loss"),
    }
    return Recipe(**(settings | changes))
