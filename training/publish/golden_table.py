"""Golden rows of a table: drawn column by column from its statistics, so that no row of the data is published.

Held-out rows are among them, and come first, only if the recipe publishes examples.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.model_spec import ModelSpec
from app.contract.strings import string_array
from training.data.table_columns import CategoryColumn, FittedColumns, NumberColumn
from training.export.model_export import keras_runner
from training.publish.golden_search import ROWS

POOL = 2560
UNKNOWN = b"a text that the training did not have"
UNKNOWN_SHARE = 0.02

Array = npt.NDArray[Any]


def golden_table(spec: ModelSpec, model: Any, table: FittedColumns, examples: Array | None = None) -> dict[str, Array]:
    """Input name -> (64,): rows that show as many classes as possible, missing values and unknown categories too.

    Args:
        spec: signature of the model.
        model: the trained tf_keras.Model.
        table: statistics of the training part. Columns are drawn independently of one another.
        examples: structured array (rows,) of held-out rows, which come first. Those with a missing number in a column
            that had none in the training are left out: the model refuses it.
    """
    rng = np.random.default_rng(20)
    pool = {column.name: _numbers(column, rng) for column in table.numbers}
    pool |= {column.name: _categories(column, rng) for column in table.categories}
    if examples is not None:
        shown = _accepted(examples, table)
        pool = {name: np.concatenate([shown[name], values]) for name, values in pool.items()}
    return rows_of_all_classes(spec, model, pool)


def rows_of_all_classes(spec: ModelSpec, model: Any, pool: dict[str, Array]) -> dict[str, Array]:
    """64 rows of ``pool``, input name -> (rows, *shape): of every class that the model gives, about equally many."""
    if spec.postprocessing is None:
        return {name: values[:ROWS] for name, values in pool.items()}
    given = keras_runner(model, spec)(pool)[spec.postprocessing.output].argmax(axis=1)
    turn = np.empty(len(given), np.intp)
    for label in np.unique(given):
        rows = np.flatnonzero(given == label)
        turn[rows] = np.arange(len(rows))
    chosen = np.lexsort((given, turn))[:ROWS]  # the first row of each class, then the second of each, ...
    return {name: values[chosen] for name, values in pool.items()}


def _accepted(examples: Array, table: FittedColumns) -> Array:
    """The rows that the model accepts."""
    whole = [column.name for column in table.numbers if not column.missing]
    missing = [np.isnan(examples[name]) for name in whole]
    return examples[~np.any(missing, axis=0)] if missing else examples


def _numbers(column: NumberColumn, rng: np.random.Generator) -> Array:
    """float32 (POOL,): uniform between the 1st and the 99th percentile, and missing as often as in the training."""
    values = rng.uniform(column.low, column.high, POOL)
    if column.missing:
        values[rng.random(POOL) < column.missing] = np.nan
        values[0] = np.nan
    return values.astype(np.float32)


def _categories(column: CategoryColumn, rng: np.random.Generator) -> Array:
    """``bytes`` (POOL,): as often as in the training, and some that the training did not have."""
    shares = np.array(column.shares)
    places = rng.choice(len(shares), POOL, p=shares / shares.sum())
    values = string_array([column.values[place].encode() for place in places], (POOL,))
    values[rng.random(POOL) < UNKNOWN_SHARE] = UNKNOWN
    return values
