"""tf.data pipelines of named arrays: one tensor for each, raw, as clients send them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.contract.steps import ImagePreprocessing
from app.contract.tensor_spec import TensorSpec
from training.data.array_inputs import FittedArrays, check_range
from training.data.settings import Span
from training.data.shuffled import shuffled
from training.data.targets import following, targets_of
from training.datasets.splits import Classes, Examples


@dataclass(frozen=True, kw_only=True)
class ArrayFeed:
    """``Feed`` of named arrays."""

    arrays: FittedArrays
    classes: Classes
    preprocessing: ImagePreprocessing | None = None
    table: None = None
    tokenizer: None = None
    ngrams: None = None

    @property
    def input(self) -> TensorSpec:
        """The first array."""
        return self.inputs[0]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """All arrays."""
        return self.arrays.inputs

    def rows(self, examples: Examples) -> int:
        """See ``Feed.rows``."""
        return len(examples)

    def training(self, examples: Examples, span: Span) -> Any:
        """See ``Feed.training``."""
        after = following(examples, targets_of(examples.labels, self.classes))
        return shuffled(self._inputs(examples), after, rows=len(examples), span=span)

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """See ``Feed.watched``."""
        return self.evaluation(examples, batch_size=batch_size)[0]

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """See ``Feed.evaluation``.

        Raises:
            DataUnusable: a whole number is out of the range of the training part.
        """
        check_range(self.inputs, "held-out", examples)
        both = (self._inputs(examples), targets_of(examples.labels, self.classes))
        dataset = tf.data.Dataset.from_tensor_slices(both)
        return dataset.batch(batch_size).cache(), np.arange(len(examples))

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """The labels and numbers."""
        return examples.labels

    def sample(self, examples: Examples, rows: int) -> Examples:
        """See ``Feed.sample``."""
        return examples.take(np.arange(min(rows, len(examples))))

    def described(self, examples: Examples) -> Mapping[str, Any]:
        """Input -> mean, standard deviation and range of all its values."""
        instances = np.asarray(examples.instances)
        return {name: _described(instances[name]) for name in instances.dtype.names or ()}

    def _inputs(self, examples: Examples) -> dict[str, Any]:
        instances = np.asarray(examples.instances)
        return {name: tf.constant(np.ascontiguousarray(instances[name])) for name in instances.dtype.names or ()}


def _described(values: npt.NDArray[Any]) -> dict[str, Any]:
    return {
        "kind": "image" if values.dtype == np.uint8 else "numbers",
        "rows": len(values),
        "mean": float(values.mean(dtype=np.float64)),
        "standard_deviation": float(values.std(dtype=np.float64)),
        "minimum": float(values.min()),
        "maximum": float(values.max()),
    }
