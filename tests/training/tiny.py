"""Recipes small enough to train in a second: brightness or words decide between two classes, or a plane is found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.contract.steps import TransformStep
from app.contract.tensor_spec import TensorSpec
from training.data.pipelines import ImagePipeline, NumberPipeline, TextPipeline
from training.datasets.splits import Examples, Splits
from training.measure.drawing import lines
from training.measure.findings import Findings, Servable, close, equal, recorded
from training.measure.tasks import Regress
from training.overrides import FIXED
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.lesson import Lesson, LessonContext
from training.recipe.recipe import OUTPUT_NAME, VALUES_NAME, Recipe, Signature, Subject, Targets

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


def noisy_images(count: int, seed: int) -> Examples:
    """As bright_images, but every fifth label is the other one, so that no network can be right everywhere."""
    drawn = bright_images(count, seed)
    wrong = np.random.default_rng(seed + 100).random(count) < 0.2
    return Examples(instances=drawn.instances, labels=np.where(wrong, 1 - drawn.labels, drawn.labels).astype(np.int32))


def short_texts(count: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count).astype(np.int32)
    texts = tuple(
        " ".join(generator.choice([*WORDS[label], "the", "a"], generator.integers(1, 12))) for label in labels
    )
    return Examples(instances=texts, labels=labels)


@dataclass(frozen=True, kw_only=True)
class TinyData:
    """A source that records when its test part is read."""

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


@dataclass(frozen=True, kw_only=True)
class Given:
    """A source that returns these parts."""

    train: Examples = field(metadata=FIXED)
    validation: Examples = field(metadata=FIXED)
    test: Examples = field(metadata=FIXED)
    labels: tuple[str, ...] = field(default=(), metadata=FIXED)

    def load(self) -> Splits:
        return Splits(
            name="given",
            form="drawn",
            files={},
            labels=self.labels,
            train=self.train,
            validation=self.validation,
            read_test=lambda: self.test,
        )

    def synthetic(self) -> Splits:
        return self.load()


def plane_points(count: int, seed: int, *, scale: float = 1.0) -> Examples:
    """y = scale (x1 - 2 x2 + 0.5)"""
    xs = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)
    ys = scale * (xs @ np.array([[1.0], [-2.0]]) + 0.5)
    return Examples(instances=xs, labels=ys.astype(np.float32))


def build_plane(network: Network, signature: Signature) -> Any:
    import tf_keras
    from tf_keras import layers

    x = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    return tf_keras.Model(x, layers.Dense(1, name=VALUES_NAME)(x))


@dataclass(frozen=True, kw_only=True)
class AskedAtZero:
    """The network's answer to zeros."""

    wanted: float = 0.5

    def __call__(self, subject: Subject) -> Findings:
        answer = subject.model.predict(np.zeros((1, 2), np.float32), verbose=0)[0, 0]
        rows = recorded("rows", np.int64(len(subject.splits.train)))
        return Findings(figures=(close("f(0, 0)", answer, self.wanted, within=0.1), rows), notes=("Asked once.",))


def number_recipe(**changes: Any) -> Recipe:
    """Without validation and test part."""
    nothing = plane_points(0, 0)
    settings: dict[str, Any] = {
        "name": "tiny-numbers",
        "description": "A plane.",
        "data": Given(train=plane_points(64, 1), validation=nothing, test=nothing),
        "pipeline": NumberPipeline(),
        "network": Network(),
        "build": build_plane,
        "task": Regress(),
        "optimizer": Optimizer(name="sgd", learning_rate=0.3),
        "loss": Loss(name="mean-squared-error"),
        "metrics": ("mean-absolute-error",),
        "fitting": Fitting(epochs=5, batch_size=16, monitor="val_loss"),
    }
    return Recipe(**(settings | changes))


@dataclass(frozen=True, kw_only=True)
class Doubling:
    """Checks that twice three is six, and builds a model that doubles."""

    factor: float = 2.0

    def __call__(self, context: LessonContext) -> Findings:
        import tf_keras

        picture = lines({"double": ([0, 1], [0, self.factor])}, context.directory / "double.png", x="x", y="y")
        x = tf_keras.layers.Input((1,), name="x")
        dense = tf_keras.layers.Dense(1, use_bias=False, name="y")
        model = tf_keras.Model(x, dense(x))
        model.set_weights([np.float32([[self.factor]])])
        tensors = [TensorSpec(name=name, dtype="float32", shape=(1,)) for name in ("x", "y")]
        return Findings(
            figures=(equal("f(3) | exact", 3 * self.factor, 6.0), recorded("factor", np.float32(self.factor))),
            pictures={"Doubles": picture},
            notes=("Twice [is] <twice>.",),
            servable=Servable(model=model, inputs=(tensors[0],), outputs=(tensors[1],)),
        )


def tiny_lesson(*, serves: bool = True, **settings: Any) -> Lesson:
    return Lesson(name="tiny-lesson", description="Doubles.", study=Doubling(**settings), serves=serves)


def train(recipe, directory, console, **options):
    from training.fit.fit import fit

    directory.mkdir(exist_ok=True)
    splits = recipe.data.load()
    feed = recipe.pipeline.bind(splits.train, classes=2)
    return fit(recipe, feed, splits, directory=directory, console=console, **options)
