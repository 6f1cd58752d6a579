"""Refuses data that nothing can be learned from, before anything is trained."""

from dataclasses import replace

import numpy as np

from training.datasets.splits import DataSource, Examples, Splits
from training.errors import DataUnusable


def read_splits(source: DataSource, *, synthetic: bool) -> Splits:
    """Read a data set and check it; its test part is checked when it is read.

    Raises:
        DataUnusable: see ``check_splits``; and what ``DataSource.load`` raises.
    """
    splits = source.synthetic() if synthetic else source.load()
    check_splits(splits)

    def read_test() -> Examples:
        examples = splits.read_test()
        _check_part(splits, "test", examples)
        return examples

    return replace(splits, read_test=read_test)


def check_splits(splits: Splits) -> None:
    """Check the train and the validation part.

    Raises:
        DataUnusable: the train part is empty or has one class only; or a part has not as many labels as instances,
            holds NaN or infinity, or a label that names no class. Says which part, which row and which value.
    """
    if not len(splits.train):
        raise DataUnusable(f"{splits.name}: the training part is empty")
    for part, examples in (("training", splits.train), ("validation", splits.validation)):
        _check_part(splits, part, examples)
    if len(splits.labels) > 1 and len(present := np.unique(splits.train.labels)) == 1:
        raise DataUnusable(
            f"{splits.name}: all {len(splits.train)} training rows are of the class "
            f"{splits.labels[int(present[0])]!r}; there is nothing to tell apart"
        )


def _check_part(splits: Splits, part: str, examples: Examples) -> None:
    if len(examples.instances) != len(examples.labels):
        raise DataUnusable(
            f"{splits.name}: the {part} part has {len(examples.instances)} instances and {len(examples.labels)} labels"
        )
    _check_numbers(splits.name, part, examples)
    if splits.labels:
        _check_labels(splits, part, examples)


def _check_labels(splits: Splits, part: str, examples: Examples) -> None:
    wrong = np.flatnonzero((examples.labels < 0) | (examples.labels >= len(splits.labels)))
    if len(wrong):
        raise DataUnusable(
            f"{splits.name}: row {wrong[0]} of the {part} part has label {examples.labels[wrong[0]]}, "
            f"there are {len(splits.labels)} classes, 0 to {len(splits.labels) - 1}"
        )


def _check_numbers(name: str, part: str, examples: Examples) -> None:
    for what, values in (("instance", examples.instances), ("target", examples.labels)):
        if isinstance(values, tuple) or not len(values) or not np.issubdtype(values.dtype, np.floating):
            continue
        if values.ndim == 1:  # against answers (rows, 1) it would be spread to (rows, rows)
            raise DataUnusable(
                f"{name}: the {what}s of the {part} part have shape {values.shape}; (rows, width) is meant"
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
        names: of each image, for the message.
        name: of the data set.

    Raises:
        DataUnusable: two images differ in size; names both.
    """
    if not images:
        raise DataUnusable(f"{name} holds no images")
    for image, image_name in zip(images, names, strict=True):
        if image.shape != images[0].shape:
            raise DataUnusable(
                f"{name}: {image_name} has shape {image.shape}, {names[0]} has {images[0].shape}; "
                "all images of a data set have one size"
            )
    return np.stack(images)
