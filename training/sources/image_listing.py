"""Which pictures a folder of class folders has: labels, parts, and the files that are no pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.errors import DataMissing, DataUnusable

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
PARTS = {
    "train": "training",
    "training": "training",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Name of a folder, in lower case -> the part that it contains, if ``train`` or ``training`` is one of the folders."""
WHOLE = "whole"
"""The only part of a folder without ``train``."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The pictures of a folder.

    Attributes:
        labels: names of the class folders, in alphabetical order.
        parts: ``WHOLE``, or ``training`` and others -> paths relative to the folder, in alphabetical order.
        classes: the same parts -> int32, the number of each picture's class.
        ignored: relative paths of files that are not pictures by their suffix; hidden files are left out.
    """

    folder: Path
    labels: tuple[str, ...]
    parts: dict[str, tuple[str, ...]]
    classes: dict[str, npt.NDArray[np.int32]]
    ignored: tuple[str, ...]


def list_images(folder: Path, *, leave_out: tuple[str, ...] = ()) -> Listing:
    """The pictures under ``folder/CLASS/``, or under ``folder/train/CLASS/`` and ``folder/test/CLASS/``.

    Args:
        folder: of class folders; pictures may be in folders within a class folder.
        leave_out: relative paths of pictures that are not used.

    Raises:
        DataMissing: there is no such folder, it may not be read, or has no picture that ``leave_out`` names.
        DataUnusable: no class folders, only one, one without pictures, or one of another part only; or a name is not
            UTF-8, and no recipe could state it.
    """
    try:
        listing = _listing(folder, leave_out)
    except OSError as error:
        raise DataMissing(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    for name in (str(folder), *listing.labels, *(each for part in listing.parts.values() for each in part)):
        if name != name.encode(errors="ignore").decode():
            raise DataUnusable(f"{folder}: the name {name!r} is not UTF-8; rename it")
    return listing


def _listing(folder: Path, leave_out: tuple[str, ...]) -> Listing:
    if not folder.is_dir():
        raise DataMissing(f"{folder} is not a folder; give the folder that contains one folder of pictures per class")
    inside = folders_in(folder)
    named = {path: PARTS[path.name.lower()] for path in inside if path.name.lower() in PARTS}
    split = "training" in named.values()
    if split and len(named) < len(inside):
        odd = next(path.name for path in inside if path not in named)
        raise DataUnusable(
            f"{folder} has a folder of training pictures and also {odd}/; next to train/ only validation/ and test/ "
            "are expected"
        )
    if len(set(named.values())) < len(named):
        raise DataUnusable(f"{folder} has two folders for the same part: {', '.join(path.name for path in named)}")
    own: dict[str, Path] = {part: path for path, part in named.items()}
    order = ("training", "validation", "test")
    roots: dict[str, Path] = {part: own[part] for part in order if part in own} if split else {WHOLE: folder}
    labels = _labels(roots["training" if split else WHOLE])
    wanted, ignored = set(leave_out), []
    parts: dict[str, tuple[str, ...]] = {}
    classes: dict[str, npt.NDArray[np.int32]] = {}
    for part, root in roots.items():
        if unknown := {path.name for path in folders_in(root)} - set(labels):
            raise DataUnusable(f"{root} has the class {min(unknown)!r}, but the training part has {', '.join(labels)}")
        found: list[tuple[str, int]] = []
        for number, label in enumerate(labels):
            pictures, others = pictures_below(root / label, folder)
            if not pictures:
                hint = f"; it has {others[0]}, which is not a {KINDS} file" if others else ""
                raise DataUnusable(f"{root / label} contains no pictures; remove the folder, or add some{hint}")
            ignored += others
            wanted -= set(pictures)
            found += [(name, number) for name in pictures if name not in leave_out]
        parts[part] = tuple(name for name, _ in found)
        classes[part] = np.array([number for _, number in found], np.int32)
    if wanted:
        raise DataMissing(f"leave_out names {min(wanted)}, but {folder} has no such picture")
    return Listing(folder=folder, labels=labels, parts=parts, classes=classes, ignored=tuple(ignored))


KINDS = "PNG, JPEG, GIF, BMP, WebP or TIFF"


def _labels(root: Path) -> tuple[str, ...]:
    """Names of the class folders."""
    labels = tuple(path.name for path in folders_in(root))
    if len(labels) > 1:
        return labels
    if labels:
        raise DataUnusable(f"{root} has only one class, {labels[0]!r}; there is nothing to distinguish")
    loose = next((path.name for path in sorted(root.iterdir()) if path.suffix.lower() in SUFFIXES), None)
    found = f"contains the picture {loose} instead of class folders" if loose else "has no class folders"
    found = found if any(root.iterdir()) else "is empty"
    raise DataUnusable(f"{root} {found}; put the pictures of each class into a folder with its name")


def folders_in(root: Path) -> list[Path]:
    """The folders in a folder, without hidden ones, in alphabetical order."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def pictures_below(root: Path, folder: Path) -> tuple[list[str], list[str]]:
    """Paths relative to ``folder`` of the pictures below ``root``, and of the other files."""
    pictures: list[str] = []
    others: list[str] = []
    if root.is_dir():
        next(root.iterdir(), None)  # raises PermissionError, which rglob hides
    for path in sorted(root.rglob("*")) if root.is_dir() else []:
        name = str(path.relative_to(folder))
        if path.is_file() and not path.name.startswith(".") and path.name != "Thumbs.db":
            (pictures if path.suffix.lower() in SUFFIXES else others).append(name)
    return pictures, others
