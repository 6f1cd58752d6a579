"""Fashion-MNIST: 60,000 + 10,000 grey images of ten kinds of garment, 28x28, from the makers' IDX files.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
arXiv:1708.07747; MIT licence.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.steps import TransformStep
from training.bounds import Bounded, Count, CountOrZero, Seed
from training.datasets.archive import Archive, checksums, obtain
from training.datasets.fashion_labels import FASHION_LABELS
from training.datasets.splits import Examples, Splits, split_by_class, split_synthetic
from training.errors import DataDamaged
from training.overrides import FIXED

# The data set makers' own conversion of photographs, arXiv:1708.07747, section 2.
FASHION_STEPS = (
    TransformStep(step="trim"),
    TransformStep(step="fit", arguments={"size": 28}),
    TransformStep(step="sharpen"),
    TransformStep(step="extend", arguments={"size": 28}),
    TransformStep(step="negate_if_light"),
    TransformStep(step="grey"),
)
FOLDER = "fashion-mnist"

_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_IDX_UINT8 = 0x08


@dataclass(frozen=True, kw_only=True)
class Archives:
    """The makers' four files; the md5s are those of their README."""

    train_images: Archive
    train_labels: Archive
    test_images: Archive
    test_labels: Archive


def _archive(name: str, md5: str) -> Archive:
    return Archive(name=name, url=_ADDRESS + name, md5=md5)


MAKERS = Archives(
    train_images=_archive("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    train_labels=_archive("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    test_images=_archive("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    test_labels=_archive("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
)


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Bounded):
    """Settings of the data set.

    Attributes:
        validation_per_class: rows of each class of the makers' training set that are used for validation.
        validation_split: instead, the last share of the rows, as with Keras's ``validation_split``.
        split_seed: seed of that choice.
        synthetic_count: size of the train part with ``--dataset synthetic``.
    """

    validation_per_class: CountOrZero = 500
    validation_split: float | None = None
    split_seed: Seed = 0
    synthetic_count: Count = 4000
    archives: Archives = field(default=MAKERS, metadata=FIXED)

    def load(self) -> Splits:
        """Read the makers' IDX files; see ``DataSource.load``."""
        paths = [obtain(archive, folder=FOLDER) for archive in vars(self.archives).values()]
        images, labels = read_idx(paths[0]), read_idx(paths[1]).astype(np.int32)
        everything = Examples(instances=images, labels=labels)
        if self.validation_split is None:
            train, validation = split_by_class(
                labels, validation_per_class=self.validation_per_class, seed=self.split_seed
            )
        else:
            train, validation = np.split(np.arange(len(labels)), [int(len(labels) * (1 - self.validation_split))])
        return Splits(
            name="Fashion-MNIST",
            form="IDX gzip",
            files=checksums(*paths),
            labels=FASHION_LABELS,
            train=everything.take(train),
            validation=everything.take(validation),
            read_test=lambda: Examples(instances=read_idx(paths[2]), labels=read_idx(paths[3]).astype(np.int32)),
        )

    def synthetic(self) -> Splits:
        """Drawn garments instead of photographs; the validation part is empty if that of the photographs would be."""
        splits = split_synthetic(_draw, labels=FASHION_LABELS, count=self.synthetic_count, seed=self.split_seed)
        if self.validation_split or (self.validation_split is None and self.validation_per_class):
            return splits
        return replace(splits, validation=splits.validation.take(np.arange(0)))


def _draw(count: int, seed: int) -> Examples:
    from training.datasets.drawn.synthetic import fashion_images

    images, labels = fashion_images(count, seed=seed)
    return Examples(instances=images, labels=labels.astype(np.int32))


def read_idx(path: Path) -> npt.NDArray[Any]:
    """Read a gzip IDX file of unsigned bytes.

    Returns:
        uint8, with the shape that the header states.

    Raises:
        DataDamaged: not gzip, not IDX, or more or fewer bytes than in the header.

    Source: the format as described by LeCun, Cortes & Burges, "The MNIST database of handwritten digits": two zero
        bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, the values.
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
