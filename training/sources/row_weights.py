"""Weights of rows: a column that says how much each row counts in training."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.datasets.check import check_weights
from training.sources.labels import numbers
from training.sources.table_file import TableFile


def weights_of(table: TableFile, column: str, rows: Sequence[int]) -> npt.NDArray[np.float32] | None:
    """float32 (rows,): the weights in a column; None without one.

    Args:
        table: the file.
        column: of the weights; empty for none.
        rows: from 0.

    Raises:
        DataUnusable: there is no such column, or a weight is missing, not a number or negative, or all are 0; names
            the file and the row.
    """
    if not column:
        return None
    weights = numbers(table, column, rows, cure="a weight is 0 or more")
    check_weights(f"{table.path}: column {column!r}", weights, lambda place: f"row {rows[place] + 1}")
    return weights
