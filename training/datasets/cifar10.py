"""CIFAR-10: colour images of ten classes, 32x32; cats and dogs (5,000 + 1,000 of each), and the other eight.

Two forms are accepted: the makers' ``cifar-10-binary.tar.gz``, and ``train.tar`` + ``test.tar`` whose members are
``CLASS/NNNN.jpg``.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.
"""

import io
import tarfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from training.bounds import Bounded, Count, CountOrZero, Seed
from training.datasets.archive import Archive, checksums, find, obtain
from training.datasets.check import stack_images
from training.datasets.splits import Examples, Splits, split_by_class, split_synthetic
from training.errors import DataDamaged, DataUnusable
from training.overrides import FIXED

# In the makers' order: the number of a class is its index.
CIFAR_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CAT_DOG_LABELS = ("cat", "dog")
OTHER_LABELS = tuple(label for label in CIFAR_LABELS if label not in CAT_DOG_LABELS)
FOLDER = "cifar10"
MAKERS = Archive(
    name="cifar-10-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)

EDGE = 32
_RECORD_BYTES = 1 + 3 * EDGE * EDGE  # label, then the red, green and blue planes


@dataclass(frozen=True, kw_only=True)
class CatsVsDogs(Bounded):
    """Settings of the data set.

    Attributes:
        validation_per_class: number of the 5,000 training images of each class that are used for validation.
        labelled_per_class: most training images of each class, the others are left out; None takes all.
        skipped_per_class: training images of each class that are left out before these, for a second choice of
            labelled images that has none of the first.
        split_seed: seed of that choice.
        synthetic_count: size of the train part with ``--dataset synthetic``.
    """

    validation_per_class: CountOrZero = 1000
    labelled_per_class: Count | None = None
    skipped_per_class: CountOrZero = 0
    split_seed: Seed = 0
    synthetic_count: Count = 2000
    archive: Archive = field(default=MAKERS, metadata=FIXED)

    def load(self) -> Splits:
        """Read the form that is on disk; see ``DataSource.load``."""
        splits = _load(
            self.archive,
            CAT_DOG_LABELS,
            name="CIFAR-10 cats and dogs",
            validation_per_class=self.validation_per_class,
            seed=self.split_seed,
        )
        return replace(splits, train=self._labelled(splits.train))

    def synthetic(self) -> Splits:
        """Coloured blobs instead of animals."""
        splits = split_synthetic(
            partial(_draw, classes=2), labels=CAT_DOG_LABELS, count=self.synthetic_count, seed=self.split_seed
        )
        return replace(splits, train=self._labelled(splits.train))

    def _labelled(self, train: Examples) -> Examples:
        return _most_per_class(train, self.labelled_per_class, skipped=self.skipped_per_class)


@dataclass(frozen=True, kw_only=True)
class EightOthers(Bounded):
    """The eight classes other than cat and dog, for learning without the classes of the final task.

    Attributes:
        per_class: most of the makers' training images of each class that are used.
        validation_per_class: number of these that are used for validation.
        split_seed: seed of that choice.
        synthetic_count: size of the train part with ``--dataset synthetic``.
    """

    per_class: Count = 1000
    validation_per_class: CountOrZero = 50
    split_seed: Seed = 0
    synthetic_count: Count = 2000
    archive: Archive = field(default=MAKERS, metadata=FIXED)

    def load(self) -> Splits:
        """Read the form that is on disk; see ``DataSource.load``."""
        splits = _load(
            self.archive,
            OTHER_LABELS,
            name="CIFAR-10 without cats and dogs",
            validation_per_class=self.validation_per_class,
            seed=self.split_seed,
        )
        return replace(splits, train=_most_per_class(splits.train, self.per_class - self.validation_per_class))

    def synthetic(self) -> Splits:
        """Coloured blobs instead of animals and vehicles."""
        draw = partial(_draw, classes=len(OTHER_LABELS))
        return split_synthetic(draw, labels=OTHER_LABELS, count=self.synthetic_count, seed=self.split_seed)


def _load(archive: Archive, labels: tuple[str, ...], *, name: str, validation_per_class: int, seed: int) -> Splits:
    """Some classes, from the form that is on disk."""
    train_tar, test_tar = find("train.tar", folder=FOLDER), find("test.tar", folder=FOLDER)
    if train_tar and test_tar and not find(archive.name, folder=FOLDER):
        form, files, test = "JPEG tar", checksums(train_tar, test_tar), test_tar
        everything = read_jpeg_tar(train_tar, labels)
    else:
        test = obtain(archive, folder=FOLDER)
        form, files = "makers' binary tar", checksums(test)
        everything = read_binary_tar(test, labels, part="data_batch_")
    train, validation = split_by_class(everything.labels, validation_per_class=validation_per_class, seed=seed)
    return Splits(
        name=name,
        form=form,
        files=files,
        labels=labels,
        train=everything.take(train),
        validation=everything.take(validation),
        read_test=lambda: (
            read_jpeg_tar(test, labels) if test.name == "test.tar" else read_binary_tar(test, labels, part="test_batch")
        ),
    )


def _most_per_class(examples: Examples, most: int | None, *, skipped: int = 0) -> Examples:
    """The first ``most`` of each class after ``skipped``, in their order; all of those if None.

    Raises:
        DataUnusable: images are skipped, and a class has too few after them.
    """
    rank = np.zeros(len(examples), np.intp)
    for label in np.unique(examples.labels):
        rows = np.flatnonzero(examples.labels == label)
        rank[rows] = np.arange(len(rows))
        if skipped and len(rows) < skipped + (most or 1):
            raise DataUnusable(
                f"class {label} has {len(rows)} training images; {most or 1} after {skipped} skipped ones are expected"
            )
    return examples.take(np.flatnonzero((rank >= skipped) & (rank < skipped + (most or len(rank)))))


def _draw(count: int, seed: int, *, classes: int) -> Examples:
    from training.datasets.drawn.synthetic import coloured_blobs

    images, labels = coloured_blobs(count, seed=seed, classes=classes)
    return Examples(instances=images, labels=labels.astype(np.int32))


def read_jpeg_tar(path: Path, classes: tuple[str, ...]) -> Examples:
    """The ``classes`` of a tar of ``CLASS/NNNN.jpg``, by class, then number.

    Raises:
        DataDamaged: not a tar, a member that is not an image, images that are not 32x32, or a class without any.
        DataUnusable: images of several sizes.
    """
    images: list[np.ndarray] = []
    names: list[str] = []
    labels: list[int] = []
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
            for name in sorted(members):
                label = name.rpartition("/")[0].rpartition("/")[2]
                if label not in classes or not name.endswith(".jpg"):
                    continue
                file = archive.extractfile(members[name])
                assert file is not None  # only files are in members
                images.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
                names.append(name)
                labels.append(classes.index(label))
    except (OSError, tarfile.TarError, UnidentifiedImageError, ValueError) as error:
        raise DataDamaged(f"{path} is not a tar of CLASS/NNNN.jpg: {error}") from error
    for place, label in enumerate(classes):
        if place not in labels:
            raise DataDamaged(f"{path} holds no images under {label}/")
    instances = stack_images(images, names, name=str(path))
    if instances.shape[1:] != (EDGE, EDGE, 3):
        raise DataDamaged(f"{path}: the images have shape {instances.shape[1:]}, not ({EDGE}, {EDGE}, 3)")
    return Examples(instances=instances, labels=np.array(labels, np.int32))


def read_binary_tar(path: Path, classes: tuple[str, ...], *, part: str) -> Examples:
    """The ``classes`` of the makers' binary batches whose file names start with ``part``, in the makers' order.

    Raises:
        DataDamaged: not a tar, no such batch, or a batch that is not a whole number of records.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version": records of one label byte and
        3,072 pixel bytes, planes red, green, blue, each row by row.
    """
    batches: list[np.ndarray] = []
    try:
        with tarfile.open(path) as archive:
            members = {member.name.rpartition("/")[2]: member for member in archive if member.isfile()}
            for name in sorted(members):
                if name.startswith(part) and name.endswith(".bin"):
                    file = archive.extractfile(members[name])
                    assert file is not None  # only files are in members
                    batches.append(np.frombuffer(file.read(), np.uint8).reshape(-1, _RECORD_BYTES))
        records = np.concatenate(batches)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise DataDamaged(f"{path} holds no whole {part}*.bin: {error}") from error
    numbers = [CIFAR_LABELS.index(label) for label in classes]
    records = records[np.isin(records[:, 0], numbers)]
    planes = records[:, 1:].reshape(-1, 3, EDGE, EDGE)
    labels = np.searchsorted(numbers, records[:, 0]).astype(np.int32)
    return Examples(instances=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels=labels)
