"""Layers of networks that predict the next token.

An LSTM with dropped weights; a cache of the text read so far; the n-grams of the training text.
"""

from typing import Any

import tensorflow as tf
import tf_keras

from training.data.trigram import NgramTables

NOWHERE = -1e9
"""Added to the logit of a place that must not be read."""
_ARRAYS = ("keys", "starts", "tokens", "values")


class WeightDropLSTM(tf_keras.layers.LSTM):  # type: ignore[misc]
    """An LSTM that, in training, drops weights between its steps: the same ones in all steps of a batch.

    Source: Merity et al., "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182, section 2.

    Args:
        weight_drop: share of the recurrent weights that are 0 in a batch.
    """

    def __init__(self, units: int, *, weight_drop: float, **options: Any) -> None:
        super().__init__(units, **options)
        self.weight_drop = weight_drop

    def call(self, inputs: Any, mask: Any = None, training: Any = None, initial_state: Any = None) -> Any:
        """As LSTM."""
        whole = self.cell.recurrent_kernel
        if training:
            object.__setattr__(self.cell, "recurrent_kernel", tf.nn.dropout(whole, self.weight_drop))
        try:
            return super().call(inputs, mask=mask, training=training, initial_state=initial_state)
        finally:
            object.__setattr__(self.cell, "recurrent_kernel", whole)


class ContinuousCache(tf_keras.layers.Layer):  # type: ignore[misc]
    """Mixes the probabilities of the next token with those of the tokens that followed similar places of the text.

    Each place of the text before the last token votes for the token that follows it, with the softmax of
    ``sharpness`` times the scalar product of its state and the last one. A text of one token has no such place.

    Source: Grave, Joulin, Usunier, "Improving Neural Language Models with a Continuous Cache", arXiv:1612.04426,
    equations 2 and 3.

    Args:
        share: of the votes in the mixture.
        sharpness: factor of the scalar products.
    """

    def __init__(self, *, share: float, sharpness: float, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.share, self.sharpness = share, sharpness
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """The mixture has no mask."""

    def call(self, tensors: list[Any]) -> Any:
        """The mixture.

        Args:
            tensors: token ids int32 (batch, length), padded at the end with 0; states after each of them (batch,
                length, units); the state after the last one (batch, units); probabilities (batch, ids - 1), without
                padding.
        """
        ids, states, last, probabilities = tensors
        following = tf.pad(ids, [[0, 0], [0, 1]])[:, 1:]
        votes = tf.cast(following > 0, tf.float32)
        logits = self.sharpness * tf.reduce_sum(states * last[:, tf.newaxis], axis=2)
        weights = tf.nn.softmax(logits + (1 - votes) * NOWHERE) * votes
        share = self.share * tf.reduce_max(votes, axis=1, keepdims=True)
        return probabilities * (1 - share) + share * _summed(following, weights, probabilities.shape[1])


class CountedNgrams(tf_keras.layers.Layer):  # type: ignore[misc]
    """Mixes the probabilities of the next token with those of a trigram model.

    Args:
        tables: the model.
        share: of the trigram model in the mixture.
    """

    def __init__(self, tables: NgramTables, *, share: float, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.tables, self.share = tables, share
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        """The tables as weights."""
        self.anywhere = self._constant("anywhere", self.tables.anywhere)
        self.after = [
            {name: self._constant(f"after_{place + 1}_{name}", getattr(table, name)) for name in _ARRAYS}
            for place, table in enumerate((self.tables.after_one, self.tables.after_two))
        ]
        super().build(shape)

    def _constant(self, name: str, values: Any) -> Any:
        return self.add_weight(
            name=name, shape=values.shape, dtype=values.dtype.name, initializer=_Constant(values), trainable=False
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """The mixture has no mask."""

    def call(self, tensors: list[Any]) -> Any:
        """The mixture.

        Args:
            tensors: token ids int32 (batch, length), padded at the end with 0; probabilities (batch, ids - 1), without
                padding.
        """
        ids, probabilities = tensors
        width = probabilities.shape[1]
        length = tf.reduce_sum(tf.cast(ids > 0, tf.int32), axis=1)
        padded = tf.cast(tf.pad(ids, [[0, 0], [2, 0]]), tf.int64)  # a text of one token has 0 before it
        before, last = (tf.gather(padded, length + place, axis=1, batch_dims=1) for place in (0, 1))
        counted = tf.ones_like(probabilities) * self.anywhere
        counted = self._after(0, last, self.tables.after_one.widest, counted, width)
        counted = self._after(1, before * (width + 1) + last, self.tables.after_two.widest, counted, width)
        return probabilities * (1 - self.share) + counted * self.share

    def _after(self, place: int, key: Any, widest: int, shorter: Any, width: int) -> Any:
        """Probabilities after the context ``key`` (batch,): its entries, and the rest from shorter contexts."""
        table = self.after[place]
        keys, starts = tf.convert_to_tensor(table["keys"]), tf.convert_to_tensor(table["starts"])
        row = tf.reduce_sum(tf.cast(keys[tf.newaxis] < key[:, tf.newaxis], tf.int32), axis=1)
        row = tf.minimum(row, tf.shape(keys)[0] - 1)
        first, end = tf.gather(starts, row), tf.gather(starts, row + 1)
        entries = first[:, tf.newaxis] + tf.range(widest)[tf.newaxis]
        is_entry = (entries < end[:, tf.newaxis]) & (tf.gather(keys, row) == key)[:, tf.newaxis]
        entries = tf.minimum(entries, starts[-1] - 1)
        tokens = tf.cast(tf.gather(table["tokens"], entries), tf.int32)
        values = tf.where(is_entry, tf.cast(tf.gather(table["values"], entries), tf.float32), 0.0)
        rest = 1 - tf.reduce_sum(values, axis=1, keepdims=True)
        return rest * shorter + _summed(tokens, values, width)


class _Constant(tf_keras.initializers.Initializer):  # type: ignore[misc]
    def __init__(self, values: Any) -> None:
        self.values = values

    def __call__(self, shape: Any, dtype: Any = None, **options: Any) -> Any:
        return tf.constant(self.values, dtype)


def _summed(tokens: Any, numbers: Any, width: int) -> Any:
    """float32 (batch, width): the sum of the numbers (batch, n) of each token (batch, n), from token 1 on."""
    rows = tf.shape(tokens)[0]
    places = tf.range(rows)[:, tf.newaxis] * width + tf.maximum(tokens - 1, 0)
    sums = tf.tensor_scatter_nd_add(tf.zeros([rows * width]), tf.reshape(places, [-1, 1]), tf.reshape(numbers, [-1]))
    return tf.reshape(sums, [-1, width])
