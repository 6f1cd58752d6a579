"""Layers and the model of ``training.network.ngrams``."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from app.contract.tokenizer import UNKNOWN_ID

STEPS = 127
"""Positive scores that a byte can hold."""

# Odd. Times ids below 2**31, both products and their sum stay within int64.
_PREVIOUS, _OWN = 2_654_435_761, 805_459_861


class DistinctPlaces(tf_keras.layers.Layer):  # type: ignore[misc]
    """Token ids (batch, length) to the places of their words and pairs: int64 (batch, 2 * length).

    Each place occurs once in a row; 0 fills the rest of it. Padding and unknown words have no place. The place of a
    word is its id; those of pairs, by a hash of both ids, follow.

    Args:
        words: number of ids.
        pair_ids: pairs of ids below this have a place.
        pairs: number of places for them.
    """

    def __init__(self, *, words: int, pair_ids: int, pairs: int, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.words, self.pair_ids, self.pairs = words, pair_ids, pairs

    def call(self, ids: Any) -> Any:
        """Sorted, so that equal places are neighbours."""
        own = tf.cast(ids, tf.int64)
        previous = tf.pad(own, [[0, 0], [1, 0]])[:, :-1]
        is_pair = (tf.minimum(previous, own) > UNKNOWN_ID) & (tf.maximum(previous, own) < self.pair_ids)
        pairs = self.words + tf.math.floormod(previous * _PREVIOUS + own * _OWN, self.pairs)
        nothing = tf.zeros_like(own)
        places = tf.concat([tf.where(own > UNKNOWN_ID, own, nothing), tf.where(is_pair, pairs, nothing)], axis=1)
        places = tf.sort(places, axis=1)
        return tf.where(places != tf.pad(places, [[0, 0], [1, 0]])[:, :-1], places, tf.zeros_like(places))


class Counting(tf_keras.Model):  # type: ignore[misc]
    """A network that learns by counting: at each place, the texts of each class.

    The layer ``places`` gives the places of a batch, and ``counts`` is an embedding with one number for each class.
    """

    def train_step(self, data: Any) -> dict[str, Any]:
        """Add the classes of a batch, one-hot float32 (batch, classes), to the counts of their places."""
        ids, classes = data
        places = self.get_layer("places")(ids)
        repeated = tf.repeat(classes, tf.shape(places)[1], axis=0)
        self.get_layer("counts").embeddings.scatter_nd_add(tf.reshape(places, [-1, 1]), repeated)
        answers = self(ids, training=False)
        self.compute_loss(ids, classes, answers)
        return self.compute_metrics(ids, classes, answers, None)  # type: ignore[no-any-return]


class ByteScores(tf_keras.layers.Layer):  # type: ignore[misc]
    """The sum of the scores of places, int64 (batch, n): float32 (batch, 1). A score is a byte times ``limit`` / 127.

    Args:
        size: number of places; place 0 has no score.
        limit: the largest score.
    """

    def __init__(self, *, size: int, limit: float, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.size, self.limit = size, limit

    def build(self, shape: Any) -> None:
        """One byte for each place."""
        self.scores = self.add_weight(name="scores", shape=(self.size,), dtype="int8", initializer="zeros")
        super().build(shape)

    def call(self, places: Any) -> Any:
        """Look up and add."""
        steps = tf.cast(tf.gather(self.scores, places), tf.float32)
        return tf.reduce_sum(steps, axis=1, keepdims=True) * (self.limit / STEPS)

    def adopt(self, scores: npt.NDArray[np.float32]) -> None:
        """Round scores (size,) to bytes; larger ones become the limit. The score of place 0 becomes 0."""
        steps = np.clip(np.rint(scores * (STEPS / self.limit)), -STEPS, STEPS).astype(np.int8)
        steps[0] = 0
        self.set_weights([steps])
