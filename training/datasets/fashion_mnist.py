"""Fashion-MNIST: 60,000 + 10,000 grey images of ten kinds of garment, 28x28, from the makers' IDX files.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
arXiv:1708.07747; MIT licence.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from app.contract.steps import TransformStep
from training.datasets.fashion_labels import FASHION_LABELS
from training.datasets.idx_images import Archives, IdxImages, archives_at
from training.datasets.splits import Examples
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
MAKERS = archives_at(
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    md5s=(  # of the makers' README
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)


@dataclass(frozen=True, kw_only=True)
class FashionMnist(IdxImages):
    """Settings of the data set; attributes: see ``IdxImages``."""

    title: ClassVar[str] = "Fashion-MNIST"
    folder: ClassVar[str] = "fashion-mnist"
    labels: ClassVar[tuple[str, ...]] = FASHION_LABELS

    archives: Archives = field(default=MAKERS, metadata=FIXED)

    @staticmethod
    def draw(count: int, seed: int) -> Examples:
        """Drawn garments."""
        from training.datasets.drawn.synthetic import fashion_images

        images, labels = fashion_images(count, seed=seed)
        return Examples(instances=images, labels=labels.astype(np.int32))
