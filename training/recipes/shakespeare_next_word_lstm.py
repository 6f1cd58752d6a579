"""An LSTM predicts the next word of a play, and is compared with word counts.

Command: python -m training run shakespeare-next-word-lstm --publish
Result: perplexity 41.66 on the test passages, trigram model 70.13 (41.18 and 71.21 on validation), 592,187 parameters,
35.7 min next to other work
Date and hardware: 2026-11-30, two cores of an AMD EPYC

In training the network predicts every word of a stretch of text in one step. In serving it reads a text and gives the
probability that each word of its vocabulary, a mark, or a line end comes next. Both use the same layers: the embedding
that reads words also scores them (Press & Wolf, arXiv:1608.05859), which halves the weights and helps with little
text. In serving two others are mixed in: the frequent n-grams of the training text, and a cache of the text read so
far, which knows who speaks in this scene.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.contract.tokenizer import FIRST_WORD_ID, Tokenizer, join_tokens
from training.bounds import Bounded, Count, ShareBelowOne, ZeroOrMore
from training.data.pipelines import NextTokenPipeline
from training.data.trigram import Trigram
from training.datasets.tiny_shakespeare import TinyShakespeare
from training.measure.findings import Findings, below, recorded
from training.measure.tasks import NextTokenMetrics, PredictNextToken
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Inherited, Recipe, Signature, Subject, Targets

EMBEDDING, LSTM, NARROW = "embedding", "lstm", "narrow"


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network.

    Attributes:
        embedding: numbers per token.
        units: of the LSTM.
        embedding_dropout, output_dropout: shares silenced in training, before and after the LSTM, each for a whole
            stretch of text.
        weight_drop: share of the recurrent weights that are 0 for a batch (``WeightDropLSTM``).
        counted_share: of the ``CountedNgrams`` that are mixed in after training.
        cache_share, cache_sharpness: of the ``ContinuousCache``, which is mixed in last.
    """

    embedding: Count = 80
    units: Count = 160
    embedding_dropout: ShareBelowOne = 0.25
    output_dropout: ShareBelowOne = 0.35
    weight_drop: ShareBelowOne = 0.2
    counted_share: ShareBelowOne = 0.17
    cache_share: ShareBelowOne = 0.1
    cache_sharpness: ZeroOrMore = 0.7


def build(network: Network, signature: Signature) -> Any:
    """For training: the probabilities after every token of a stretch, (batch, length, ids - 1)."""
    import tf_keras
    from tf_keras import layers

    from training.network.next_token_layers import WeightDropLSTM

    token_ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    embedding = _embedding(network, signature)
    x = layers.SpatialDropout1D(network.embedding_dropout)(embedding(token_ids))
    x = WeightDropLSTM(network.units, weight_drop=network.weight_drop, return_sequences=True, name=LSTM)(x)
    x = layers.SpatialDropout1D(network.output_dropout)(x)
    x = layers.Dense(network.embedding, name=NARROW)(x)
    return tf_keras.Model(token_ids, _scores_by(embedding)(x))


def last_word(network: Network, model: Any, signature: Signature, inherited: Inherited) -> Any:
    """For measuring and serving: the same layers, read after the last token, and what is mixed in: (batch, ids - 1)."""
    import tf_keras
    from tf_keras import layers

    from training.network.next_token_layers import ContinuousCache, CountedNgrams

    token_ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    embedding, scores = model.get_layer(EMBEDDING), _scores_by(model.get_layer(EMBEDDING), name="scores")
    lstm = layers.LSTM(network.units, return_sequences=True, return_state=True, name=LSTM)
    states, last, _ = lstm(embedding(token_ids))
    probabilities = scores(model.get_layer(NARROW)(last))
    if signature.ngrams:
        counted = CountedNgrams(signature.ngrams, share=network.counted_share, name="ngrams")
        probabilities = counted([token_ids, probabilities])
    lstm.set_weights(model.get_layer(LSTM).get_weights())
    scores.bias.assign(model.get_layer(OUTPUT_NAME).bias)
    cache = ContinuousCache(share=network.cache_share, sharpness=network.cache_sharpness, name=OUTPUT_NAME)
    return tf_keras.Model(token_ids, cache([token_ids, states, last, probabilities]))


def _embedding(network: Network, signature: Signature) -> Any:
    from tf_keras import initializers, layers

    start = initializers.RandomUniform(-0.1, 0.1)
    return layers.Embedding(
        signature.id_count, network.embedding, mask_zero=True, embeddings_initializer=start, name=EMBEDDING
    )


def _scores_by(embedding: Any, *, name: str = OUTPUT_NAME) -> Any:
    """A layer that scores each token by its own embedding: softmax(x E' + bias), without the column of padding."""
    import tensorflow as tf
    from tf_keras import layers

    class Scores(layers.Layer):  # type: ignore[misc]
        """Probabilities (..., ids - 1) of features (..., embedding)."""

        def __init__(self) -> None:
            super().__init__(name=name)
            self.embedding = embedding
            self.supports_masking = True

        def build(self, shape: Any) -> None:
            """One bias per token."""
            self.bias = self.add_weight("bias", (self.embedding.input_dim,), initializer="zeros")

        def call(self, features: Any) -> Any:
            """Softmax over all ids except padding."""
            flat = tf.reshape(features, [-1, self.embedding.output_dim])
            scores = tf.matmul(flat, self.embedding.embeddings, transpose_b=True) + self.bias
            shape = tf.concat([tf.shape(features)[:-1], [self.embedding.input_dim - 1]], axis=0)
            probabilities = tf.reshape(tf.nn.softmax(scores[:, 1:]), shape)
            probabilities.set_shape([*features.shape[:-1], self.embedding.input_dim - 1])
            return probabilities

    return Scores()


@dataclass(frozen=True, kw_only=True)
class AgainstTrigram:
    """Compares the network with a smoothed trigram model of the same words, and generates a text.

    Attributes:
        prompt: the text to continue.
        tokens: number of tokens to generate.
        temperature: probabilities are raised to 1 / this; below 1 likely tokens become likelier.
    """

    prompt: str = "ROMEO:\nO, she"
    tokens: int = 80
    temperature: float = 0.7

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError("study.temperature must be above 0")

    def __call__(self, subject: Subject) -> Findings:
        """Perplexity of both on the validation part, and on the test part if it was read."""
        feed, tokenizer = subject.feed, subject.feed.tokenizer
        assert tokenizer is not None  # the pipeline is for texts
        trigram = Trigram(feed.passages(subject.splits.train), vocabulary=tokenizer.id_count - 1)  # type: ignore[attr-defined]
        figures = []
        parts = {"validation": (subject.validation, subject.splits.validation)}
        if subject.test:
            parts["test"] = (subject.test, subject.splits.read_test())
        for part, (measured, examples) in parts.items():
            assert isinstance(measured, NextTokenMetrics)
            counted = float(np.exp(trigram.log_loss(feed.passages(examples))))  # type: ignore[attr-defined]
            figures += [
                recorded(f"{part} perplexity of the trigram model", counted),
                below(f"{part} perplexity of the LSTM", measured.perplexity, counted, of="the trigram model's"),
            ]
        return Findings(figures=tuple(figures), notes=(self._write(subject.model, tokenizer),))

    def _write(self, model: Any, tokenizer: Tokenizer) -> str:
        """Continue the prompt, one sampled token after the other."""
        rng, ids = np.random.default_rng(0), list(tokenizer.encode(self.prompt))
        for _ in range(self.tokens):
            read = np.array([ids[-tokenizer.max_length :]], np.int32)
            scores = np.asarray(model(read, training=False))[0].astype(np.float64)
            scores[0] = 0.0  # never sample the unknown token
            scores = scores ** (1 / self.temperature)
            ids.append(int(rng.choice(len(scores), p=scores / scores.sum())) + FIRST_WORD_ID - 1)
        return join_tokens(tokenizer.decode(ids))


RECIPE = Recipe(
    name="shakespeare-next-word-lstm",
    description="The next word of a play in the manner of Shakespeare, by an LSTM.",
    license="apache-2.0",
    data=TinyShakespeare(),
    pipeline=NextTokenPipeline(vocabulary_size=4000, max_length=128, word_dropout=0.05, count_ngrams=True),
    network=Network(),
    build=build,
    finish=last_word,
    task=PredictNextToken(),
    study=AgainstTrigram(),
    optimizer=Optimizer(
        name="adamw",
        learning_rate=0.004,
        schedule=Schedule(name="cosine", warmup=0.05),
        weight_decay=0.05,
        clip_norm=1.0,
    ),
    loss=Loss(name="sparse-categorical-crossentropy"),
    fitting=Fitting(epochs=60, batch_size=16, keep="last"),
    targets=Targets(test_perplexity=46, parameters=700_000, minutes=60),
)
