"""1,797 handwritten digits of 8x8 pixels, which scikit-learn ships: nothing is downloaded.

Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998), the test
part; CC BY 4.0. A pixel counts how many of the 16 points of a 4x4 block of the scan are black.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.bounds import Bounded, Count, Seed
from training.datasets.archive import checksums
from training.datasets.mnist import DIGIT_LABELS
from training.datasets.splits import Examples, Splits, split_by_class, split_synthetic

EDGE = 8
LARGEST = 16
"""Of a pixel in the data set; pixels of images go to 255."""


@dataclass(frozen=True, kw_only=True)
class Digits(Bounded):
    """Settings of the data set.

    Attributes:
        validation_per_class, test_per_class: images of each digit that validate and that test; the rest trains.
        split_seed: seed of that choice.
        synthetic_count: size of the train part with ``--dataset synthetic``.
    """

    validation_per_class: Count = 40
    test_per_class: Count = 40
    split_seed: Seed = 0
    synthetic_count: Count = 1000

    def load(self) -> Splits:
        """Read the file in scikit-learn's package; see ``DataSource.load``."""
        import sklearn.datasets

        found = sklearn.datasets.load_digits()
        everything = Examples(
            instances=np.rint(found.images * (255 / LARGEST)).astype(np.uint8), labels=found.target.astype(np.int32)
        )
        rest, held_out = split_by_class(
            everything.labels,
            validation_per_class=self.validation_per_class + self.test_per_class,
            seed=self.split_seed,
        )
        places, other = split_by_class(
            everything.labels[held_out], validation_per_class=self.validation_per_class, seed=self.split_seed
        )
        return Splits(
            name="Optical Recognition of Handwritten Digits",
            form="scikit-learn's package",
            files=checksums(Path(sklearn.datasets.__path__[0], "data", "digits.csv.gz")),
            labels=DIGIT_LABELS,
            train=everything.take(rest),
            validation=everything.take(held_out[other]),
            read_test=lambda: everything.take(held_out[places]),
        )

    def synthetic(self) -> Splits:
        """Drawn digits of the same size."""
        return split_synthetic(_draw, labels=DIGIT_LABELS, count=self.synthetic_count, seed=self.split_seed)


def _draw(count: int, seed: int) -> Examples:
    from training.datasets.drawn.digits import digit_images

    images, labels = digit_images(count, seed=seed, edge=EDGE)
    return Examples(instances=images, labels=labels.astype(np.int32))
