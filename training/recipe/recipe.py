"""Recipe: the full definition of one published model, as plain fields; one file per recipe in training/recipes.

Importing this module, or any recipe, does not import TensorFlow: networks are built inside functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from app.contract.tensor_spec import TensorSpec
from training.data.array_inputs import FittedArrays
from training.data.pipelines import Feed, Pipeline
from training.data.table_columns import FittedColumns
from training.data.trigram import NgramTables
from training.datasets.splits import Classes, DataSource, Splits
from training.measure.findings import Findings
from training.measure.tasks import PROBABILITIES, VALUES, Activation, Classify, Measured, Task
from training.overrides import FIXED, PARTS
from training.recipe.fitting import Distillation, Fitting, Loss, Metric, Optimizer
from training.recipe.heads import Head, check_loss, joined
from training.recipe.search import SearchSpace

OUTPUT_NAME = PROBABILITIES
VALUES_NAME = VALUES


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Input and output of a network.

    Attributes:
        input: name, dtype and shape of one instance; for token ids, ``maximum`` is the largest id.
        others: further inputs.
        table: for tables: what the training part says of the columns.
        arrays: for named arrays: what it says of each.
        ngrams: for running text: its frequent n-grams, if the pipeline counts them.
        classes: number of probabilities in the output, which must be called ``OUTPUT_NAME``; 0 for networks that do
            not classify, and with several heads.
        heads: with several heads: name of each output -> its length.
        activations: name of each output -> the activation that its task requires; empty takes softmax for classes, and
            none for numbers.
    """

    input: TensorSpec
    classes: int
    others: tuple[TensorSpec, ...] = ()
    table: FittedColumns | None = None
    arrays: FittedArrays | None = None
    ngrams: NgramTables | None = None
    heads: Mapping[str, int] = field(default_factory=dict)
    activations: Mapping[str, Activation] = field(default_factory=dict)

    @classmethod
    def of(cls, feed: Feed, *, classes: Classes, task: Task | None = None) -> "Signature":
        """The signature of a network for the batches of ``feed``."""
        return cls(
            input=feed.inputs[0],
            others=feed.inputs[1:],
            table=feed.table,
            arrays=feed.arrays,
            ngrams=feed.ngrams,
            classes=classes if isinstance(classes, int) else 0,
            heads={} if isinstance(classes, int) else classes,
            activations=task.activations if task else {},
        )

    def named(self, name: str) -> TensorSpec:
        """The input called ``name``; raises KeyError, which names all, without one."""
        found = {tensor.name: tensor for tensor in self.inputs}
        if name not in found:
            raise KeyError(f"there is no input {name!r}; there are: {', '.join(found)}")
        return found[name]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All inputs."""
        return (self.input, *self.others)

    @property
    def id_count(self) -> int:
        """Number of token ids, including padding and unknown; only for text."""
        if self.input.maximum is None:
            raise ValueError(f"input {self.input.name!r} states no largest id")
        return int(self.input.maximum) + 1


Format = Literal["tflite"]
"""A form of the graph that a version may have besides SavedModel and ONNX."""
Inherited = Mapping[str, list[Any]]
"""Layer name -> its weights at the end of an earlier stage."""


def adopt_by_name(network: Any, model: Any, inherited: Inherited) -> None:
    """Initialise every layer with the weights of the layer of the same name in an earlier stage."""
    for layer in model.layers:
        if layer.name in inherited:
            layer.set_weights(inherited[layer.name])


def as_trained(network: Any, model: Any, signature: Signature, inherited: Inherited) -> Any:
    """The trained model itself."""
    return model


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training before the main one, or in parallel with it, of another network, for some of its layers.

    Attributes:
        name: of the stage, for ``--set stages.NAME.optimizer...`` and its directory.
        build: as ``Recipe.build``.
        shared_layers: names of the layers whose weights later networks may start with, or ``finish`` may use.
        adopt: (network, model, weights passed on so far) -> None: sets initial weights of the untrained model.
        pipeline: of this stage, if different from the recipe's, e.g. with other augmentation.
        data: of this stage, if different from the recipe's, e.g. without the classes of the final task.
        max_length: texts are cut to this many tokens in this stage; None keeps the pipeline's length.
        in_parallel: train it at the same time as the next ones, in its own process: it may start with the weights of
            earlier stages, and passes its own only to ``finish``.
    """

    name: str = field(metadata=FIXED)
    build: Callable[[Any, Signature], Any] = field(metadata=FIXED)
    shared_layers: tuple[str, ...] = field(metadata=FIXED)
    adopt: Callable[[Any, Any, Inherited], None] = field(default=adopt_by_name, metadata=FIXED)
    optimizer: Optimizer = field(default=Optimizer())
    fitting: Fitting
    pipeline: Pipeline | None = None
    data: DataSource | None = None
    max_length: int | None = None
    in_parallel: bool = field(default=False, metadata=FIXED)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Figures that the published model must reach and may cost, on 2 CPU cores; None: no target."""

    test_accuracy: float | None = None
    test_perplexity: float | None = None
    parameters: int | None = None
    minutes: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained model, as the subject of a study.

    Attributes:
        splits: its data.
        model: as published.
        synthetic: whether the data set is ``--dataset synthetic``.
        validation, test: None if the part is empty or was not read.
        directory, console: of the run.
    """

    recipe: "Recipe"
    splits: Splits
    feed: Feed
    model: Any
    synthetic: bool
    validation: Measured | None
    test: Measured | None
    directory: Path
    console: Console


@dataclass(frozen=True, kw_only=True)
class NoStudy:
    """A study without measurements."""

    def __call__(self, subject: Subject) -> Findings:
        """No findings."""
        return Findings()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model: its data, its task, its training, its targets.

    Attributes:
        name: model name, also the directory under models/.
        description: one sentence for model.json and the card.
        license: of the published model, as the Hub of Hugging Face names it, e.g. ``apache-2.0``; None states none.
        data: source of the instances, and how they are split.
        pipeline: converts an instance to an input, in training and, through model.json, in serving.
        network: frozen dataclass with the network's own settings.
        build: (network, signature) -> tf_keras.Model, input and output named as in the signature.
        stages: trainings before the main one, in order, or in parallel with it.
        adopt: as ``Stage.adopt``, for the network itself.
        finish: (network, trained model, signature, weights passed on by the stages) -> the model to measure and
            publish, which shares its weights; for computations that are too expensive in training. Default: the trained
            model.
        task: task of the network.
        heads: outputs of a network with several, in place of ``task``, ``loss`` and ``metrics``; at least two.
        distillation: a teacher of the network; its stages have none.
        study: measures more of the trained model than the evaluation does: a frozen dataclass whose fields are its
            settings, called with a ``Subject``.
        metrics: measured during training.
        max_batch_size: batching hint for the service.
        calibrate: whether a classifier gets a temperature, fitted on the validation part (``training.fit.calibrate``).
        publish_examples: whether held-out rows of the data set may be in a published version, as golden samples. By
            default they are made from drawings, random words or statistics, and no row of the data leaves the machine.
        keep_weights: whether a published version also contains model.weights.h5, the weights in Keras's own form. The
            service does not read it. Every run keeps it.
        formats: further formats of a published version, next to SavedModel and ONNX: ``tflite`` (image models).
        search: path of a setting -> what ``tune`` tries for it; without one, ``training.tuning.space`` chooses by what
            the recipe has.
    """

    name: str = field(metadata=FIXED)
    description: str = field(metadata=FIXED)
    license: str | None = field(default=None, metadata=FIXED)
    data: DataSource
    pipeline: Pipeline
    network: Any
    build: Callable[[Any, Signature], Any] = field(metadata=FIXED)
    stages: tuple[Stage, ...] = field(default=(), metadata=PARTS)
    adopt: Callable[[Any, Any, Inherited], None] = field(default=adopt_by_name, metadata=FIXED)
    finish: Callable[[Any, Any, Signature, Inherited], Any] = field(default=as_trained, metadata=FIXED)
    optimizer: Optimizer = field(default=Optimizer())
    loss: Loss = field(default=Loss())
    distillation: Distillation = field(default=Distillation())
    metrics: tuple[Metric, ...] = field(default=("accuracy",), metadata=FIXED)
    fitting: Fitting
    task: Task = field(default=Classify(), metadata=FIXED)
    heads: tuple[Head, ...] = field(default=(), metadata=PARTS)
    study: Callable[[Subject], Findings] = NoStudy()
    targets: Targets = field(default=Targets(), metadata=FIXED)
    calibrate: bool = True
    max_batch_size: int = field(default=32, metadata=FIXED)
    publish_examples: bool = field(default=False, metadata=FIXED)
    keep_weights: bool = False
    formats: tuple[Format, ...] = ()
    search: SearchSpace = field(default_factory=dict, metadata=FIXED, hash=False)

    def __post_init__(self) -> None:
        if self.heads:
            if self.stages:
                raise ValueError("a network with several heads has no stages")
            if self.loss != Loss():
                raise ValueError("each head has its own loss; leave out the loss of the recipe")
            object.__setattr__(self, "task", joined(self.heads))
            object.__setattr__(self, "metrics", ())
        else:
            check_loss(self.name, self.task, self.loss, self.metrics)
        if self.targets.test_accuracy is not None and not isinstance(self.task, Classify):
            raise ValueError("targets.test_accuracy is for one class a row; this recipe has none: leave it out")
