"""Masked bidirectional LSTM on the IMDB film reviews.

Command: python -m training run imdb-sentiment-lstm --publish
"""

from dataclasses import dataclass
from typing import Any

from training.datasets.imdb import Imdb
from training.pipelines import TextAugmentation, TextPipeline
from training.recipe import OUTPUT_NAME, Fitting, Loss, Optimizer, Recipe, Schedule, Signature, Targets


@dataclass(frozen=True, kw_only=True)
class Network:
    """Settings of the network.

    Attributes:
        embedding: numbers per token.
        embedding_range: tokens start evenly between minus and plus this.
        units: of the LSTM, per direction.
        bidirectional: whether a second LSTM reads from the end.
        embedding_dropout, output_dropout: shares silenced in training, before and after the LSTM.
    """

    embedding: int = 32
    embedding_range: float = 0.05
    units: int = 32
    bidirectional: bool = True
    embedding_dropout: float = 0.3
    output_dropout: float = 0.4


def build(network: Network, signature: Signature) -> Any:
    """Embedding that masks padding, LSTM, dense layer."""
    import tf_keras
    from tf_keras import layers

    start = tf_keras.initializers.RandomUniform(-network.embedding_range, network.embedding_range)
    token_ids = layers.Input((None,), dtype="int32", name=signature.input.name)
    x = layers.Embedding(signature.id_count, network.embedding, mask_zero=True, embeddings_initializer=start)(token_ids)
    x = layers.Dropout(network.embedding_dropout)(x)
    lstm = layers.LSTM(network.units)
    x = layers.Bidirectional(lstm)(x) if network.bidirectional else lstm(x)
    x = layers.Dropout(network.output_dropout)(x)
    probabilities = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x)
    return tf_keras.Model(token_ids, probabilities)


RECIPE = Recipe(
    name="imdb-sentiment-lstm",
    description="Negative or positive, for an English film review, by a bidirectional LSTM.",
    data=Imdb(),
    pipeline=TextPipeline(
        vocabulary_size=20_000,
        max_length=256,
        augmentation=TextAugmentation(word_dropout=0.1, crop=0.2, first_epochs=2),
    ),
    network=Network(),
    build=build,
    optimizer=Optimizer(name="adam", learning_rate=3e-3, schedule=Schedule(name="cosine", warmup=0.15), clip_norm=1.0),
    loss=Loss(),
    fitting=Fitting(epochs=10, batch_size=64, monitor="val_loss"),
    targets=Targets(test_accuracy=0.875, parameters=1_200_000, minutes=15),
)
