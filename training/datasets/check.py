"""Refuses data from which nothing can be learned, before any training."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.datasets.splits import DataSource, Examples, Generated, Splits
from training.errors import DataUnusable, SettingRefused


def read_splits(source: DataSource, *, synthetic: bool) -> Splits:
    """Read a data set and check it; the test part is checked when it is read.

    Raises:
        DataUnusable: see ``check_splits``. Also raises the errors of ``DataSource.load``.
        SettingRefused: synthetic data is requested of a source without a generator.
    """
    if not synthetic:
        splits = source.load()
    elif isinstance(source, Generated):
        splits = source.synthetic()
    else:
        raise SettingRefused("this recipe reads data of your own and draws none; leave out --dataset synthetic")
    check_splits(splits)

    def read_test() -> Examples:
        examples = splits.read_test()
        _check_part(splits, "test", examples)
        return examples

    return replace(splits, read_test=read_test)


def check_splits(splits: Splits) -> None:
    """Check the train and the validation part.

    Raises:
        DataUnusable: the train part is empty or has only one class; or a part has different numbers of labels and
            instances, contains NaN or infinity, or a label without a class. Names the part, the row and the value.
            Or two classes have the same name, or one has none.
    """
    if not len(splits.train):
        raise DataUnusable(f"{splits.name}: the training part is empty")
    for whose, names in (
        [("", splits.labels)]
        if not splits.heads
        else [(f": head {head!r}", each) for head, each in splits.heads.items()]
    ):
        _check_names(f"{splits.name}{whose}", names)
    for part, examples in (("training", splits.train), ("validation", splits.validation)):
        _check_part(splits, part, examples)
    held_out = _targets(splits, splits.validation)
    for (whose, labels, names), (_, validation, _) in zip(_targets(splits, splits.train), held_out, strict=True):
        _check_taught(f"{splits.name}{whose}", labels, validation, names)


def _check_part(splits: Splits, part: str, examples: Examples) -> None:
    if len(examples.instances) != len(examples.labels):
        raise DataUnusable(
            f"{splits.name}: the {part} part has {len(examples.instances)} instances but {len(examples.labels)} labels"
        )
    _check_numbers(splits.name, part, "instance", examples.instances)
    for whose, labels, names in _targets(splits, examples):
        _check_numbers(f"{splits.name}{whose}", part, "target", labels)
        if names:
            _check_labels(f"{splits.name}{whose}", part, labels, names)
    if examples.weights is not None and len(examples):
        check_weights(f"{splits.name}: the {part} part", examples.weights)


def _targets(splits: Splits, examples: Examples) -> Iterator[tuple[str, npt.NDArray[Any], tuple[str, ...]]]:
    """For each head, or the one target: its name for a message, its values, and the names of its classes or labels."""
    if not splits.heads:
        yield "", examples.labels, splits.labels
        return
    found = examples.labels.dtype.names or ()
    if set(found) != set(splits.heads):
        raise DataUnusable(f"{splits.name}: the targets are {', '.join(found)}, not {', '.join(splits.heads)}")
    for name, labels in splits.heads.items():
        yield f": head {name!r}", examples.labels[name], labels


def check_weights(
    place: str, weights: npt.NDArray[np.floating[Any]], row_of: Callable[[int], str] = "row {}".format
) -> None:
    """Refuse weights of rows that no loss can be multiplied by.

    Args:
        place: of the weights, the beginning of the message.
        weights: float (rows,).
        row_of: number from 0 -> the row as the user knows it.

    Raises:
        DataUnusable: one is negative, NaN or infinite, or all are 0; names the row.
    """
    if weights.ndim != 1:
        raise DataUnusable(f"{place}: weights have shape {weights.shape}; one number for each row is expected")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise DataUnusable(
            f"{place}: {row_of(int(wrong[0]))} has the weight {weights[wrong[0]]:g}; a weight is 0 or more"
        )
    if not weights.any():
        raise DataUnusable(f"{place}: all {len(weights)} weights are 0, so no row would be learned from")


def _check_names(name: str, names: tuple[str, ...]) -> None:
    """Refuse names of classes or labels that an answer could not state, or that mean two of them."""
    for number, label in enumerate(names):
        if not label.strip() or label != label.encode(errors="ignore").decode():
            raise DataUnusable(f"{name}: the name {label!r} of class or label {number} is not a text")
        if label in names[:number]:
            raise DataUnusable(f"{name}: two classes or labels are called {label!r}; give each its own name")


def _check_labels(name: str, part: str, labels: npt.NDArray[Any], names: tuple[str, ...]) -> None:
    if labels.dtype.kind == "b":
        if labels.shape != (len(labels), len(names)):
            raise DataUnusable(
                f"{name}: the targets of the {part} part have shape {labels.shape}; (rows, {len(names)}) is expected, "
                f"a column for each of the labels {', '.join(names)}"
            )
        return
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataUnusable(
            f"{name}: the targets of the {part} part are {labels.dtype} {labels.shape}; the number of a class for each "
            "row is expected"
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(wrong):
        raise DataUnusable(
            f"{name}: row {wrong[0]} of the {part} part has label {labels[wrong[0]]}, "
            f"but there are {len(names)} classes, 0 to {len(names) - 1}"
        )


def _check_taught(name: str, labels: npt.NDArray[Any], validation: npt.NDArray[Any], names: tuple[str, ...]) -> None:
    """Refuse classes and labels between which nothing can be learned, or that are only measured on."""
    if not names:
        return
    if labels.dtype.kind == "b":
        if not labels.any(axis=0).all():
            label = names[int(labels.any(axis=0).argmin())]
            raise DataUnusable(
                f"{name}: no training row has the label {label!r}; leave it out, or add rows that have it"
            )
        return
    present = np.unique(labels)
    if len(names) > 1 and len(present) == 1:
        raise DataUnusable(
            f"{name}: all {len(labels)} training rows are of the class "
            f"{names[int(present[0])]!r}; there is nothing to distinguish"
        )
    unknown = np.flatnonzero(~np.isin(validation, present))
    if len(unknown):
        raise DataUnusable(
            f"{name}: row {unknown[0]} of the validation part has the class {names[int(validation[unknown[0]])]!r}, "
            "which no training row has; move rows of it to the training part"
        )


def _check_numbers(name: str, part: str, what: str, values: Any) -> None:
    """Refuse NaN and infinity; columns of tables may have gaps, so they are not looked at."""
    if isinstance(values, tuple) or not len(values) or not np.issubdtype(values.dtype, np.floating):
        return
    if values.ndim == 1:  # with answers (rows, 1) it would broadcast to (rows, rows)
        raise DataUnusable(
            f"{name}: the {what}s of the {part} part have shape {values.shape}; (rows, width) is expected"
        )
    wrong = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(wrong):
        bad = values[wrong[0]].ravel()
        raise DataUnusable(
            f"{name}: {len(wrong)} of {len(values)} {part} rows hold NaN or infinity; the first is row {wrong[0]}, "
            f"whose {what} holds {bad[~np.isfinite(bad)][0]}"
        )


def stack_images(images: list[np.ndarray], names: list[str], *, name: str) -> np.ndarray:
    """Images of one size as uint8 (rows, height, width[, 3]).

    Args:
        images: uint8 arrays.
        names: name of each image, for the message.
        name: of the data set.

    Raises:
        DataUnusable: two images differ in size; names both.
    """
    if not images:
        raise DataUnusable(f"{name} holds no images")
    for image, image_name in zip(images, names, strict=True):
        if image.shape != images[0].shape:
            raise DataUnusable(
                f"{name}: {image_name} has shape {image.shape}, but {names[0]} has {images[0].shape}; "
                "all images of a data set must have the same size"
            )
    return np.stack(images)
