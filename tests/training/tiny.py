"""Recipes small enough to train in a second: brightness decides between two classes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.contract.model_spec import TransformStep
from training.datasets.splits import Examples, Splits
from training.overrides import FIXED
from training.pipelines import ImagePipeline, TextPipeline
from training.recipe import OUTPUT_NAME, Fitting, Optimizer, Recipe, Schedule, Signature, Targets

WORDS = (("bad", "dull", "poor"), ("good", "fine", "great"))


@dataclass(frozen=True, kw_only=True)
class Network:
    width: int = 8
    dropout: float = 0.0
    layers: tuple[int, ...] = ()
    pair: tuple[int, int] = (1, 2)


def build_images(network: Network, signature: Signature) -> Any:
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype="uint8", name=signature.input.name)
    x = layers.Flatten()(layers.Rescaling(1 / 50, offset=-2)(pixels))
    x = layers.Dense(network.width, activation="relu", name="hidden")(x)
    x = layers.Dropout(network.dropout)(x)
    return tf_keras.Model(pixels, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


def build_texts(network: Network, signature: Signature) -> Any:
    import tf_keras
    from tf_keras import layers

    ids = layers.Input((None,), dtype="int32", name=signature.input.name)
    x = layers.Embedding(signature.id_count, network.width, mask_zero=True, name="embedding")(ids)
    x = layers.LSTM(network.width)(x)
    return tf_keras.Model(ids, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


def build_bag(network: Network, signature: Signature) -> Any:
    import tf_keras
    from tf_keras import layers

    ids = layers.Input((None,), dtype="int32", name=signature.input.name)
    x = layers.Embedding(signature.id_count, network.width, mask_zero=True, name="embedding")(ids)
    x = layers.GlobalAveragePooling1D()(x)
    return tf_keras.Model(ids, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


def bright_images(count: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count).astype(np.int32)
    images = generator.integers(0, 100, (count, 8, 8)) + 100 * labels[:, None, None]
    return Examples(instances=images.astype(np.uint8), labels=labels)


def short_texts(count: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count).astype(np.int32)
    texts = tuple(
        " ".join(generator.choice([*WORDS[label], "the", "a"], generator.integers(1, 12))) for label in labels
    )
    return Examples(instances=texts, labels=labels)


@dataclass(frozen=True, kw_only=True)
class TinyData:
    """A source that notes when its test part is read."""

    draw: Any = field(metadata=FIXED)
    rows: int = 128
    test_reads: list[int] = field(default_factory=list, metadata=FIXED)

    def load(self) -> Splits:
        def read_test() -> Examples:
            self.test_reads.append(1)
            return self.draw(40, 3)

        return Splits(
            name="tiny",
            form="drawn",
            files={},
            labels=("dark", "bright"),
            train=self.draw(self.rows, 1),
            validation=self.draw(40, 2),
            read_test=read_test,
        )

    def synthetic(self) -> Splits:
        return self.load()


def image_recipe(*, epochs: int = 3, target: float = 0.9, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "name": "tiny-images",
        "description": "Dark or bright.",
        "data": TinyData(draw=bright_images),
        "pipeline": ImagePipeline(steps=(TransformStep(step="resize", arguments={"width": 8, "height": 8}),)),
        "network": Network(),
        "build": build_images,
        "optimizer": Optimizer(name="adam", learning_rate=0.02, schedule=Schedule(name="cosine", warmup=0.1)),
        "fitting": Fitting(epochs=epochs, batch_size=16),
        "targets": Targets(test_accuracy=target, parameters=1000, minutes=1),
    }
    return Recipe(**(settings | changes))


def text_recipe(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "name": "tiny-texts",
        "description": "Bad or good.",
        "data": TinyData(draw=short_texts),
        "pipeline": TextPipeline(vocabulary_size=10, max_length=8, bucket=4),
        "network": Network(),
        "build": build_texts,
        "optimizer": Optimizer(name="adam", learning_rate=0.02),
        "fitting": Fitting(epochs=2, batch_size=16, monitor="val_loss"),
        "targets": Targets(test_accuracy=0.6, parameters=10_000, minutes=1),
    }
    return Recipe(**(settings | changes))
