"""Pictures of your own: a folder with one folder for each class, or with ``train/`` and ``test/`` of such folders.

The source finds, checks and splits the files; the pipeline decodes them with the steps that the service applies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from training.bounds import Bounded, Seed, ShareBelowOne
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable
from training.overrides import FIXED
from training.sources.duplicates import Place, digest, equal_rows, file_hash
from training.sources.image_listing import WHOLE, Listing, list_images
from training.sources.splitting import split_rows

FORM = "class folders"


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Bounded):
    """Settings of a folder of pictures.

    Attributes:
        folder: ``folder/CLASS/*`` or ``folder/train/CLASS/*`` with ``test/`` and ``validation/``; the names of the
            class folders are the labels.
        validation_share, test_share: of each class; used for the parts that the folder does not have itself.
        split_seed: of the random choice.
        leave_out: pictures that are not used, as paths within the folder.
    """

    folder: str = field(metadata=FIXED)
    validation_share: ShareBelowOne = 0.15
    test_share: ShareBelowOne = 0.15
    split_seed: Seed = 0
    leave_out: tuple[str, ...] = field(default=(), metadata=FIXED)

    def load(self) -> Splits:
        """Find, check and split the files; instances are their paths.

        Raises:
            DataMissing, DataUnusable: see ``list_images`` and ``split_rows``; or two pictures have the same content
                and different classes, or are in different parts.
        """
        found = Found(list_images(Path(self.folder), leave_out=self.leave_out))
        found.check()
        labels = found.listing.labels
        own = found.examples
        whole = "training" if "training" in own else WHOLE
        parts = split_rows(
            found.hashes[whole],
            own[whole].labels,
            validation_share=0.0 if "validation" in own else self.validation_share,
            test_share=0.0 if whole != WHOLE and "test" in own else self.test_share,
            seed=self.split_seed,
            names=labels,
        )
        test = own["test"] if whole != WHOLE and "test" in own else own[whole].take(parts.test)
        return Splits(
            name=Path(self.folder).name,
            form=FORM,
            files={self.folder: found.digest},
            labels=labels,
            train=own[whole].take(parts.train),
            validation=own["validation"] if "validation" in own else own[whole].take(parts.validation),
            read_test=lambda: test,
        )


class Found:
    """The files of a listing with the hashes of their contents."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    @cached_property
    def hashes(self) -> Mapping[str, Sequence[str]]:
        """Part -> sha256 of each file."""
        folder = self.listing.folder
        return {part: [file_hash(folder / name) for name in names] for part, names in self.listing.parts.items()}

    @property
    def examples(self) -> Mapping[str, Examples]:
        """Part -> paths with labels."""
        folder = self.listing.folder
        return {
            part: Examples(instances=tuple(str(folder / name) for name in names), labels=self.listing.classes[part])
            for part, names in self.listing.parts.items()
        }

    @property
    def digest(self) -> str:
        """One sha256 of all names and contents."""
        return digest(
            f"{name} {value}"
            for part, names in self.listing.parts.items()
            for name, value in zip(names, self.hashes[part], strict=True)
        )

    def contradictions(self) -> list[list[str]]:
        """Groups of files with the same content in different classes."""
        return self._groups(lambda places: len({int(self.listing.classes[part][row]) for part, row in places}) > 1)

    def leaks(self) -> list[list[str]]:
        """Groups of files with the same content in different parts."""
        return self._groups(lambda places: len({part for part, _ in places}) > 1)

    def copies(self) -> int:
        """How many files are a copy of another one."""
        return sum(len(places) - 1 for places in equal_rows(self.hashes))

    def _groups(self, chosen: Callable[[list[Place]], bool]) -> list[list[str]]:
        parts = self.listing.parts
        return [[parts[part][row] for part, row in places] for places in equal_rows(self.hashes) if chosen(places)]

    def check(self) -> None:
        """Refuse pictures that contradict each other, or that are in two parts.

        Raises:
            DataUnusable: names two of the files.
        """
        counts = np.bincount(np.concatenate(list(self.listing.classes.values())), minlength=len(self.listing.labels))
        if not counts.all():
            raise DataUnusable(
                f"{self.listing.folder}: no picture of class {self.listing.labels[int(counts.argmin())]!r} can be "
                "used: leave_out names them all"
            )
        for groups, rule in (
            (self.contradictions(), "but are in different classes; remove one, or name both in leave_out"),
            (self.leaks(), "but are in different parts; a test must be new: remove one, or name it in leave_out"),
        ):
            if groups:
                one, other, *_ = groups[0]
                more = f" ({len(groups)} such groups)" if len(groups) > 1 else ""
                raise DataUnusable(f"{self.listing.folder}: {one} and {other} have the same content{more}, {rule}")
