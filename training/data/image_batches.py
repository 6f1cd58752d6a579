"""tf.data pipelines of images.

All randomness is stateless: a batch depends on the seed, the epoch and its number in the epoch, so a resumed run sees
the same batches as an uninterrupted one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.contract.steps import ImagePreprocessing
from app.contract.tensor_spec import TensorSpec
from training.data.image_augmentation import augment
from training.data.one_input import OneInput
from training.data.settings import ImageSettings, Span
from training.data.targets import following, targets_of
from training.datasets.splits import Classes, Examples

HISTOGRAM_BINS = 16


@dataclass(frozen=True, kw_only=True)
class ImageFeed(OneInput):
    """``Feed`` of images; ``shape`` is the shape of one image."""

    pipeline: ImageSettings
    shape: tuple[int, ...]
    classes: Classes
    tokenizer: None = None

    @property
    def input(self) -> TensorSpec:
        """uint8 (height, width) or (height, width, 3)."""
        return TensorSpec(name=self.pipeline.input_name, dtype="uint8", shape=self.shape)

    @property
    def preprocessing(self) -> ImagePreprocessing:
        """The pipeline's steps."""
        return ImagePreprocessing(input=self.pipeline.input_name, steps=self.pipeline.steps)

    def rows(self, examples: Examples) -> int:
        """See ``Feed.rows``."""
        return len(examples)

    def training(self, examples: Examples, span: Span) -> Any:
        """See ``Feed.training``."""
        images = _reader(examples.instances)
        after = following(examples, targets_of(examples.labels, self.classes))
        rows = len(examples)
        batches = rows // span.batch_size

        def epoch(number: Any) -> Any:
            seed = tf.stack([tf.constant(span.seed * 1000 + 900, tf.int64), number])
            order = tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(tf.range(rows), seed))
            return order.batch(span.batch_size, drop_remainder=True).enumerate(number * batches)

        def batch(step: Any, chosen: Any) -> Any:
            followers, seeds = after(chosen), _seeds(span.seed, step)
            if self.pipeline.augmentation.blends:  # targets and weights, too: each weight is one more column
                columns = [each if each.shape.rank == 2 else each[:, tf.newaxis] for each in followers]
                pixels, blended = augment(images(chosen), tf.concat(columns, 1), self.pipeline.augmentation, seeds)
                return pixels, *_apart(blended, weighted=len(columns) > 1)
            return augment(images(chosen), followers[0], self.pipeline.augmentation, seeds)[0], *followers

        dataset = tf.data.Dataset.range(span.first_epoch, span.epochs).flat_map(epoch)
        return dataset.map(batch, num_parallel_calls=2, deterministic=True).prefetch(4)

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """See ``Feed.watched``."""
        return self.evaluation(examples, batch_size=batch_size)[0]

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """See ``Feed.evaluation``."""
        rows = tf.data.Dataset.range(len(examples)).batch(batch_size)
        images = _reader(examples.instances)
        after = following(replace(examples, weights=None), targets_of(examples.labels, self.classes))
        dataset = rows.map(lambda chosen: (images(chosen), *after(chosen)), num_parallel_calls=2)
        if isinstance(examples.instances, np.ndarray):
            dataset = dataset.cache()
        return dataset.prefetch(2), np.arange(len(examples))

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """The labels."""
        return examples.labels

    def sample(self, examples: Examples, rows: int) -> Examples:
        """See ``Feed.sample``."""
        return examples.take(np.arange(min(rows, len(examples))))

    def statistics(self, examples: Examples) -> Mapping[str, Any]:
        """Mean, standard deviation and histogram of the intensities, over all pixels and channels."""
        pixels = np.asarray(examples.instances)
        counts, edges = np.histogram(pixels, bins=HISTOGRAM_BINS, range=(0, 256))
        means = pixels.reshape(len(pixels), -1).mean(axis=1)
        return {
            "kind": "image",
            "rows": len(pixels),
            "mean": float(pixels.mean()),
            "standard_deviation": float(pixels.std()),
            "histogram": {"edges": edges.tolist(), "shares": (counts / counts.sum()).tolist()},
            "mean_per_image": {f"p{q}": float(np.percentile(means, q)) for q in (1, 5, 25, 50, 75, 95, 99)},
        }


def _apart(blended: Any, *, weighted: bool) -> tuple[Any, ...]:
    """The targets, and the weights that were their last column."""
    return (blended[:, :-1], blended[:, -1]) if weighted else (blended,)


def _reader(instances: Any) -> Callable[[Any], Any]:
    """Row numbers (rows,) -> uint8 (rows, *shape), from memory or from the disk."""
    if isinstance(instances, np.ndarray):
        images = tf.constant(instances)
        return lambda rows: tf.gather(images, rows)

    def read(rows: Any) -> Any:
        pixels = tf.numpy_function(instances.read, [rows], tf.uint8, stateful=False)
        return tf.ensure_shape(pixels, (None, *instances.shape[1:]))

    return read


def _seeds(seed: int, step: Any) -> Iterator[Any]:
    """Stateless seeds, shape (2,), all different for one step."""
    stream = 0
    while True:
        yield tf.stack([tf.constant(seed, tf.int64) * 1000 + stream, tf.cast(step, tf.int64)])
        stream += 1
