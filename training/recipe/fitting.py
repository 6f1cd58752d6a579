"""How a network is trained: optimiser, loss, length, and the weights to keep."""

from dataclasses import dataclass
from typing import Literal

from training.bounds import AboveZero, Bounded, Count, Seed, Share, ShareBelowOne, ZeroOrMore

Metric = Literal[
    "accuracy",
    "mean-squared-error",
    "mean-absolute-error",
    "root-mean-squared-error",
    "cross-entropy",
    "binary-cross-entropy",
    "binary-accuracy",
]
Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Schedule(Bounded):
    """Course of the learning rate during a run.

    Attributes:
        name: ``constant``; ``cosine`` falls along half a cosine; ``one-cycle`` rises along half a cosine from a
            25th of the peak and falls along another (Smith & Topin, arXiv:1708.07120).
        warmup: fraction of all steps in which it rises to the peak: linearly for ``constant`` and ``cosine``.
        final: learning rate at the last step, as a fraction of the peak; not used by ``constant``.
    """

    name: Literal["constant", "cosine", "one-cycle"] = "constant"
    warmup: ShareBelowOne = 0.0
    final: Share = 0.0


@dataclass(frozen=True, kw_only=True)
class Optimizer(Bounded):
    """One optimiser of ``training.network.optimizers`` with its schedule.

    Attributes:
        learning_rate: the peak of the schedule.
        momentum: for momentum and nesterov.
        epsilon: added to the denominator of adagrad, rmsprop, adam and adamw; a larger one takes smaller steps for rare
            and small gradients, as for rare words.
        weight_decay: decoupled decay per step, times the learning rate (Loshchilov & Hutter,
            arXiv:1711.05101); 0 for none.
        clip_norm: largest global norm of a step's gradients; None does not clip.
        ema_momentum: None trains and keeps the weights themselves; a number such as 0.999 validates and
            keeps their exponential moving average.
    """

    name: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"] = "adam"
    learning_rate: ZeroOrMore = 1e-3
    schedule: Schedule = Schedule()
    momentum: Share = 0.9
    epsilon: AboveZero = 1e-7
    weight_decay: ZeroOrMore = 0.0
    clip_norm: AboveZero | None = None
    ema_momentum: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Loss(Bounded):
    """The function to minimise; see ``training.network.losses``.

    Attributes:
        label_smoothing: share of the probability spread evenly over all classes; only for the categorical and the
            binary cross-entropy.
    """

    name: Literal[
        "categorical-crossentropy",
        "sparse-categorical-crossentropy",
        "binary-crossentropy",
        "mean-squared-error",
        "mean-absolute-error",
        "root-mean-squared-error",
    ] = "categorical-crossentropy"
    label_smoothing: ShareBelowOne = 0.0


@dataclass(frozen=True, kw_only=True)
class Distillation(Bounded):
    """A published classifier as the teacher: in training, its probabilities replace the labels of the data.

    It answers the very images that the network sees, after augmentation, and the training is long: "consistent and
    patient", Beyer et al., arXiv:2106.05237. Probabilities as targets: Hinton et al., arXiv:1503.02531.

    Attributes:
        teacher: directory of its version, with a SavedModel; None trains on the labels.
        temperature: divides its logits; below 1 its answers become more certain.
        rounds: epochs that it answers; later ones repeat them, in the same batches. Memory for all of them is needed:
            ``rounds`` times the training rows, each with its input and a number for each class.
    """

    teacher: str | None = None
    temperature: AboveZero = 1.0
    rounds: Count = 1


@dataclass(frozen=True, kw_only=True)
class Fitting(Bounded):
    """Length of the training, its batches, and the weights to keep.

    Attributes:
        patience: stop after this many epochs without a better ``monitor``; None never stops early.
        keep: the weights of the best epoch by ``monitor``, or of the last one.
        validate_every: epochs between two validations.
        checkpoint_every: epochs between two checkpoints, and between two printed lines.
        minimum_delta: smallest change of ``monitor`` that counts as better.
        descent: ``mini-batch`` uses ``batch_size`` rows per step, ``stochastic`` one row, ``batch`` all rows.
        watch: warn about dead ReLUs and about vanishing or exploding gradients.
        class_weights: ``balanced`` multiplies the loss of each row by rows / (classes * rows of its class), so that
            rare classes count as much as frequent ones; rows that blend classes get the mean of their weights.
        mixed_precision: what layers compute in while they train: 16 bits are faster on GPUs, and on CPUs with
            instructions for them. Weights, the published graph and its answers are float32 in any case.
        jit_compile: compile the step with XLA. The first step takes longer, and again for each new shape of a batch.
        steps_per_execution: steps between two looks of Python at the training; None chooses as many as take a quarter
            of a second. The weights do not depend on it.
    """

    epochs: Count
    batch_size: Count
    descent: Literal["mini-batch", "stochastic", "batch"] = "mini-batch"
    seed: Seed = 0
    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    patience: Count | None = None
    minimum_delta: ZeroOrMore = 0.0
    keep: Literal["best", "last"] = "best"
    validate_every: Count = 1
    checkpoint_every: Count = 1
    evaluation_batch_size: Count = 250
    watch: bool = True
    class_weights: Literal["none", "balanced"] = "none"
    mixed_precision: Precision = "float32"
    jit_compile: bool = False
    steps_per_execution: Count | None = None

    def rows_per_step(self, rows: int) -> int:
        """Rows of one step, of a training part of ``rows``."""
        return {"mini-batch": self.batch_size, "stochastic": 1, "batch": rows}[self.descent]
