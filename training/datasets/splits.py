"""The form of every data set: train and validation parts, and a test part that is read on demand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

SYNTHETIC = "synthetic"

Classes = int | Mapping[str, int]
"""Number of classes, or of labels of which several may hold, 0 for numbers; with several heads: name of the head ->
length of its output."""
Names = tuple[str, ...] | Mapping[str, tuple[str, ...]]
"""Names of the classes or labels; with several heads: name of the head -> them, empty for numbers."""


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Instances with their labels, row by row.

    Attributes:
        instances: uint8 (rows, height, width) or (rows, height, width, 3), a tuple of texts, or float32 (rows, width);
            a tuple of paths of files, until a pipeline opens them; then uint8 as above, in memory or
            decoded from the files at each use (``training.data.image_files.ImageFiles``); or a structured array
            (rows,) with a field for each input.
        labels: int32 (rows,), each an index into ``Splits.labels``; bool (rows, labels), which labels a row has; or
            float32 (rows, width), the expected numbers. With several heads, a structured array (rows,) with a field
            of such a kind for each.
        weights: float32 (rows,), what the loss of each row is multiplied by in training; None for 1.
    """

    instances: npt.NDArray[Any] | tuple[str, ...]
    labels: npt.NDArray[Any]
    weights: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[Any]) -> "Examples":
        """The examples at the indices ``rows``, in that order."""
        weights = None if self.weights is None else self.weights[rows]
        instances: Any = self.instances
        taken = tuple(instances[row] for row in rows) if isinstance(instances, tuple) else instances[rows]
        return Examples(instances=taken, labels=self.labels[rows], weights=weights)


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set, split.

    Attributes:
        name: the data set.
        form: its form on disk, or ``synthetic``.
        files: file name -> sha256 of what was read.
        labels: class names in the order of the label numbers; empty without classes, and with several heads.
        validation: may be empty; then the weights of the last epoch are kept.
        read_test: reads the test part; called once, at the end of a run.
        heads: with several heads: name -> its class or label names, empty for numbers; otherwise empty.
    """

    name: str
    form: str
    files: Mapping[str, str]
    labels: tuple[str, ...]
    train: Examples
    validation: Examples
    read_test: Callable[[], Examples]
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def classes(self) -> Classes:
        """See there."""
        if not self.heads:
            return len(self.labels)
        kinds = self.train.labels.dtype
        return {name: len(labels) or kinds[name].shape[0] for name, labels in self.heads.items()}

    @property
    def names(self) -> Names:
        """See there."""
        return self.heads or self.labels

    @property
    def described(self) -> str:
        """Name, form and size of the parts, for the console."""
        name = self.name if self.name == self.form else f"{self.name} ({self.form})"
        return f"{name}: {len(self.train)} to train, {len(self.validation)} to validate"


class DataSource(Protocol):
    """Settings of one data set, and how to read it."""

    def load(self) -> Splits:
        """Find or download the data set, check it and split it.

        Raises:
            DataMissing: a file is neither on disk nor downloadable.
            DataDamaged: a file is not what its maker published.
        """
        ...


@runtime_checkable
class Generated(Protocol):
    """A data source that can also draw instances. Golden samples of texts are made from them."""

    def synthetic(self) -> Splits:
        """The project's own drawings or sentences in the same shapes, with the same labels."""
        ...


def split_by_class(
    labels: npt.NDArray[np.int32], *, validation_per_class: int, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Row numbers of the train and of the validation part, both in random order.

    Args:
        labels: int32 (rows,).
        validation_per_class: rows of each class for validation; the rest is for training.
        seed: of numpy's default generator.
    """
    generator = np.random.default_rng(seed)
    train, validation = [], []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        validation.append(rows[:validation_per_class])
        train.append(rows[validation_per_class:])
    return generator.permutation(np.concatenate(train)), generator.permutation(np.concatenate(validation))


def split_synthetic(draw: Callable[[int, int], Examples], *, labels: tuple[str, ...], count: int, seed: int) -> Splits:
    """Train, validation and test parts of ``count``, ``count // 4`` and ``count // 4`` drawn examples.

    Args:
        draw: (count, seed) -> examples.
        labels: class names.
        count: size of the train part.
        seed: the parts use ``seed``, ``seed + 1`` and ``seed + 2``.
    """
    return Splits(
        name=SYNTHETIC,
        form=SYNTHETIC,
        files={},
        labels=labels,
        train=draw(count, seed),
        validation=draw(count // 4, seed + 1),
        read_test=lambda: draw(count // 4, seed + 2),
    )
