"""Mixes new rows with old ones, and holds a part of the new ones out. Imports no TensorFlow.

All new rows that are not held out are trained on, together with old rows drawn at random, so that the network does not
forget them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from training.data.image_files import ImageFiles
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable, SettingRefused
from training.sources.table import are_cases

HELD_OUT_SHARE = 0.3
LEAST_HELD_OUT = 10
"""Fewest held-out rows that say whether a network is better: one of them is a tenth of the accuracy."""
SHARE_OLD = 0.8
"""Default share of old rows among those that are trained on.

Old rows are replayed as in Rolnick, Ahuja, Schwarz, Lillicrap & Wayne, "Experience Replay for Continual Learning",
NeurIPS 2019, arXiv:1811.11682. The share is measured: docs/how-to/retrain.md has the figures.
"""
LEAST_EPOCHS = 5
"""Epochs that are left when passes over the new rows share one."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of rows.

    Attributes:
        new: new rows that are trained on.
        old: different old rows that are trained on.
        held_out: new rows that are only measured on.
        copies: new rows that are left out, because the old validation or test part has them.
    """

    new: int
    old: int
    held_out: int
    copies: int

    def as_json(self) -> dict[str, int]:
        """For metrics.json."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The rows of a retraining.

    Attributes:
        training: new and old rows, in random order; each new row ``passes`` times.
        passes: over the new rows in one epoch, each with other old rows.
        held_out: new rows that are never trained on.
    """

    training: Examples
    held_out: Examples
    passes: int
    counts: Counts


def mix(new: Examples, old: Splits, *, share_old: float, epochs: int, seed: int) -> Mix:
    """Choose the rows to train on, and the new ones to measure on.

    - New rows that the old validation or test part has are left out: the test would know what the training taught.
    - Of the others about ``HELD_OUT_SHARE`` are held out, chosen by a hash of their content: a row that is held out
      once is held out in every later retraining, too, and equal rows are on one side.
    - New rows that the old training part has are trained on, not measured on.
    - Few new rows would come with the same few old ones in every epoch, and all others would be forgotten. So several
      passes over the new rows share an epoch, each with other old rows, as long as there are some.

    Args:
        new: rows in the form of the old ones.
        old: the data of the recipe, opened. Its test part is read for the comparison, and is not measured on.
        share_old: of the rows that are trained on, from 0 to below 1; if there are not as many old rows, all are used.
        epochs: passes over the new rows that are to be made in all.
        seed: of the random choice of old rows, and of the order.

    Raises:
        SettingRefused: the share is out of range.
        DataUnusable: too few new rows are left to train on, or to measure on.
    """
    if not 0 <= share_old < 1:
        raise SettingRefused(
            f"--share-old {share_old:g} must be 0 or more, and below 1: a share of the rows to train on"
        )
    known = {part: set(contents(rows)) for part, rows in (("train", old.train), ("validation", old.validation))}
    known["test"] = set(contents(old.read_test()))
    new_contents = contents(new)
    if few_values(old.train):  # equal rows are different cases, and each counts by itself
        known = {part: set() for part in known}
        new_contents = _numbered(new_contents)
    left_out = np.array([each in known["validation"] or each in known["test"] for each in new_contents])
    held_out = ~left_out & np.array([is_held_out(each) and each not in known["train"] for each in new_contents])
    training = ~left_out & ~held_out
    for chosen, least, purpose in ((training, 1, "train on"), (held_out, LEAST_HELD_OUT, "measure on")):
        if chosen.sum() < least:
            raise DataUnusable(
                f"of {len(new)} new rows {left_out.sum()} are copies of old validation or test rows, and "
                f"{chosen.sum()} are left to {purpose}; at least {least} are required: collect more"
            )
    generator = np.random.default_rng(seed)
    count = min(len(old.train), round(int(training.sum()) * share_old / (1 - share_old)))
    passes = max(1, min(epochs // LEAST_EPOCHS, len(old.train) // count)) if count else 1
    chosen_old = old.train.take(generator.permutation(len(old.train))[: count * passes])
    both = join(chosen_old, new.take(np.tile(np.flatnonzero(training), passes)))
    return Mix(
        training=both.take(generator.permutation(len(both))),
        held_out=new.take(np.flatnonzero(held_out)),
        passes=passes,
        counts=Counts(
            new=int(training.sum()), old=len(chosen_old), held_out=int(held_out.sum()), copies=int(left_out.sum())
        ),
    )


def is_held_out(content: bytes) -> bool:
    """Whether a row is only measured on, by its content: the same in every retraining."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") < HELD_OUT_SHARE * 2**64


def contents(examples: Examples) -> list[bytes]:
    """What makes a row equal to another one, for each: pixels, text without spaces around it, or values."""
    instances = examples.instances
    if isinstance(instances, tuple):
        return [text.strip().encode() for text in instances]
    if isinstance(instances, ImageFiles):
        return [_digest(instances.read(np.array([row]))) for row in range(len(instances))]
    if instances.dtype.names:
        return [str(row).encode() for row in instances]
    return [_digest(row) for row in instances]


def few_values(examples: Examples) -> bool:
    """Whether the rows are those of a table with so few values that equal rows are different cases."""
    instances = examples.instances
    return (
        isinstance(instances, np.ndarray) and bool(instances.dtype.names) and are_cases([str(row) for row in instances])
    )


def join(first: Examples, second: Examples) -> Examples:
    """The rows of both, one after the other; pictures that stay on the disk are read if the others are in memory."""
    one, other = first.instances, second.instances
    labels = np.concatenate([first.labels, second.labels])
    if isinstance(one, tuple) and isinstance(other, tuple):
        return Examples(instances=one + other, labels=labels)
    if isinstance(one, ImageFiles) and isinstance(other, ImageFiles):
        return Examples(instances=cast(npt.NDArray[Any], one.joined(other)), labels=labels)
    return Examples(instances=np.concatenate([np.asarray(one), np.asarray(other)]), labels=labels)


def _digest(row: npt.NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest()


def _numbered(values: Iterable[bytes]) -> list[bytes]:
    """Each value with its number among the equal ones."""
    seen: Counter[bytes] = Counter()
    numbered = []
    for value in values:
        seen[value] += 1
        numbered.append(value + b"#%d" % seen[value])
    return numbered
