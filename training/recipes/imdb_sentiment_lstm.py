"""Masked bidirectional LSTM on the IMDB film reviews, next to a score for each word and each pair of words.

Command: python -m training run imdb-sentiment-lstm --publish
Result: 0.9136 on the test set (0.9061 on validation), 1,192,673 parameters, 4.6 min next to other work
Date and hardware: 2026-11-30, two cores of an AMD EPYC

An LSTM with random initial weights learns the training reviews by heart before it learns what words mean. So it has
three stages: first the weight of each word by itself; then an LSTM over embeddings with this weight as their first
number and random others; then both together, with an optimiser whose large epsilon changes the embeddings of rare words
only a little.

The scores of words and pairs are counted and weighted in two stages of their own (``training.network.ngrams``). The
published network adds their sum and a share of the LSTM's logits. They are not trained together: the sum gets nearly
all training reviews right, so that nothing would be left for the LSTM to learn.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from app.contract.tokenizer import UNKNOWN_ID
from training.bounds import AboveZero, Bounded, Count, Share, ShareBelowOne, ZeroOrMore
from training.data.pipelines import TextPipeline
from training.data.settings import TextAugmentation
from training.datasets.imdb import Imdb
from training.network.ngrams import (
    COUNTS,
    FACTORS,
    RATIOS,
    Places,
    build_counting,
    build_weighing,
    log_ratios,
    score_logits,
)
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Inherited, Recipe, Signature, Stage, Targets

WORDS, EMBEDDING, LSTM = "word_weights", "embedding", "lstm"


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network.

    Attributes:
        embedding: numbers per token.
        embedding_deviation: standard deviation of the random numbers at the start.
        word_deviation: standard deviation of the first number, the weight of the word; its size is at most four times
            this.
        units: of the LSTM, per direction.
        bidirectional: whether a second LSTM reads from the end.
        horizon: at the start, units remember for up to this many tokens.
        embedding_dropout, output_dropout: shares silenced in training, before and after the LSTM.
        still_dropout: ``embedding_dropout`` while the embedding is frozen.
        places: which words and pairs of words have a score.
        score_limit: largest score of a word or a pair.
        lstm_share: factor of the LSTM's logits next to the sum of the scores.
    """

    embedding: Count = 16
    embedding_deviation: ZeroOrMore = 0.1
    word_deviation: ZeroOrMore = 0.4
    units: Count = 32
    bidirectional: bool = True
    horizon: AboveZero = 100.0
    embedding_dropout: ShareBelowOne = 0.5
    output_dropout: ShareBelowOne = 0.3
    still_dropout: ShareBelowOne = 0.4
    places: Places = field(default=Places())
    score_limit: AboveZero = 1.5
    lstm_share: Share = 0.2


def build_words(network: Network, signature: Signature) -> Any:
    """One number per word; their sum, divided by the square root of the length, decides."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    def pool(tensors: list[Any]) -> Any:
        weights, ids = tensors
        known = tf.cast(ids > UNKNOWN_ID, tf.float32)
        length = tf.reduce_sum(known, axis=1, keepdims=True)
        return tf.reduce_sum(weights[..., 0] * known, axis=1, keepdims=True) / tf.sqrt(length + 1)

    token_ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    weights = layers.Embedding(signature.id_count, 1, embeddings_initializer="zeros", name=WORDS)(token_ids)
    score = layers.Lambda(pool)([weights, token_ids])
    logits = layers.Concatenate()([-score, score])
    return tf_keras.Model(token_ids, layers.Softmax(name=OUTPUT_NAME)(logits))


def build(network: Network, signature: Signature) -> Any:
    """Embedding that masks padding, LSTM, dense layer."""
    import tf_keras
    from tf_keras import layers

    start = tf_keras.initializers.RandomNormal(stddev=network.embedding_deviation)
    token_ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Embedding(
        signature.id_count, network.embedding, mask_zero=True, embeddings_initializer=start, name=EMBEDDING
    )(token_ids)
    x = layers.Dropout(network.embedding_dropout)(x)
    lstm = layers.LSTM(network.units, name=LSTM)
    if network.bidirectional:
        lstm = layers.Bidirectional(lstm, name=LSTM)
    x = layers.Dropout(network.output_dropout)(lstm(x))
    probabilities = layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x)
    for direction in (lstm.forward_layer, lstm.backward_layer) if network.bidirectional else (lstm,):
        _remember(direction, network)
    return tf_keras.Model(token_ids, probabilities)


def _remember(lstm: Any, network: Network) -> None:
    """Initialise the gates so that memory lasts from 1 to ``horizon`` tokens, differently in each unit.

    Source: Tallec & Ollivier, "Can recurrent neural networks warp time?", arXiv:1804.11188, section 3.
    """
    kernel, recurrent, bias = lstm.get_weights()
    forget = np.log(np.random.default_rng(0).uniform(1, network.horizon, network.units))
    bias[: network.units], bias[network.units : 2 * network.units] = -forget, forget  # input and forget gate
    lstm.set_weights([kernel, recurrent, bias])


def build_still(network: Network, signature: Signature) -> Any:
    """The network, with a frozen embedding."""
    model = build(replace(network, embedding_dropout=network.still_dropout), signature)
    model.get_layer(EMBEDDING).trainable = False
    return model


def adopt_words(network: Network, model: Any, inherited: Inherited) -> None:
    """Copy the weights of the words to the first number of their embeddings."""
    weights = inherited[WORDS][0][:, 0].copy()
    weights[: UNKNOWN_ID + 1] = 0.0
    deviation = network.word_deviation
    layer = model.get_layer(EMBEDDING)
    (embeddings,) = layer.get_weights()
    embeddings[:, 0] = np.clip(weights / weights.std() * deviation, -4 * deviation, 4 * deviation)
    layer.set_weights([embeddings])


def build_counts(network: Network, signature: Signature) -> Any:
    """Counts of the words and the pairs by class."""
    return build_counting(signature, network.places)


def build_pairs(network: Network, signature: Signature) -> Any:
    """Log-ratios of the counts times learnt factors."""
    return build_weighing(signature, network.places)


def adopt_counts(network: Network, model: Any, inherited: Inherited) -> None:
    """Set the log-ratios."""
    model.get_layer(RATIOS).set_weights([log_ratios(inherited[COUNTS][0])])


def finish(network: Network, model: Any, signature: Signature, inherited: Inherited) -> Any:
    """The sum of the scores of all words and pairs, plus a share of the trained LSTM's logits."""
    import tf_keras
    from tf_keras import layers

    trained = model.get_layer(OUTPUT_NAME)
    dense = layers.Dense(signature.classes, name="lstm_logits")
    share = layers.Rescaling(network.lstm_share, name="lstm_share")(dense(trained.input))
    dense.set_weights(trained.get_weights())
    scores = np.zeros((signature.id_count + network.places.pairs, 1), np.float32)
    if RATIOS in inherited:
        scores = inherited[RATIOS][0] * inherited[FACTORS][0]
    found = score_logits(model.input, signature, network.places, scores[:, 0], limit=network.score_limit)
    return tf_keras.Model(model.input, layers.Softmax(name=OUTPUT_NAME)(layers.Add(name="logits")([share, found])))


def _adamw(learning_rate: float) -> Optimizer:
    schedule = Schedule(name="cosine", warmup=0.15)
    return Optimizer(
        name="adamw", learning_rate=learning_rate, schedule=schedule, epsilon=1e-4, weight_decay=0.05, clip_norm=1.0
    )


def _pipeline(*, word_dropout: float) -> TextPipeline:
    augmentation = TextAugmentation(word_dropout=word_dropout, crop=0.3, crop_maximum=150)
    return replace(WHOLE, augmentation=augmentation)


WHOLE = TextPipeline(vocabulary_size=20_000, max_length=400)


RECIPE = Recipe(
    name="imdb-sentiment-lstm",
    description="Negative or positive, for an English film review, by an LSTM and scores of pairs of words.",
    license="apache-2.0",
    data=Imdb(),
    pipeline=_pipeline(word_dropout=0.2),
    network=Network(),
    build=build,
    finish=finish,
    stages=(
        Stage(
            name="counts",
            build=build_counts,
            pipeline=WHOLE,
            shared_layers=(COUNTS,),
            fitting=Fitting(epochs=1, batch_size=250, keep="last", watch=False),
        ),
        Stage(
            name="pairs",
            build=build_pairs,
            pipeline=WHOLE,
            shared_layers=(RATIOS, FACTORS),
            adopt=adopt_counts,
            optimizer=Optimizer(learning_rate=0.1, epsilon=3e-3, schedule=Schedule(name="cosine", warmup=0.1)),
            fitting=Fitting(epochs=3, batch_size=250, keep="last"),
        ),
        Stage(
            name="words",
            build=build_words,
            pipeline=_pipeline(word_dropout=0.1),
            shared_layers=(WORDS,),
            optimizer=_adamw(0.02),
            fitting=Fitting(epochs=20, batch_size=250, keep="last"),
            max_length=1000,
        ),
        Stage(
            name="still",
            build=build_still,
            pipeline=_pipeline(word_dropout=0.1),
            shared_layers=(EMBEDDING, LSTM, OUTPUT_NAME),
            adopt=adopt_words,
            optimizer=_adamw(0.005),
            fitting=Fitting(epochs=2, batch_size=64, keep="last"),
        ),
    ),
    optimizer=_adamw(0.002),
    loss=Loss(label_smoothing=0.05),
    fitting=Fitting(epochs=2, batch_size=64, monitor="val_loss"),
    targets=Targets(test_accuracy=0.9, parameters=1_200_000, minutes=15),
)
