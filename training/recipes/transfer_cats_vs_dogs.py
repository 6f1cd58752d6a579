"""Pre-training on other pictures helps a network to distinguish cats and dogs; with fewer labels it helps more.

Command: python -m training run transfer-cats-vs-dogs
Result: on validation 0.6163 against 0.5869 from scratch with 50 labelled images: a gain of 0.0294 with a
standard error of 0.0096; 0.6244 against 0.6081 with 100, 0.0163 with 0.0105; 0.7835 against 0.7985 with 8,000;
about 40 min
Date and hardware: 2026-11-30, two cores of an AMD EPYC

Three steps: the body learns to distinguish the other eight classes of CIFAR-10; it is frozen, and a new head learns
cats and dogs on top of it; the whole network is fine-tuned with a small learning rate. The study also does this with
50 and 100 of the 8,000 labelled images, and each time compares with the same network that starts from random weights
and takes the same number of steps; several times, with other images and seeds, in pairs.
"""

import shutil
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from app.contract.steps import TransformStep
from training.bounds import Bounded, Bounds, Count, ShareBelowOne, ZeroOrMore
from training.data.pipelines import ImagePipeline
from training.data.reading import read_data
from training.data.settings import ImageAugmentation
from training.datasets.cifar10 import EDGE, CatsVsDogs, EightOthers
from training.measure.drawing import lines
from training.measure.evaluate import Evaluation, predict
from training.measure.findings import Finding, Findings, above, recorded
from training.recipe.fitting import Fitting, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Stage, Subject, Targets

BODY = ("convolution_1", "convolution_2", "convolution_3", "convolution_4", "convolution_5")
PRETRAIN, HEAD = "pretrain", "head"
Repeats = Annotated[int, Bounds(at_least=2, at_most=50)]
"""One difference has no standard error."""
FEWEST = 8
"""Labelled images: four batches per epoch are required, and batch normalisation requires two images in each."""


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network.

    Attributes:
        filters: of each 3x3 convolution; max-pooling follows the second and every later one but the last.
        dropout: share of the features before the dense layer that are silenced in training.
    """

    filters: tuple[Count, ...] = (32, 48, 64, 96, 128)
    dropout: ShareBelowOne = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.filters) != len(BODY):
            raise ValueError(
                f"network.filters holds {len(self.filters)} numbers; the network has {len(BODY)} convolutions"
            )


def build(network: Network, signature: Signature) -> Any:
    """Convolutions with batch normalisation and ReLU, global average, dropout, softmax."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Rescaling(1 / 64, offset=-123 / 64)(pixels)  # mean and standard deviation of the training pixels
    for name, filters in zip(BODY, network.filters, strict=True):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
        x = layers.BatchNormalization(momentum=0.95, name=_normalisation(name))(x)
        x = layers.ReLU()(x)
        if name not in {BODY[0], BODY[-1]}:
            x = layers.MaxPooling2D()(x)
    x = layers.Dropout(network.dropout)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(pixels, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


def build_frozen(network: Network, signature: Signature) -> Any:
    """The same network, in which only the dense layer learns; batch normalisation keeps its statistics."""
    model = build(network, signature)
    for name in _body_layers():
        model.get_layer(name).trainable = False
    return model


def _normalisation(convolution: str) -> str:
    return convolution.replace("convolution", "normalisation")


def _body_layers() -> tuple[str, ...]:
    return tuple(layer for name in BODY for layer in (name, _normalisation(name)))


def _adamw(learning_rate: float) -> Optimizer:
    schedule = Schedule(name="cosine", warmup=0.1)
    return Optimizer(name="adamw", learning_rate=learning_rate, schedule=schedule, weight_decay=0.02)


@dataclass(frozen=True, kw_only=True)
class AgainstScratch(Bounded):
    """Accuracy on the validation part, transferred and from scratch, for several numbers of labelled images.

    With the fewest labelled images the gain must exceed three of its standard errors; with more it is only recorded.

    Attributes:
        labelled: numbers of images, both classes together, in addition to all of them.
        repeats: trainings of each way for each of these numbers, each pair of them with other labelled images and
            another seed. The pre-training is done once.
        steps: of each training; from scratch takes as many as head and fine-tuning together.
        scratch_rate: learning rate of the network with random initial weights.
    """

    labelled: tuple[int, ...] = (50, 100)
    repeats: Repeats = 5
    steps: Count = 1500
    scratch_rate: ZeroOrMore = 3e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(size < FEWEST for size in self.labelled):
            raise ValueError(f"study.labelled contains {min(self.labelled)}; each number must be at least {FEWEST}")

    def __call__(self, subject: Subject) -> Findings:
        """Train both ways for each number, and draw."""
        everything = len(subject.splits.train)
        assert isinstance(subject.validation, Evaluation)
        found = {size: self._pairs(subject, size) for size in self.labelled if size < everything}
        alone = self._train(subject, self._from_scratch(subject.recipe, everything, 0), f"scratch-{everything}")
        sizes = [*found, everything]
        transferred, scratch = (
            [*(float(pairs[:, way].mean()) for pairs in found.values()), last]
            for way, last in enumerate((subject.validation.accuracy, alone))
        )
        picture = lines(
            {"pre-trained on the other eight classes": (sizes, transferred), "from scratch": (sizes, scratch)},
            subject.directory / "labelled-images.png",
            x="labelled images of cats and dogs",
            y="accuracy on the validation part",
            logarithmic="x",
        )
        figures = [
            figure
            for size, pairs in found.items()
            for figure in gain(f"{size:,} labelled", pairs, expected=size == min(found))
        ]
        return Findings(
            figures=(
                *figures,
                recorded(f"from scratch, {everything:,} labelled", alone),
                recorded(f"transferred, {everything:,} labelled", subject.validation.accuracy),
            ),
            pictures={"Accuracy against labelled images": picture},
        )

    def _pairs(self, subject: Subject, size: int) -> npt.NDArray[np.float64]:
        """Accuracy of both ways: (repeats, 2), transferred and from scratch."""
        ways = {"transfer": self._with_labels, "scratch": self._from_scratch}
        return np.array(
            [
                [
                    self._train(subject, recipe_of(subject.recipe, size, repeat), f"{way}-{size}-{repeat}")
                    for way, recipe_of in ways.items()
                ]
                for repeat in range(self.repeats)
            ]
        )

    def _with_labels(self, recipe: Recipe, size: int, repeat: int) -> Recipe:
        """The recipe with fewer labelled images and the original number of steps of head and fine-tuning."""
        head = self.steps // 3
        stages = tuple(
            replace(stage, fitting=self._fitting(stage.fitting, size, head, repeat)) if stage.name == HEAD else stage
            for stage in recipe.stages
        )
        return replace(
            recipe,
            data=_fewer(recipe.data, size, repeat),
            stages=stages,
            fitting=self._fitting(recipe.fitting, size, self.steps - head, repeat),
        )

    def _from_scratch(self, recipe: Recipe, size: int, repeat: int) -> Recipe:
        return replace(
            recipe,
            data=_fewer(recipe.data, size, repeat),
            stages=(),
            optimizer=_adamw(self.scratch_rate),
            fitting=self._fitting(recipe.fitting, size, self.steps, repeat),
        )

    def _fitting(self, fitting: Fitting, size: int, steps: int, repeat: int) -> Fitting:
        """``steps`` steps over ``size`` images; keeps the weights of the last one, without a choice by validation."""
        batch = min(fitting.batch_size, size // 4)
        epochs = max(1, round(steps * batch / size))
        every = max(1, epochs // 5)
        return replace(
            fitting,
            batch_size=batch,
            epochs=epochs,
            keep="last",
            validate_every=every,
            checkpoint_every=every,
            watch=False,
            seed=fitting.seed + repeat,
        )

    def _train(self, subject: Subject, recipe: Recipe, name: str) -> float:
        """Train in a subdirectory, with the already trained body of the run; accuracy on the validation part."""
        from training.fit.fit import fit

        directory = subject.directory / name
        directory.mkdir(exist_ok=True)
        if recipe.stages and not (directory / PRETRAIN).exists():
            copied = shutil.copytree(subject.directory / PRETRAIN, directory / f".{PRETRAIN}", dirs_exist_ok=True)
            copied.rename(directory / PRETRAIN)
        subject.console.print(f"study: {name}", highlight=False)
        splits = read_data(recipe.data, recipe.pipeline, synthetic=subject.synthetic)
        trained = fit(recipe, subject.feed, splits, directory=directory, console=subject.console)
        answers = predict(
            trained.model, subject.feed, splits.validation, batch_size=recipe.fitting.evaluation_batch_size
        )
        return float((answers.argmax(axis=1) == splits.validation.labels).mean())


def _fewer(data: Any, size: int, repeat: int) -> CatsVsDogs:
    """Other images for each repeat: none of them is in the labelled images of another."""
    assert isinstance(data, CatsVsDogs)
    return replace(data, labelled_per_class=size // 2, skipped_per_class=repeat * (size // 2))


def gain(name: str, pairs: npt.NDArray[np.float64], *, expected: bool) -> tuple[Finding, ...]:
    """What pre-training adds: the mean of the paired differences, with its standard error.

    Args:
        name: of the number of labelled images.
        pairs: float64 (repeats, 2), the accuracy of both ways in each repeat, transferred and from scratch.
        expected: whether the gain must exceed three of its standard errors.
    """
    differences = pairs[:, 0] - pairs[:, 1]
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)
    added = f"gain, {name}"
    return (
        recorded(f"transferred, {name}", float(pairs[:, 0].mean())),
        recorded(f"from scratch, {name}", float(pairs[:, 1].mean())),
        above(added, mean, 3 * error, of="three standard errors") if expected else recorded(added, mean),
        recorded(f"standard error of the gain, {name}", error),
        recorded(f"repeats with a gain, {name}", f"{int((differences > 0).sum())} of {len(differences)}"),
    )


RECIPE = Recipe(
    name="transfer-cats-vs-dogs",
    description="Cat or dog, by a network that first learned eight other classes.",
    license="apache-2.0",
    data=CatsVsDogs(),
    pipeline=ImagePipeline(
        steps=(
            TransformStep(step="crop_square"),
            TransformStep(step="resize", arguments={"width": EDGE, "height": EDGE}),
        ),
        augmentation=ImageAugmentation(shift=4, flip=True),
    ),
    network=Network(),
    build=build,
    stages=(
        Stage(
            name=PRETRAIN,
            build=build,
            data=EightOthers(per_class=5000),
            shared_layers=_body_layers(),
            optimizer=_adamw(3e-3),
            fitting=Fitting(epochs=8, batch_size=64, keep="last"),
        ),
        Stage(
            name=HEAD,
            build=build_frozen,
            shared_layers=(*_body_layers(), OUTPUT_NAME),
            optimizer=_adamw(3e-3),
            fitting=Fitting(epochs=4, batch_size=64, keep="last"),
        ),
    ),
    optimizer=_adamw(1e-3),
    fitting=Fitting(epochs=8, batch_size=64, keep="last"),
    study=AgainstScratch(),
    targets=Targets(parameters=300_000, minutes=30),
)
