"""tf.data pipelines of tables: one tensor for each column, raw, as clients send them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.contract.tensor_spec import TensorSpec
from training.data.deciles import decile_histogram
from training.data.settings import Span
from training.data.shuffled import shuffled
from training.data.table_columns import FittedColumns
from training.data.targets import Targets, following, targets_of
from training.datasets.splits import Classes, Examples


@dataclass(frozen=True, kw_only=True)
class TableFeed:
    """``Feed`` of a table."""

    table: FittedColumns
    classes: Classes
    arrays: None = None
    preprocessing: None = None
    tokenizer: None = None
    ngrams: None = None

    @property
    def input(self) -> TensorSpec:
        """The first column."""
        return self.inputs[0]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The numbers, then the categories."""
        return self.table.inputs

    def rows(self, examples: Examples) -> int:
        """See ``Feed.rows``."""
        return len(examples)

    def training(self, examples: Examples, span: Span) -> Any:
        """See ``Feed.training``; a number is given in deviations from its mean, which suits any optimiser."""
        after = following(examples, self._targets(examples))
        return shuffled(self._columns(examples), after, rows=len(examples), span=span)

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """See ``Feed.watched``."""
        return self.evaluation(examples, batch_size=batch_size)[0]

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """See ``Feed.evaluation``."""
        dataset = tf.data.Dataset.from_tensor_slices((self._columns(examples), self._targets(examples)))
        return dataset.batch(batch_size).cache(), np.arange(len(examples))

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """The labels, or the numbers in their own unit."""
        return examples.labels

    def sample(self, examples: Examples, rows: int) -> Examples:
        """See ``Feed.sample``."""
        return examples.take(np.arange(min(rows, len(examples))))

    def described(self, examples: Examples) -> Mapping[str, Any]:
        """Column -> mean, deviation, histogram and share of missing values, or the shares of the categories."""
        instances = np.asarray(examples.instances)
        found: dict[str, Any] = {}
        for column in self.table.numbers:
            values = instances[column.name].astype(np.float64)
            present = values[~np.isnan(values)]
            some = present if len(present) else np.zeros(1)
            found[column.name] = {
                "kind": "numbers",
                "rows": len(values),
                "mean": float(some.mean()),
                "standard_deviation": float(some.std()),
                "missing": 1 - len(present) / len(values),
                "histogram": decile_histogram(some),
            }
        for category in self.table.categories:
            known = {value.encode(): value for value in category.values}
            shares = {value: float((instances[category.name] == key).mean()) for key, value in known.items()}
            found[category.name] = {"kind": "categories", "rows": len(instances), "shares": shares}
        return found

    def _columns(self, examples: Examples) -> dict[str, Any]:
        instances = np.asarray(examples.instances)
        return {name: tf.constant(instances[name]) for name in instances.dtype.names or ()}

    def _targets(self, examples: Examples) -> Targets:
        targets = targets_of(examples.labels, self.classes)
        if isinstance(targets, dict):
            return {name: self._scaled(values, name) for name, values in targets.items()}
        return self._scaled(targets, "")

    def _scaled(self, targets: npt.NDArray[np.float32], head: str) -> npt.NDArray[np.float32]:
        """Numbers in deviations from their mean; classes and labels as they are."""
        mean, deviation = self.table.scales.get(head, (0.0, 1.0))
        return np.asarray((targets - mean) / deviation, np.float32)
