"""Grey images in four gzip IDX files of their makers: images and labels, to train and to test.

Source of the format: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
"""

import gzip
import struct
import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Count, CountOrZero, Seed
from training.datasets.archive import Archive, checksums, obtain
from training.datasets.splits import Examples, Splits, split_by_class, split_synthetic
from training.errors import DataDamaged
from training.overrides import FIXED

NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
"""What the files are called before ``-ubyte.gz``."""
_IDX_UINT8 = 0x08


@dataclass(frozen=True)
class Archives:
    """The makers' four files, in the order of ``NAMES``."""

    train_images: Archive
    train_labels: Archive
    test_images: Archive
    test_labels: Archive


def archives_at(address: str, *, md5s: tuple[str, str, str, str]) -> Archives:
    """The four files under their usual names.

    Args:
        address: what is before the name of a file.
        md5s: of the files, in the order of ``Archives``.
    """
    files = (
        Archive(name=f"{name}-ubyte.gz", url=f"{address}{name}-ubyte.gz", md5=md5)
        for name, md5 in zip(NAMES, md5s, strict=True)
    )
    return Archives(*files)


@dataclass(frozen=True, kw_only=True)
class IdxImages(Bounded, ABC):
    """Settings of such a data set; a subclass says which one it is.

    Attributes:
        validation_per_class: rows of each class of the makers' training set that are used for validation.
        validation_split: instead, the last share of the rows, as with Keras's ``validation_split``.
        split_seed: seed of that choice.
        synthetic_count: size of the train part with ``--dataset synthetic``.
        title, folder: of the data set; the folder is below the data directory.
        labels: names of the classes.
    """

    title: ClassVar[str]
    folder: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]

    validation_per_class: CountOrZero = 500
    validation_split: float | None = None
    split_seed: Seed = 0
    synthetic_count: Count = 4000
    archives: Archives = field(metadata=FIXED)

    @staticmethod
    @abstractmethod
    def draw(count: int, seed: int) -> Examples:
        """Drawings of the same shape with the same labels."""

    def load(self) -> Splits:
        """Read the makers' IDX files; see ``DataSource.load``."""
        paths = [obtain(archive, folder=self.folder) for archive in vars(self.archives).values()]
        images, labels = read_idx(paths[0]), read_idx(paths[1]).astype(np.int32)
        everything = Examples(instances=images, labels=labels)
        if self.validation_split is None:
            train, validation = split_by_class(
                labels, validation_per_class=self.validation_per_class, seed=self.split_seed
            )
        else:
            train, validation = np.split(np.arange(len(labels)), [int(len(labels) * (1 - self.validation_split))])
        return Splits(
            name=self.title,
            form="IDX gzip",
            files=checksums(*paths),
            labels=self.labels,
            train=everything.take(train),
            validation=everything.take(validation),
            read_test=lambda: Examples(instances=read_idx(paths[2]), labels=read_idx(paths[3]).astype(np.int32)),
        )

    def synthetic(self) -> Splits:
        """Drawings in place of the images; the validation part is empty if that of the images would be."""
        splits = split_synthetic(self.draw, labels=self.labels, count=self.synthetic_count, seed=self.split_seed)
        if self.validation_split or (self.validation_split is None and self.validation_per_class):
            return splits
        return replace(splits, validation=splits.validation.take(np.arange(0)))


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Read a gzip IDX file of unsigned bytes.

    Returns:
        uint8, with the shape that the header states.

    Raises:
        DataDamaged: not gzip, not IDX, or more or fewer bytes than in the header.

    Source: the format as its makers describe it: two zero bytes, a type code, the number of dimensions, each dimension
        as a big-endian uint32, the values.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        zero, kind, dimensions = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{dimensions}I", data, 4)
        if zero or kind != _IDX_UINT8:
            raise ValueError(f"header {data[:4].hex()} is not the header of an IDX file of bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, struct.error, ValueError, zlib.error) as error:
        raise DataDamaged(f"{path} is not a gzip IDX file: {error}") from error
