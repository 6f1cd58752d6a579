"""Networks for texts, by name: a bag of embeddings, a convolutional one, LSTM and GRU. Padding changes none of them."""

from dataclasses import dataclass
from typing import Any, Literal

from training.bounds import Bounded, Count, ShareBelowOne
from training.network.answers import answers_of
from training.recipe.recipe import Signature

FAR_BELOW = 1e9
"""Subtracted from padded steps before a maximum."""


@dataclass(frozen=True, kw_only=True)
class TextNetwork(Bounded):
    """Settings of a network for texts.

    Attributes:
        name: ``bag``: the mean of the words' embeddings, in any order; fast, and the best with few texts.
            ``cnn``: sequences of three and five words, wherever they are. ``lstm``, ``gru``: the words in their order,
            in both directions; slower.
        embedding: numbers for each word.
        units: of the layer after the embeddings; of each direction.
        dropout: share of the numbers that are silenced in training, before and after that layer.
    """

    name: Literal["bag", "cnn", "lstm", "gru"] = "bag"
    embedding: Count = 32
    units: Count = 32
    dropout: ShareBelowOne = 0.4


def build_text_network(network: TextNetwork, signature: Signature) -> Any:
    """Embeddings that mask padding, the layer of the name, softmax."""
    import tf_keras
    from tf_keras import layers

    ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    embedding = layers.Embedding(
        signature.id_count, network.embedding, mask_zero=network.name != "cnn", embeddings_initializer="random_normal"
    )
    x = layers.Dropout(network.dropout)(embedding(ids))
    if network.name == "bag":
        x = layers.Dense(network.units, activation="relu")(layers.GlobalAveragePooling1D()(x))
    elif network.name == "cnn":
        x = _phrases(x, ids, network.units)
    else:
        cell = layers.LSTM if network.name == "lstm" else layers.GRU
        x = layers.Bidirectional(cell(network.units))(x)
    x = layers.Dropout(network.dropout)(x)
    return tf_keras.Model(ids, answers_of(signature, x))


def _phrases(x: Any, ids: Any, units: int) -> Any:
    """(batch, 2 units): the strongest answer of each filter to three and to five neighbouring words.

    Padded steps are 0 before the convolution, as are the places beyond the end of a text, and far below all others
    before the maximum; so the answer to a text does not depend on its padding.

    Source: Kim, Convolutional Neural Networks for Sentence Classification (2014).

    Args:
        x: (batch, length, embedding).
        ids: (batch, length).
        units: filters of each width.
    """
    import tensorflow as tf
    from tf_keras import layers

    def silence(tensors: list[Any]) -> Any:
        return tensors[0] * tf.cast(tensors[1] != 0, tf.float32)[..., tf.newaxis]

    def strongest(tensors: list[Any]) -> Any:
        padded = tf.cast(tf.equal(tensors[1], 0), tf.float32)[..., tf.newaxis]
        return tf.reduce_max(tensors[0] - FAR_BELOW * padded, axis=1)

    words = layers.Lambda(silence, name="words")([x, ids])
    found = []
    for width in (3, 5):
        answers = layers.Conv1D(units, width, padding="same", activation="relu", name=f"phrases_{width}")(words)
        found.append(layers.Lambda(strongest, name=f"strongest_{width}")([answers, ids]))
    return layers.Concatenate()(found)
