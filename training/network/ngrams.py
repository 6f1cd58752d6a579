"""Scores of the words and of the pairs of neighbouring words of a text: what naive Bayes counts, weighted by training.

A text is the set of its words and pairs; how often each occurs in it does not count. A word has a score of its own.
Pairs of frequent words share a table: a hash of both ids is their place, and pairs with the same place have one score.

First a network counts in how many texts of each class each of them occurs. Then a second one multiplies the log-ratio
of these counts by a factor, which it learns. The sum of the products decides. At last each product is one byte.

Source: Wang & Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification", ACL 2012, section 2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Count
from training.recipe.recipe import OUTPUT_NAME, Signature

PLACES, COUNTS, RATIOS, FACTORS = "places", "counts", "ratios", "factors"


@dataclass(frozen=True, kw_only=True)
class Places(Bounded):
    """Which words and pairs have a score: all known words, and some pairs.

    Attributes:
        pair_ids: pairs of ids below this, so of frequent words.
        pairs: number of scores for them, best a prime.
    """

    pair_ids: Count = 5000
    pairs: Count = 839_999


def build_counting(signature: Signature, places: Places) -> Any:
    """Naive Bayes for two classes, as far as it has counted."""
    import tensorflow as tf
    from tf_keras import layers

    from training.network.ngram_layers import Counting

    def ratios(counts: Any) -> Any:
        return tf.math.log((counts[..., 1] + 1) / (counts[..., 0] + 1))

    ids, found = _read(signature, places)
    counts = layers.Embedding(signature.id_count + places.pairs, 2, embeddings_initializer="zeros", name=COUNTS)(found)
    score = _sum(layers.Lambda(ratios, name=RATIOS)(counts), found)
    return Counting(ids, layers.Softmax(name=OUTPUT_NAME)(_logits(score)))


def build_weighing(signature: Signature, places: Places) -> Any:
    """The log-ratios, which are constant, times factors, which start at 0."""
    import tf_keras
    from tf_keras import layers

    def products(both: list[Any]) -> Any:
        return both[0][..., 0] * both[1][..., 0]

    size = signature.id_count + places.pairs
    ids, found = _read(signature, places)
    ratios = layers.Embedding(size, 1, embeddings_initializer="zeros", trainable=False, name=RATIOS)(found)
    factors = layers.Embedding(size, 1, embeddings_initializer="zeros", name=FACTORS)(found)
    score = _sum(layers.Lambda(products, name="products")([ratios, factors]), found)
    return tf_keras.Model(ids, layers.Softmax(name=OUTPUT_NAME)(_logits(score)))


def score_logits(
    ids: Any, signature: Signature, places: Places, scores: npt.NDArray[np.float32], *, limit: float
) -> Any:
    """Logits of two classes (batch, 2) by the scores of the places, rounded to bytes.

    Args:
        ids: Keras tensor of token ids (batch, length).
        scores: float32 (places,).
        limit: the largest score; larger ones are cut to it.
    """
    from training.network.ngram_layers import ByteScores

    layer = ByteScores(size=signature.id_count + places.pairs, limit=limit, name="scores")
    logits = _logits(layer(_places(ids, signature, places)))
    layer.adopt(scores)
    return logits


def log_ratios(counts: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of the shares of a place in each of two classes: float32 (places, 1), from counts (places, 2). Place 0 has 0."""
    raised = counts[1:].astype(np.float64) + 1
    shares = np.log(raised / raised.sum(axis=0))
    return np.pad(shares[:, 1:] - shares[:, :1], [(1, 0), (0, 0)]).astype(np.float32)


def _read(signature: Signature, places: Places) -> tuple[Any, Any]:
    """The input, and its places."""
    from tf_keras import layers

    ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    return ids, _places(ids, signature, places)


def _places(ids: Any, signature: Signature, places: Places) -> Any:
    from training.network.ngram_layers import DistinctPlaces

    words = signature.id_count
    return DistinctPlaces(words=words, pair_ids=places.pair_ids, pairs=places.pairs, name=PLACES)(ids)


def _sum(scores: Any, found: Any) -> Any:
    """The sum (batch, 1) of the scores (batch, n) where there is a place."""
    import tensorflow as tf
    from tf_keras import layers

    def add(tensors: list[Any]) -> Any:
        return tf.reduce_sum(tf.where(tensors[1] > 0, tensors[0], 0.0), axis=1, keepdims=True)

    return layers.Lambda(add, name="sum")([scores, found])


def _logits(score: Any) -> Any:
    """Scores (batch, 1) as logits of two classes, whose difference they are."""
    from tf_keras import layers

    return layers.Concatenate(name="both")([layers.Rescaling(-0.5)(score), layers.Rescaling(0.5)(score)])
