"""Cuts rows into parts: each class or label in proportion, equal rows on one side, the same parts for the same seed."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.datasets.splits import Examples, Names, Splits
from training.errors import DataUnusable
from training.sources.table_file import TableFile

Rows = npt.NDArray[np.intp]
LEAST_PER_CLASS = 3
"""One row of each class to train, one to validate and one to test."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Row numbers of the three parts, each in random order."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(
    contents: Sequence[Hashable],
    labels: npt.NDArray[np.int32] | None,
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    names: Sequence[str] = (),
) -> Parts:
    """Split rows at random, rows of each class in proportion to the shares.

    Args:
        contents: of each row; rows with equal contents are in the same part, so that no part tests what another one
            has taught.
        labels: int32 (rows,), the class of each; None without classes.
        validation_share, test_share: from 0 to below 1, together below 1; a share above 0 gets at least one row of
            each class.
        seed: of numpy's default generator.
        names: of the classes, for the message.

    Raises:
        DataUnusable: a class has too few different rows for the parts; or the shares leave nothing to train on.
    """
    if min(validation_share, test_share) < 0 or validation_share + test_share >= 1:
        raise DataUnusable(
            f"data.validation_share {validation_share:g} and data.test_share {test_share:g} must be 0 or more, and "
            "together below 1"
        )
    generator = np.random.default_rng(seed)
    groups: dict[Hashable, list[int]] = {}
    for row, content in enumerate(contents):
        groups.setdefault(content, []).append(row)
    strata: dict[int, list[list[int]]] = {}
    for rows in groups.values():  # equal rows with several classes follow the first one
        strata.setdefault(0 if labels is None else int(labels[rows[0]]), []).append(rows)
    shares = (test_share, validation_share)
    parts: tuple[list[int], ...] = ([], [], [])
    for label in sorted(strata):
        members = strata[label]
        least = 1 + sum(share > 0 for share in shares)
        if len(members) < least:
            what = f"class {names[label]!r} has" if names else "there are"
            raise DataUnusable(
                f"{what} {len(members)} different rows; at least {least} are required, one for each part of the data"
            )
        counts = [max(1, round(share * len(members))) if share else 0 for share in shares]
        order = [members[place] for place in generator.permutation(len(members))]
        ends = [counts[0], counts[0] + min(counts[1], len(members) - counts[0] - 1), len(members)]
        for part, begin, end in zip(parts, [0, *ends], ends, strict=False):
            part += [row for rows in order[begin:end] for row in rows]
    test, validation, train = (generator.permutation(np.array(part, np.intp)) for part in parts)
    return Parts(train=train, validation=validation, test=test)


class FileSource(Protocol):
    """A source that is one file, with the settings of its split."""

    @property
    def file(self) -> str: ...  # noqa: D102
    @property
    def validation_share(self) -> float: ...  # noqa: D102
    @property
    def test_share(self) -> float: ...  # noqa: D102
    @property
    def split_seed(self) -> int: ...  # noqa: D102


def split_file(
    source: FileSource,
    table: TableFile,
    examples: Examples,
    *,
    contents: Sequence[Hashable],
    names: Names,
    form: str,
) -> Splits:
    """The rows of one file, split.

    Args:
        source: its settings.
        table: the file.
        examples: its rows.
        contents: see ``split_rows``.
        names: see ``Splits.names``.
        form: see ``Splits``.

    Raises:
        DataUnusable: see ``split_rows``.
    """
    return split_examples(
        source, examples, name=table.path.name, sha256=table.sha256, contents=contents, names=names, form=form
    )


def split_examples(
    source: FileSource,
    examples: Examples,
    *,
    name: str,
    sha256: str,
    contents: Sequence[Hashable],
    names: Names,
    form: str,
) -> Splits:
    """Rows, split; arguments as in ``split_file``."""
    groups, classes = strata(examples, names, least=LEAST_PER_CLASS)
    parts = split_rows(
        contents,
        groups,
        validation_share=source.validation_share,
        test_share=source.test_share,
        seed=source.split_seed,
        names=classes,
    )
    return Splits(
        name=name,
        form=form,
        files={source.file: sha256} if source.file else {},
        labels=names if isinstance(names, tuple) else (),
        heads={} if isinstance(names, tuple) else names,
        train=examples.take(parts.train),
        validation=examples.take(parts.validation),
        read_test=lambda: examples.take(parts.test),
    )


def strata(examples: Examples, names: Names, *, least: int) -> tuple[npt.NDArray[np.int32] | None, Sequence[str]]:
    """The group of each row, of which every part gets its share, and the names of the groups if they are classes.

    Of several targets, the first that has classes counts, or else the first that has labels. A row with several labels
    is in the group of its rarest one, so that rare labels are in every part. Groups of fewer than ``least`` rows, whose
    labels other rows have together with rarer ones, are part of the largest one.

    Source: the order of the labels is that of Sechidis, Tsoumakas & Vlahavas, On the Stratification of Multi-Label
    Data, ECML PKDD 2011.

    Returns:
        int32 (rows,), None if only numbers are predicted; and the names, empty without classes.

    Raises:
        DataUnusable: fewer than ``least`` rows have a label; names it.
    """
    labels = examples.labels
    fields = {name: labels[name] for name in labels.dtype.names} if labels.dtype.names else {"": labels}
    named = {"": names} if isinstance(names, tuple) else names
    chosen = [name for kind in "ib" for name, values in fields.items() if values.dtype.kind == kind]
    if not chosen:
        return None, ()
    values, own = fields[chosen[0]], named[chosen[0]]
    if values.dtype.kind == "i":
        return np.asarray(values, np.int32), own
    counts = values.sum(axis=0)
    if counts.min() < least:
        raise DataUnusable(
            f"label {own[int(counts.argmin())]!r} has {counts.min()} rows; at least {least} are required, one for each "
            "part of the data"
        )
    ranked = np.where(values, counts, len(values) + 1)
    rarest = np.where(values.any(axis=1), ranked.argmin(axis=1), len(own)).astype(np.int32)
    sizes = np.bincount(rarest, minlength=len(own) + 1)
    return np.asarray(np.where(sizes[rarest] < least, sizes.argmax(), rarest), np.int32), ()
