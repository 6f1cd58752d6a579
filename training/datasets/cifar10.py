"""Cats and dogs of CIFAR-10: 5,000 + 1,000 colour images of each, 32x32.

Two forms are read: the makers' ``cifar-10-binary.tar.gz``, and ``train.tar`` + ``test.tar`` whose members are
``CLASS/NNNN.jpg``.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.
"""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from training.datasets.archive import Archive, checksums, find, obtain
from training.datasets.splits import Examples, Splits, split_by_class, split_synthetic
from training.errors import DataDamaged
from training.overrides import FIXED

CAT_DOG_LABELS = ("cat", "dog")
FOLDER = "cifar10"
MAKERS = Archive(
    name="cifar-10-binary.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)

EDGE = 32
_MAKERS_NUMBERS = (3, 5)  # of cat and dog among the ten classes
_RECORD_BYTES = 1 + 3 * EDGE * EDGE  # label, then the red, green and blue planes


@dataclass(frozen=True, kw_only=True)
class CatsVsDogs:
    """Settings of the data set.

    Attributes:
        validation_per_class: of the 5,000 training images of each class, how many validate.
        split_seed: seed of that choice.
        synthetic_count: size of the train part with ``--dataset synthetic``.
    """

    validation_per_class: int = 1000
    split_seed: int = 0
    synthetic_count: int = 2000
    archive: Archive = field(default=MAKERS, metadata=FIXED)

    def load(self) -> Splits:
        """Read whichever form is there; see ``DataSource.load``."""
        train_tar, test_tar = find("train.tar", folder=FOLDER), find("test.tar", folder=FOLDER)
        if train_tar and test_tar and not find(self.archive.name, folder=FOLDER):
            form, files = "JPEG tar", checksums(train_tar, test_tar)
            everything = read_jpeg_tar(train_tar)
            test = test_tar
        else:
            path = obtain(self.archive, folder=FOLDER)
            form, files = "makers' binary tar", checksums(path)
            everything = read_binary_tar(path, part="data_batch_")
            test = path
        train, validation = split_by_class(
            everything.labels, validation_per_class=self.validation_per_class, seed=self.split_seed
        )
        return Splits(
            name="CIFAR-10 cats and dogs",
            form=form,
            files=files,
            labels=CAT_DOG_LABELS,
            train=everything.take(train),
            validation=everything.take(validation),
            read_test=lambda: (
                read_jpeg_tar(test) if test.name == "test.tar" else read_binary_tar(test, part="test_batch")
            ),
        )

    def synthetic(self) -> Splits:
        """Coloured blobs in place of animals."""
        return split_synthetic(_draw, labels=CAT_DOG_LABELS, count=self.synthetic_count, seed=self.split_seed)


def _draw(count: int, seed: int) -> Examples:
    from training.datasets.synthetic import coloured_blobs

    images, labels = coloured_blobs(count, seed=seed)
    return Examples(instances=images, labels=labels.astype(np.int32))


def read_jpeg_tar(path: Path) -> Examples:
    """Cats and dogs of a tar of ``CLASS/NNNN.jpg``, by class, then number.

    Raises:
        DataDamaged: not a tar, a member that is no 32x32 image, or no cats or no dogs in it.
    """
    images: list[np.ndarray] = []
    labels: list[int] = []
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
            for name in sorted(members):
                label = name.rpartition("/")[0].rpartition("/")[2]
                if label not in CAT_DOG_LABELS or not name.endswith(".jpg"):
                    continue
                file = archive.extractfile(members[name])
                assert file is not None  # only files are in members
                image = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                if image.shape != (EDGE, EDGE, 3):
                    raise ValueError(f"{name} has shape {image.shape}, not ({EDGE}, {EDGE}, 3)")
                images.append(image)
                labels.append(CAT_DOG_LABELS.index(label))
    except (OSError, tarfile.TarError, UnidentifiedImageError, ValueError) as error:
        raise DataDamaged(f"{path} is not a tar of CLASS/NNNN.jpg: {error}") from error
    if set(labels) != {0, 1}:
        raise DataDamaged(f"{path} holds no images under cat/ or none under dog/")
    return Examples(instances=np.stack(images), labels=np.array(labels, np.int32))


def read_binary_tar(path: Path, *, part: str) -> Examples:
    """Cats and dogs of the makers' binary batches whose file names begin with ``part``, in the makers' order.

    Raises:
        DataDamaged: not a tar, no such batch, or a batch that is no whole number of records.

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
    records = records[np.isin(records[:, 0], _MAKERS_NUMBERS)]
    planes = records[:, 1:].reshape(-1, 3, EDGE, EDGE)
    labels = (records[:, 0] == _MAKERS_NUMBERS[1]).astype(np.int32)
    return Examples(instances=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels=labels)
