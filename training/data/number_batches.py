"""tf.data pipelines of rows of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.contract.tensor_spec import TensorSpec
from training.data.one_input import OneInput
from training.data.settings import NumberSettings, Span
from training.data.targets import following, targets_of
from training.datasets.splits import Classes, Examples


@dataclass(frozen=True, kw_only=True)
class NumberFeed(OneInput):
    """``Feed`` of numbers; ``shape`` is the shape of one row."""

    pipeline: NumberSettings
    shape: tuple[int, ...]
    classes: Classes = 0
    preprocessing: None = None
    tokenizer: None = None

    @property
    def input(self) -> TensorSpec:
        """float32, without bounds."""
        return TensorSpec(name=self.pipeline.input_name, dtype="float32", shape=self.shape)

    def rows(self, examples: Examples) -> int:
        """See ``Feed.rows``."""
        return len(examples)

    def training(self, examples: Examples, span: Span) -> Any:
        """See ``Feed.training``."""
        numbers = tf.constant(examples.instances)
        after = following(examples, targets_of(examples.labels, self.classes))

        def epoch(number: Any) -> Any:
            seed = tf.stack([tf.constant(span.seed * 1000 + 900, tf.int64), number])
            order = tf.random.experimental.stateless_shuffle(tf.range(len(examples)), seed)
            return tf.data.Dataset.from_tensor_slices(order).batch(span.batch_size, drop_remainder=True)

        dataset = tf.data.Dataset.range(span.first_epoch, span.epochs).flat_map(epoch)
        return dataset.map(lambda rows: (tf.gather(numbers, rows), *after(rows))).prefetch(8)

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """See ``Feed.watched``."""
        return self.evaluation(examples, batch_size=batch_size)[0]

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """See ``Feed.evaluation``."""
        targets = targets_of(examples.labels, self.classes)
        dataset = tf.data.Dataset.from_tensor_slices((examples.instances, targets))
        return dataset.batch(batch_size).cache(), np.arange(len(examples))

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """The labels or the expected numbers."""
        return examples.labels

    def sample(self, examples: Examples, rows: int) -> Examples:
        """See ``Feed.sample``."""
        return examples.take(np.arange(min(rows, len(examples))))

    def statistics(self, examples: Examples) -> Mapping[str, Any]:
        """Mean, standard deviation and range of each column."""
        numbers = np.asarray(examples.instances, np.float64)
        return {
            "kind": "numbers",
            "rows": len(numbers),
            "mean": numbers.mean(axis=0).tolist(),
            "standard_deviation": numbers.std(axis=0).tolist(),
            "minimum": numbers.min(axis=0).tolist(),
            "maximum": numbers.max(axis=0).tolist(),
        }
