"""Recipe: everything that makes one published model, as plain fields; one file per recipe in training/recipes.

Importing this module, or any recipe, does not import TensorFlow: networks are built inside functions.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.contract.model_spec import TensorSpec
from training.datasets.splits import DataSource
from training.errors import RecipeNotFound
from training.overrides import FIXED, PARTS
from training.pipelines import ImagePipeline, TextPipeline

OUTPUT_NAME = "probabilities"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a network must take and give.

    Attributes:
        input: name, dtype and shape of one instance; for token ids, ``maximum`` is the largest id.
        classes: number of probabilities in the output, which must be called ``OUTPUT_NAME``.
    """

    input: TensorSpec
    classes: int

    @property
    def id_count(self) -> int:
        """Number of token ids, padding and unknown included; only for text."""
        if self.input.maximum is None:
            raise ValueError(f"input {self.input.name!r} states no largest id")
        return int(self.input.maximum) + 1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate moves over a run.

    Attributes:
        name: ``constant``; ``cosine`` falls along half a cosine; ``one-cycle`` rises along half a cosine from a
            25th of the peak and falls along another (Smith & Topin, arXiv:1708.07120).
        warmup: fraction of all steps spent rising to the peak: linearly for ``constant`` and ``cosine``.
        final: learning rate at the last step, as a fraction of the peak; not used by ``constant``.
    """

    name: Literal["constant", "cosine", "one-cycle"] = "constant"
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError("warmup is a fraction of all steps, 0 or more and below 1")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """One optimiser of ``training.optimizers`` with its schedule.

    Attributes:
        learning_rate: the peak of the schedule.
        momentum: for momentum, nesterov and rmsprop.
        epsilon: added to the denominator of adagrad, rmsprop, adam and adamw; a larger one takes smaller steps
            where gradients are rare and small, as for rare words.
        weight_decay: decoupled decay per step, times the learning rate (Loshchilov & Hutter,
            arXiv:1711.05101); 0 for none.
        clip_norm: largest global norm of a step's gradients; None does not clip.
        ema_momentum: None trains and keeps the weights themselves; a number such as 0.999 validates and
            keeps their exponential moving average.
    """

    name: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = "adam"
    learning_rate: float = 1e-3
    schedule: Schedule = Schedule()
    momentum: float = 0.9
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clip_norm: float | None = None
    ema_momentum: float | None = None


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Attributes: label_smoothing: share of the probability spread evenly over all classes."""

    name: Literal["categorical-crossentropy"] = "categorical-crossentropy"
    label_smoothing: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How long, in what portions, and which weights are kept.

    Attributes:
        patience: stop after this many epochs without a better ``monitor``; None never stops early.
        keep: the weights of the best epoch by ``monitor``, or of the last one.
        validate_every: epochs between two looks at the validation set.
        minimum_delta: smallest change of ``monitor`` that counts as better.
    """

    epochs: int
    batch_size: int
    seed: int = 0
    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    patience: int | None = None
    minimum_delta: float = 0.0
    keep: Literal["best", "last"] = "best"
    validate_every: int = 1
    evaluation_batch_size: int = 250


Inherited = Mapping[str, list[Any]]
"""Layer name -> its weights, as an earlier stage left them."""


def adopt_by_name(network: Any, model: Any, inherited: Inherited) -> None:
    """Start every layer that an earlier stage trained under the same name with its weights."""
    for layer in model.layers:
        if layer.name in inherited:
            layer.set_weights(inherited[layer.name])


def as_trained(network: Any, model: Any, signature: Signature) -> Any:
    """The trained model itself."""
    return model


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training that comes before the main one, of another network, for the sake of some layers.

    Attributes:
        name: of the stage, for ``--set stages.NAME.optimizer...`` and its directory.
        build: as ``Recipe.build``.
        hands_on: names of the layers whose weights later networks may start with.
        adopt: (network, model, weights handed on so far) -> None: gives the untrained model what it takes over.
        pipeline: of this stage, if other than the recipe's, e.g. with other augmentation.
        max_length: texts are cut to this many tokens in this stage; None leaves the pipeline's length.
    """

    name: str = field(metadata=FIXED)
    build: Callable[[Any, Signature], Any] = field(metadata=FIXED)
    hands_on: tuple[str, ...] = field(metadata=FIXED)
    adopt: Callable[[Any, Any, Inherited], None] = field(default=adopt_by_name, metadata=FIXED)
    optimizer: Optimizer = Optimizer()
    fitting: Fitting
    pipeline: ImagePipeline | TextPipeline | None = None
    max_length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the published model must reach and may cost, on 2 CPU cores."""

    test_accuracy: float
    parameters: int
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model: what it learns from, what it is, how it is trained, what it must reach.

    Attributes:
        name: model name, also the directory under models/.
        description: one sentence for model.json and the card.
        data: where the instances come from and how they are split.
        pipeline: how an instance becomes an input, in training and, through model.json, in serving.
        network: frozen dataclass with the network's own settings.
        build: (network, signature) -> tf_keras.Model, input and output named as the signature says.
        stages: trainings before the main one, in order.
        adopt: as ``Stage.adopt``, for the network itself.
        finish: (network, trained model, signature) -> the model to measure and publish, which shares its weights;
            for what costs too much in training. The trained model itself if left out.
        max_batch_size: batching hint for the service.
    """

    name: str = field(metadata=FIXED)
    description: str = field(metadata=FIXED)
    data: DataSource
    pipeline: ImagePipeline | TextPipeline
    network: Any
    build: Callable[[Any, Signature], Any] = field(metadata=FIXED)
    stages: tuple[Stage, ...] = field(default=(), metadata=PARTS)
    adopt: Callable[[Any, Any, Inherited], None] = field(default=adopt_by_name, metadata=FIXED)
    finish: Callable[[Any, Any, Signature], Any] = field(default=as_trained, metadata=FIXED)
    optimizer: Optimizer = Optimizer()
    loss: Loss = Loss()
    fitting: Fitting
    targets: Targets = field(metadata=FIXED)
    max_batch_size: int = field(default=32, metadata=FIXED)


def recipe_names() -> list[str]:
    """Names of all recipes, from the file names in training/recipes (``-`` for ``_``)."""
    import training.recipes

    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(training.recipes.__path__))


def load_recipe(name: str) -> Recipe:
    """The ``RECIPE`` of training/recipes/NAME.py.

    Raises:
        RecipeNotFound: names the recipes there are.
    """
    names = recipe_names()
    if name not in names:
        raise RecipeNotFound(f"there is no recipe {name!r}; there are: {', '.join(names)}")
    recipe: Recipe = importlib.import_module(f"training.recipes.{name.replace('-', '_')}").RECIPE
    return recipe
