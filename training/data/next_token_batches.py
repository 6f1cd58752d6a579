"""tf.data pipelines of running text as token ids: windows for training, contexts for measuring."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from app.contract.steps import TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import UNKNOWN_ID, Tokenizer
from training.data.one_input import OneInput
from training.data.settings import NextTokenSettings, Span
from training.data.trigram import NgramTables
from training.datasets.splits import Examples

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class NextTokenFeed(OneInput):
    """``Feed`` of running text; a target is a column of the output: the token id minus one."""

    pipeline: NextTokenSettings
    tokenizer: Tokenizer
    ngrams: NgramTables | None = None

    @property
    def input(self) -> TensorSpec:
        """int32 (length,): ids from 0 (padding) to the last of the vocabulary."""
        largest = self.tokenizer.id_count - 1
        return TensorSpec(name=self.pipeline.input_name, dtype="int32", shape=(-1,), minimum=0, maximum=largest)

    @property
    def preprocessing(self) -> TextPreprocessing:
        """The tokenizer's settings."""
        return TextPreprocessing(
            input=self.pipeline.input_name,
            scheme=self.pipeline.scheme,
            max_length=self.pipeline.max_length,
            keep="last",
        )

    def passages(self, examples: Examples) -> list[Ids]:
        """The token ids of each passage, whole."""
        whole = Tokenizer(self.tokenizer.tokens, max_length=1 << 30, keep="last", scheme=self.pipeline.scheme)
        return [whole.encode(text) for text in examples.instances]

    def rows(self, examples: Examples) -> int:
        """Number of windows of one epoch; 0 if the text is too short for a window that may start anywhere."""
        return self._windows(sum(len(passage) for passage in self.passages(examples)))

    def _windows(self, tokens: int) -> int:
        return max(0, (tokens - 1) // self.pipeline.max_length - 1)

    def training(self, examples: Examples, span: Span) -> Any:
        """Windows of the joined passages as (ids (batch, length), columns (batch, length)), cut differently each epoch.

        A span of a smaller ``max_length`` reads the beginning of each window.
        """
        stream = tf.constant(np.concatenate(self.passages(examples)))
        windows, width = self._windows(len(stream)), self.pipeline.max_length
        length = min(span.max_length or width, width)

        def epoch(number: Any) -> Any:
            seed = tf.stack([tf.constant(span.seed * 1000 + 900, tf.int64), number])
            offset = tf.random.stateless_uniform([], seed, maxval=width, dtype=tf.int32)
            order = tf.random.experimental.stateless_shuffle(tf.range(windows), seed)
            starts = tf.data.Dataset.from_tensor_slices(order * width + offset)
            batches = windows // span.batch_size
            return starts.batch(span.batch_size, drop_remainder=True).enumerate(number * batches)

        def batch(step: Any, starts: Any) -> tuple[Any, Any]:
            ids = tf.gather(stream, starts[:, tf.newaxis] + tf.range(length + 1)[tf.newaxis])
            seed = tf.stack([tf.constant(span.seed * 1000 + 901, tf.int64), step])
            read = ids[:, :-1]
            dropped = tf.random.stateless_uniform(tf.shape(read), seed) < self.pipeline.word_dropout
            return tf.where(dropped, UNKNOWN_ID, read), ids[:, 1:] - 1

        dataset = tf.data.Dataset.range(span.first_epoch, span.epochs).flat_map(epoch)
        return dataset.map(batch, num_parallel_calls=2, deterministic=True).prefetch(8)

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """Windows in order, as (ids (batch, length), columns (batch, length)); a short text is one window."""
        stream = np.concatenate(self.passages(examples))
        length = max(1, min(self.pipeline.max_length, len(stream) - 1))
        windows = (len(stream) - 1) // length
        read = stream[: windows * length].reshape(windows, length)
        targets = stream[1 : windows * length + 1].reshape(windows, length) - 1
        return tf.data.Dataset.from_tensor_slices((read, targets)).batch(batch_size).cache()

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """The tokens before each token of each passage except the first one, padded; in the order of ``truth``."""
        contexts = self.contexts(examples)

        def batches() -> Any:
            for start in range(0, len(contexts), batch_size):
                part = contexts[start : start + batch_size]
                yield part.read(self.pipeline.max_length), part.targets

        shapes = (tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.int32))
        dataset = tf.data.Dataset.from_generator(batches, output_signature=shapes)
        parts = -(-len(contexts) // batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(parts)).prefetch(4), np.arange(len(contexts))

    def contexts(self, examples: Examples) -> "Contexts":
        """Every token of the passages that has a predecessor in its passage."""
        passages = self.passages(examples)
        lengths = [len(passage) for passage in passages]
        starts = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
        places = np.arange(sum(lengths))
        inner = places > starts
        return Contexts(stream=np.concatenate(passages), starts=starts[inner], places=places[inner])

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """Column of each predicted token."""
        return self.contexts(examples).targets

    def sample(self, examples: Examples, rows: int) -> Examples:
        """The first passages with at least ``rows`` tokens, at most all."""
        ends = np.cumsum([len(passage) for passage in self.passages(examples)])
        return examples.take(np.arange(min(int(np.searchsorted(ends, rows)) + 1, len(examples))))

    def statistics(self, examples: Examples) -> Mapping[str, Any]:
        """Share of tokens that the vocabulary lacks; lengths are those of passages and carry no information."""
        stream = np.concatenate(self.passages(examples))
        return {"kind": "text", "rows": len(stream), "unknown_share": {"mean": float((stream == UNKNOWN_ID).mean())}}


@dataclass(frozen=True)
class Contexts:
    """Tokens to predict, and the position of the tokens before them.

    Attributes:
        stream: int32, all passages joined.
        starts, places: int (rows,): first token of the passage and the token itself, as places in ``stream``.
    """

    stream: Ids
    starts: npt.NDArray[Any]
    places: npt.NDArray[Any]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice) -> "Contexts":
        return Contexts(self.stream, self.starts[rows], self.places[rows])

    @property
    def targets(self) -> Ids:
        """Column of each token: its id minus one."""
        targets: Ids = self.stream[self.places] - 1
        return targets

    def read(self, longest: int) -> Ids:
        """At most ``longest`` tokens before each, int32 (rows, length), padded after the text with id 0."""
        lengths = np.minimum(self.places - self.starts, longest)
        across = np.arange(int(lengths.max()))[None]
        begin = (self.places - lengths)[:, None]
        ids = self.stream[np.minimum(begin + across, len(self.stream) - 1)]
        padded: Ids = np.where(across < lengths[:, None], ids, 0).astype(np.int32)
        return padded
