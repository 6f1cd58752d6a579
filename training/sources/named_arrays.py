"""Arrays of your own, by name: from an .npz file or a function; some are inputs of a network, others targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Seed, ShareBelowOne
from training.datasets.check import check_weights
from training.datasets.splits import Examples, Names, Splits
from training.errors import DataUnusable
from training.overrides import FIXED
from training.sources.array_file import check_there, read_arrays
from training.sources.duplicates import file_hash
from training.sources.labels import MOST_CLASSES
from training.sources.splitting import split_examples
from training.sources.targets import Predicts, Values, check_names, fields_of, side_by_side

Array = npt.NDArray[Any]

FORM = "named arrays"


@dataclass(frozen=True, kw_only=True)
class ArrayTarget:
    """An array to predict.

    Attributes:
        name: of the array, and of the head that predicts it.
        predicts: ``classes``: texts, or numbers of classes, (rows,). ``labels``: bool, or 0 and 1, (rows, labels).
            ``number``: any numbers, (rows,) or (rows, width).
        labels: names of the classes or labels, in the order of their numbers or columns; empty for texts and numbers.
    """

    name: str = field(metadata=FIXED)
    predicts: Predicts = field(metadata=FIXED)
    labels: tuple[str, ...] = field(default=(), metadata=FIXED)


@dataclass(frozen=True, kw_only=True)
class NamedArrays(Bounded):
    """Settings of named arrays. All have the same number of rows.

    Attributes:
        inputs: names of the arrays that the network reads, (rows, *shape): uint8, or numbers, which become int32 or
            float32.
        targets: the arrays to predict, one or several.
        file: an .npz file; or empty, with ``make``.
        make: a function that returns name -> array, the same ones in every call.
        weight: array (rows,) that says how much each row counts in training; empty for none.
        validation_share, test_share: of the rows, or of the rows of each class.
        split_seed: of the random choice.
    """

    inputs: tuple[str, ...] = field(metadata=FIXED)
    targets: tuple[ArrayTarget, ...] = field(metadata=FIXED)
    file: str = field(default="", metadata=FIXED)
    make: Callable[[], Mapping[str, Array]] | None = field(default=None, metadata=FIXED)
    weight: str = field(default="", metadata=FIXED)
    validation_share: ShareBelowOne = 0.15
    test_share: ShareBelowOne = 0.15
    split_seed: Seed = 0

    def load(self) -> Splits:
        """Read or make the arrays, check and split them; equal rows are in one part.

        Raises:
            DataMissing, DataDamaged: there is no such file, or it is not one of arrays.
            DataUnusable: an array is missing, has another number of rows, or values of no use; names it, and the row.
        """
        place = self._place
        check_names(place, [each.name for each in self.targets])
        if not self.inputs or not self.targets:
            raise DataUnusable(f"{place}: name at least one array in inputs, and one in targets")
        used = [*self.inputs, *(each.name for each in self.targets), *([self.weight] if self.weight else [])]
        for name in used:
            if used.count(name) > 1:
                raise DataUnusable(f"{place}: the array {name!r} is used twice, as input, target or weight")
        arrays = self._arrays(used)
        rows = len(arrays[used[0]]) if arrays[used[0]].ndim else 0
        for name in used:
            if arrays[name].shape[:1] != (rows,):
                raise DataUnusable(
                    f"{place}: {name!r} has shape {arrays[name].shape}, but {used[0]!r} has {rows} rows; all arrays "
                    "must have the same number"
                )
        if not rows:
            raise DataUnusable(f"{place}: the arrays have no rows")
        instances = fields_of({name: _input(place, name, arrays[name]) for name in self.inputs})
        found = {each.name: _target(place, each, arrays[each.name]) for each in self.targets}
        weights = _weights(place, self.weight, arrays)
        heads = {name: names for name, (names, _) in found.items()}
        names: Names = heads if len(heads) > 1 else next(iter(heads.values()))
        return split_examples(
            self,
            Examples(
                instances=instances,
                labels=side_by_side({name: values for name, (_, values) in found.items()}),
                weights=weights,
            ),
            name=place,
            sha256=file_hash(Path(self.file)) if self.file else "",
            contents=[sha256(row.tobytes()).digest() for row in instances],
            names=names,
            form=FORM,
        )

    @property
    def _place(self) -> str:
        """Where the arrays are from, for messages."""
        if bool(self.file) == (self.make is not None):
            raise DataUnusable("named arrays are either from a file or from a function: give file or make, one of them")
        return getattr(self.make, "__name__", str(self.make)) if self.make is not None else Path(self.file).name

    def _arrays(self, used: Sequence[str]) -> dict[str, Array]:
        """The arrays that are used, by name."""
        if self.make is None:
            return read_arrays(Path(self.file), used)
        made, arrays = self.make(), {}
        if not isinstance(made, Mapping):
            raise DataUnusable(f"{self._place} returned {type(made).__name__}; name -> array is expected")
        for name in used:
            check_there(self._place, name, map(str, made))
            try:
                arrays[name] = np.asarray(made[name])
            except ValueError as error:  # rows of different lengths
                raise DataUnusable(f"{self._place}: {name!r} is not an array: {error}") from error
        return arrays


def _input(place: str, name: str, values: Array) -> Array:
    """An input as uint8, int32 or float32."""
    kind = values.dtype.kind
    if values.dtype == np.uint8:
        return values
    if kind in "iu":
        wide = values.astype(np.int64)
        if (wide != wide.astype(np.int32)).any():
            raise DataUnusable(f"{place}: {name!r} has whole numbers beyond int32; give smaller ones, or float32")
        return wide.astype(np.int32)
    if kind != "f":
        raise DataUnusable(
            f"{place}: {name!r} has dtype {values.dtype}; an input has numbers: give texts as token ids, and "
            "categories as numbers"
        )
    return _finite(place, name, values)


def _finite(place: str, name: str, values: Array) -> Array:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(narrow.reshape(len(narrow), -1)).all(axis=1))
    if len(wrong):
        raise DataUnusable(f"{place}: row {wrong[0] + 1} of {name!r} has NaN or infinity, or a number beyond float32")
    return narrow


def _target(place: str, target: ArrayTarget, values: Array) -> Values:
    """The names and values of a target."""
    kind, name = values.dtype.kind, target.name
    if target.predicts == "number":
        if kind not in "iuf" or values.ndim > 2:
            raise DataUnusable(
                f"{place}: {name!r} is {values.dtype} of shape {values.shape}; to predict a number, give numbers of "
                "shape (rows,) or (rows, width)"
            )
        if not values[0].size:
            raise DataUnusable(f"{place}: {name!r} has shape {values.shape}, so there is no number to predict")
        return (), _finite(place, name, values.reshape(len(values), -1))
    if target.predicts == "labels":
        return _labels(place, target, values)
    if values.ndim != 1 or kind not in "iuUS":
        raise DataUnusable(
            f"{place}: {name!r} is {values.dtype} of shape {values.shape}; to predict classes, give texts or numbers "
            "of classes of shape (rows,)"
        )
    if len(target.labels) == 1:
        raise DataUnusable(f"{place}: {name!r} has one label, {target.labels[0]!r}; at least two are required")
    if kind in "iu" and target.labels:
        wrong = np.flatnonzero((values < 0) | (values >= len(target.labels)))
        if len(wrong):
            raise DataUnusable(
                f"{place}: row {wrong[0] + 1} of {name!r} has the class {values[wrong[0]]}, but there are "
                f"{len(target.labels)} labels, 0 to {len(target.labels) - 1}"
            )
        return target.labels, values.astype(np.int32)
    if kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise DataUnusable(f"{place}: {name!r} has {error.object!r}, which is not UTF-8") from error
    texts = list(map(str, values.tolist()))
    labels = target.labels or tuple(map(str, sorted(set(values.tolist())) if kind in "iu" else sorted(set(texts))))
    if not 2 <= len(labels) <= MOST_CLASSES:
        raise DataUnusable(f"{place}: {name!r} has {len(labels)} classes; 2 to {MOST_CLASSES} are accepted")
    numbers = {label: number for number, label in enumerate(labels)}
    for row, text in enumerate(texts, start=1):
        if text not in numbers:
            raise DataUnusable(f"{place}: row {row} of {name!r} has the class {text!r}, which is not in its labels")
    return labels, np.array([numbers[text] for text in texts], np.int32)


def _labels(place: str, target: ArrayTarget, values: Array) -> Values:
    name = target.name
    if values.ndim != 2 or values.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all():
        raise DataUnusable(
            f"{place}: {name!r} is {values.dtype} of shape {values.shape}; to predict labels, give bool, or 0 and 1, "
            "of shape (rows, labels)"
        )
    if len(target.labels) != values.shape[1] or len(target.labels) < 2:
        raise DataUnusable(
            f"{place}: {name!r} has {values.shape[1]} columns, but {len(target.labels)} names in labels; give one for "
            "each, at least two"
        )
    return target.labels, values.astype(bool)


def _weights(place: str, name: str, arrays: Mapping[str, Array]) -> npt.NDArray[np.float32] | None:
    if not name:
        return None
    values = arrays[name]
    if values.dtype.kind not in "iuf":
        raise DataUnusable(f"{place}: the weights {name!r} have dtype {values.dtype}; numbers are expected")
    check_weights(f"{place}: {name!r}", values.astype(np.float64), lambda row: f"row {row + 1}")
    return values.astype(np.float32)
