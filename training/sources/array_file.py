"""Arrays of an .npz file. Objects are never unpickled, and only the arrays that are used are read."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import DataDamaged, DataMissing, DataUnusable
from training.sources.paths import is_file


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Some arrays of a file, by name.

    Raises:
        DataMissing: there is no such file.
        DataDamaged: it is not an .npz file, or an array is one of objects, or damaged.
        DataUnusable: it lacks an array, or one does not fit into memory.
    """
    if not is_file(path):
        raise DataMissing(f"{path} is not a file; give an .npz file, as numpy.savez writes it")
    try:
        opened = np.load(path, allow_pickle=False)
    except Exception as error:  # zipfile and numpy raise errors of many kinds for damaged files
        raise _damaged(path, error) from error
    if isinstance(opened, np.ndarray):
        raise DataDamaged(f"{path} has one array without a name; write an .npz file with numpy.savez")
    with opened:
        for name in names:
            check_there(path.name, name, opened.files)
        found = {}
        for name in names:
            try:
                found[name] = opened[name]
            except MemoryError as error:
                raise DataUnusable(f"{path}: {name!r} does not fit into memory: {error}") from error
            except Exception as error:  # as above
                raise _damaged(path, error) from error
            if not isinstance(found[name], np.ndarray):
                raise _damaged(path, f"{name!r} is a file of another kind")
    return found


def check_there(place: str, name: str, names: Iterable[str]) -> None:
    """Refuse a name that is not among those of the arrays; the DataUnusable has the nearest and all."""
    names = list(names)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataUnusable(f"{place} has no array {name!r}; {hint}there are: {', '.join(names)}")


def _damaged(path: Path, reason: object) -> DataDamaged:
    return DataDamaged(f"{path} is not an .npz file of plain arrays: {reason}")
