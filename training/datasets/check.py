"""Refuses data from which nothing can be learned, before any training."""

from dataclasses import replace

import numpy as np

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
    """
    if not len(splits.train):
        raise DataUnusable(f"{splits.name}: the training part is empty")
    for part, examples in (("training", splits.train), ("validation", splits.validation)):
        _check_part(splits, part, examples)
    if len(splits.labels) > 1 and len(present := np.unique(splits.train.labels)) == 1:
        raise DataUnusable(
            f"{splits.name}: all {len(splits.train)} training rows are of the class "
            f"{splits.labels[int(present[0])]!r}; there is nothing to distinguish"
        )


def _check_part(splits: Splits, part: str, examples: Examples) -> None:
    if len(examples.instances) != len(examples.labels):
        raise DataUnusable(
            f"{splits.name}: the {part} part has {len(examples.instances)} instances but {len(examples.labels)} labels"
        )
    _check_numbers(splits.name, part, examples)
    if splits.labels:
        _check_labels(splits, part, examples)


def _check_labels(splits: Splits, part: str, examples: Examples) -> None:
    wrong = np.flatnonzero((examples.labels < 0) | (examples.labels >= len(splits.labels)))
    if len(wrong):
        raise DataUnusable(
            f"{splits.name}: row {wrong[0]} of the {part} part has label {examples.labels[wrong[0]]}, "
            f"but there are {len(splits.labels)} classes, 0 to {len(splits.labels) - 1}"
        )


def _check_numbers(name: str, part: str, examples: Examples) -> None:
    for what, values in (("instance", examples.instances), ("target", examples.labels)):
        if isinstance(values, tuple) or not len(values) or not np.issubdtype(values.dtype, np.floating):
            continue
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
