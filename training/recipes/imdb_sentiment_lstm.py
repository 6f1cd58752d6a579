"""Masked bidirectional LSTM on the IMDB film reviews.

Command: python -m training run imdb-sentiment-lstm --publish
"""

from dataclasses import dataclass
from typing import Any

from training.datasets.imdb import Imdb
from training.pipelines import TextAugmentation, TextPipeline
from training.recipe import OUTPUT_NAME, Fitting, Loss, Optimizer, Recipe, Schedule, Signature, Stage, Targets

EMBEDDING = "embedding"


@dataclass(frozen=True, kw_only=True)
class Network:
    """Settings of the network.

    Attributes:
        embedding: numbers per token.
        embedding_range: tokens start evenly between minus and plus this.
        train_embedding: whether the embedding, once its stage is over, goes on learning with the LSTM.
        units: of the LSTM, per direction.
        bidirectional: whether a second LSTM reads from the end.
        embedding_dropout, output_dropout: shares silenced in training, before and after the LSTM.
    """

    embedding: int = 32
    embedding_range: float = 0.05
    train_embedding: bool = False
    units: int = 32
    bidirectional: bool = True
    embedding_dropout: float = 0.3
    output_dropout: float = 0.4


def _embed(network: Network, signature: Signature) -> tuple[Any, Any]:
    """Token ids, and their embeddings with padding masked."""
    import tf_keras
    from tf_keras import layers

    start = tf_keras.initializers.RandomUniform(-network.embedding_range, network.embedding_range)
    token_ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    embedding = layers.Embedding(
        signature.id_count, network.embedding, mask_zero=True, embeddings_initializer=start, name=EMBEDDING
    )
    return token_ids, layers.Dropout(network.embedding_dropout)(embedding(token_ids))


def build_bag(network: Network, signature: Signature) -> Any:
    """Embedding, mean over the tokens, dense layer: learns what single words say."""
    import tf_keras
    from tf_keras import layers

    token_ids, x = _embed(network, signature)
    x = layers.GlobalAveragePooling1D()(x)
    probabilities = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x)
    return tf_keras.Model(token_ids, probabilities)


def build(network: Network, signature: Signature) -> Any:
    """Embedding that masks padding, LSTM, dense layer."""
    import tf_keras
    from tf_keras import layers

    token_ids, x = _embed(network, signature)
    lstm = layers.LSTM(network.units)
    x = layers.Bidirectional(lstm)(x) if network.bidirectional else lstm(x)
    x = layers.Dropout(network.output_dropout)(x)
    probabilities = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x)
    model = tf_keras.Model(token_ids, probabilities)
    model.get_layer(EMBEDDING).trainable = network.train_embedding
    return model


RECIPE = Recipe(
    name="imdb-sentiment-lstm",
    description="Negative or positive, for an English film review, by a bidirectional LSTM.",
    data=Imdb(),
    pipeline=TextPipeline(
        vocabulary_size=20_000, max_length=256, augmentation=TextAugmentation(word_dropout=0.1, crop=0.2)
    ),
    network=Network(),
    build=build,
    stages=(
        Stage(
            name="bag",
            build=build_bag,
            hands_on=(EMBEDDING,),
            optimizer=Optimizer(
                name="adamw",
                learning_rate=5e-3,
                schedule=Schedule(name="cosine", warmup=0.15),
                weight_decay=0.3,
                clip_norm=1.0,
            ),
            fitting=Fitting(epochs=6, batch_size=64, monitor="val_loss", keep="last"),
            max_length=600,
        ),
    ),
    optimizer=Optimizer(name="adamw", learning_rate=3e-3, schedule=Schedule(name="cosine", warmup=0.15), clip_norm=1.0),
    loss=Loss(),
    fitting=Fitting(epochs=3, batch_size=64, monitor="val_loss", keep="last"),
    targets=Targets(test_accuracy=0.875, parameters=1_200_000, minutes=15),
)
