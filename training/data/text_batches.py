"""tf.data pipelines of texts as padded token ids, batched by similar length.

As for images, all randomness is stateless: a batch depends on the seed, the epoch and its number in the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import UNKNOWN_ID, Tokenizer, pad
from training.data.one_input import OneInput
from training.data.settings import Span, TextSettings
from training.data.targets import following, picked, targets_of
from training.datasets.splits import Classes, Examples

LENGTH_NOISE = 16.0


@dataclass(frozen=True, kw_only=True)
class TextFeed(OneInput):
    """``Feed`` of texts."""

    pipeline: TextSettings
    tokenizer: Tokenizer
    classes: Classes

    @property
    def input(self) -> TensorSpec:
        """int32 (length,): ids from 0 (padding) to the last of the vocabulary."""
        largest = self.tokenizer.id_count - 1
        return TensorSpec(name=self.pipeline.input_name, dtype="int32", shape=(-1,), minimum=0, maximum=largest)

    @property
    def preprocessing(self) -> TextPreprocessing:
        """The tokenizer's settings."""
        return TextPreprocessing(
            input=self.pipeline.input_name, max_length=self.pipeline.max_length, keep=self.pipeline.keep
        )

    def rows(self, examples: Examples) -> int:
        """See ``Feed.rows``."""
        return len(examples)

    def training(self, examples: Examples, span: Span) -> Any:
        """See ``Feed.training``. Each epoch is sorted by length, with some noise, cut into batches, and shuffled."""
        whole = Tokenizer(self.tokenizer.tokens, max_length=1 << 30, keep="last")
        rows = [whole.encode(text) for text in examples.instances]
        tokens = tf.constant(np.concatenate(rows))
        lengths = np.array([len(row) for row in rows], np.int32)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
        after = following(examples, targets_of(examples.labels, self.classes))
        plan = _Planner(pipeline=self.pipeline, starts=starts, lengths=lengths, span=span)

        def epoch(number: Any) -> Any:
            planned = tf.data.Dataset.from_tensor_slices(plan.batches(number))
            return planned.enumerate(number * plan.batch_count)

        def batch(step: Any, planned: Any) -> Any:
            chosen, begin, length = planned
            width = -(-tf.reduce_max(length) // self.pipeline.bucket) * self.pipeline.bucket
            places = tf.range(width)[tf.newaxis]
            ids = tf.gather(tokens, tf.minimum(begin[:, tf.newaxis] + places, len(tokens) - 1))
            seed = tf.stack([tf.constant(span.seed * 1000 + 900, tf.int64), step])
            dropped = tf.random.stateless_uniform(tf.shape(ids), seed) < self.pipeline.augmentation.word_dropout
            ids = tf.where(dropped, UNKNOWN_ID, ids)
            return tf.where(places < length[:, tf.newaxis], ids, 0), *after(chosen)

        dataset = tf.data.Dataset.range(span.first_epoch, span.epochs).flat_map(epoch)
        return dataset.map(batch, num_parallel_calls=2, deterministic=True).prefetch(8)

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """See ``Feed.watched``."""
        return self.evaluation(examples, batch_size=batch_size)[0]

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """See ``Feed.evaluation``. Shortest first, to reduce padding."""
        rows = [self.tokenizer.encode(text) for text in examples.instances]
        order = np.argsort([len(row) for row in rows], kind="stable")
        targets = targets_of(examples.labels, self.classes)
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

        def batches() -> Any:
            for part in parts:
                yield pad([rows[row] for row in part]), picked(targets, part)

        widths = tf.nest.map_structure(lambda each: tf.TensorSpec((None, each.shape[1]), tf.float32), targets)
        shapes = (tf.TensorSpec((None, None), tf.int32), widths)
        dataset = tf.data.Dataset.from_generator(batches, output_signature=shapes)
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(parts)))
        return dataset.cache().prefetch(2), order

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """The labels."""
        return examples.labels

    def sample(self, examples: Examples, rows: int) -> Examples:
        """See ``Feed.sample``."""
        return examples.take(np.arange(min(rows, len(examples))))

    def statistics(self, examples: Examples) -> Mapping[str, Any]:
        """Lengths in tokens as the network sees them, and the share of tokens that the vocabulary lacks."""
        rows = [self.tokenizer.encode(text) for text in examples.instances]
        lengths = np.array([len(row) for row in rows])
        unknown = np.array([(row == UNKNOWN_ID).mean() for row in rows])
        edges = np.unique(np.linspace(1, self.pipeline.max_length + 1, 17).round())
        counts, _ = np.histogram(lengths, bins=edges)
        quantiles = (1, 5, 25, 50, 75, 95, 99)
        return {
            "kind": "text",
            "rows": len(rows),
            "mean": float(lengths.mean()),
            "standard_deviation": float(lengths.std()),
            "histogram": {"edges": edges.tolist(), "shares": (counts / counts.sum()).tolist()},
            "length": {f"p{q}": float(np.percentile(lengths, q)) for q in quantiles},
            "unknown_share": {
                "mean": float(unknown.mean()),
                **{f"p{q}": float(np.percentile(unknown, q)) for q in quantiles},
            },
        }


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """Decides for each epoch which stretches of which texts are in which batch.

    Attributes:
        starts, lengths: int32 (texts,): position of each text in the concatenation of all of them.
    """

    pipeline: TextSettings
    starts: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int32]
    span: Span

    @property
    def batch_count(self) -> int:
        """Batches of one epoch."""
        return len(self.lengths) // self.span.batch_size

    def batches(self, epoch: Any) -> tuple[Any, Any, Any]:
        """Text numbers, positions of the first token and lengths, each int32 (batches, batch size)."""
        begin, length = self._stretches(epoch)
        noise = self._draw(epoch, 4) * LENGTH_NOISE
        order = tf.argsort(tf.cast(length, tf.float32) + noise)
        # The remainder that fills no batch is drawn from all lengths, so that the longest texts are not always left
        # out.
        used = self.batch_count * self.span.batch_size
        keep = tf.sort(tf.argsort(self._draw(epoch, 5))[:used])
        grid = tf.reshape(tf.gather(order, keep), [self.batch_count, self.span.batch_size])
        grid = tf.gather(grid, tf.argsort(self._draw(epoch, 6)[: self.batch_count]))
        return grid, tf.gather(begin, grid), tf.gather(length, grid)

    def _stretches(self, epoch: Any) -> tuple[Any, Any]:
        settings = self.pipeline.augmentation
        early = tf.cast(epoch, tf.int32) < settings.first_epochs
        longest = self.span.max_length or self.pipeline.max_length
        limit = tf.where(early, min(settings.first_length, longest), longest)
        whole = tf.constant(self.lengths)
        length = tf.minimum(whole, limit)
        low, high = np.log(settings.crop_minimum), np.log(settings.crop_maximum)
        stretch = tf.cast(tf.exp(low + self._draw(epoch, 0) * (high - low)), tf.int32)
        cropped = (self._draw(epoch, 1) < settings.crop) & (stretch < whole)
        length = tf.where(cropped, tf.minimum(stretch, longest), length)
        slack = tf.cast(whole - length, tf.float32)
        anywhere = tf.cast(self._draw(epoch, 2) * (slack + 1), tf.int32)
        anywhere = tf.minimum(anywhere, whole - length)
        at_end = whole - length if self.pipeline.keep == "last" else tf.zeros_like(whole)
        crop_offset = tf.where(self._draw(epoch, 3) < settings.crop_at_end, whole - length, anywhere)
        return tf.constant(self.starts) + tf.where(cropped, crop_offset, at_end), length

    def _draw(self, epoch: Any, stream: int) -> Any:
        """float32 (texts,), uniform between 0 and 1."""
        seed = tf.stack([tf.constant(self.span.seed * 1000 + stream, tf.int64), tf.cast(epoch, tf.int64)])
        return tf.random.stateless_uniform([len(self.lengths)], seed)
