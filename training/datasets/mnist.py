"""MNIST: 60,000 + 10,000 grey images of handwritten digits, 28x28, from the makers' IDX files.

Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", Proceedings of the
IEEE 86 (1998); the checksums are those that torchvision lists for the same files, at the address from which it
downloads them.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from app.contract.steps import TransformStep
from training.datasets.idx_images import Archives, IdxImages, archives_at
from training.datasets.splits import Examples
from training.overrides import FIXED

DIGIT_LABELS = tuple(map(str, range(10)))
MAKERS = archives_at(
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5s=(
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)


def digit_steps(edge: int) -> tuple[TransformStep, ...]:
    """What makes a square picture of ``edge`` pixels, bright on black, of a photographed or scanned digit."""
    return (
        TransformStep(step="trim"),
        TransformStep(step="fit", arguments={"size": edge}),
        TransformStep(step="extend", arguments={"size": edge}),
        TransformStep(step="negate_if_light"),
        TransformStep(step="grey"),
    )


@dataclass(frozen=True, kw_only=True)
class Mnist(IdxImages):
    """Settings of the data set; attributes: see ``IdxImages``."""

    title: ClassVar[str] = "MNIST"
    folder: ClassVar[str] = "mnist"
    labels: ClassVar[tuple[str, ...]] = DIGIT_LABELS

    archives: Archives = field(default=MAKERS, metadata=FIXED)

    @staticmethod
    def draw(count: int, seed: int) -> Examples:
        """Drawn digits."""
        from training.datasets.drawn.digits import digit_images

        images, labels = digit_images(count, seed=seed, edge=28)
        return Examples(instances=images, labels=labels.astype(np.int32))
