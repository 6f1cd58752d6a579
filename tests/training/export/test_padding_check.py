"""A network whose answers depend on padding is found before it is trained, and the layer that reads it is named."""

import importlib
import re
import warnings

import numpy as np
import pytest

from tests.training.tiny_networks import masked_lstm
from training.export.padding_check import padding_counts

LIBRARIES = ("tf_keras", "keras")
IDS = 21


def as_weights(ids):
    import tensorflow as tf

    return tf.cast(ids != 0, tf.float32)[..., tf.newaxis]


def mean(x):
    import tensorflow as tf

    return tf.reduce_mean(x, axis=1)


def after_eight(x):
    import tensorflow as tf

    return tf.reduce_mean(x[:, 8:], axis=1)


def weighted_maximum(layers, ids, x):
    weight = layers.Lambda(as_weights, output_shape=(None, 1))(ids)
    return layers.GlobalMaxPooling1D()(layers.Multiply()([x, weight]))


def masked_by_itself(layers, ids, x):
    weight = layers.Lambda(as_weights, output_shape=(None, 1))(ids)
    x = layers.Conv1D(4, 3, padding="same", activation="relu")(layers.Multiply()([x, weight]))
    return weighted_maximum(layers, ids, x)


HEEDING = {
    "recurrent": lambda layers, _, x: layers.GRU(3)(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(x)),
    "average": lambda layers, _, x: layers.GlobalAveragePooling1D()(x),
    "attention": lambda layers, _, x: layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 3)(x, x)),
    "by itself": masked_by_itself,
}
COUNTING = {
    "maximum": (
        lambda layers, _, x: layers.GlobalMaxPooling1D(name="top")(x),
        r"layer 'top' \(GlobalMaxPooling1D\) reads the padded steps; it ignores masks: use GlobalAveragePooling1D",
    ),
    "convolution": (
        lambda layers, _, x: layers.GlobalAveragePooling1D()(layers.Conv1D(3, 3, padding="same", name="three")(x)),
        r"layer 'three' \(Conv1D\) reads the padded steps; it ignores masks: multiply its input by the mask",
    ),
    "mean": (
        lambda layers, _, x: layers.Lambda(mean, name="mean", output_shape=(3,))(x),
        r"layer 'mean' \(Lambda\) reads the padded steps; it ignores masks",
    ),
    "steps far away": (
        lambda layers, ids, x: weighted_maximum(
            layers, ids, layers.Conv1D(3, 3, padding="same", dilation_rate=12, activation="relu", name="far")(x)
        ),
        r"layer 'far' \(Conv1D\) reads the padded steps; it ignores masks: multiply its input by the mask",
    ),
    "NaN without padding": (
        lambda layers, _, x: layers.Lambda(after_eight, name="after_eight", output_shape=(3,))(x),
        r"layer 'after_eight' \(Lambda\) reads the padded steps; it ignores masks",
    ),
    "mask lost": (
        lambda layers, _, x: layers.LSTM(3, name="reader")(layers.Reshape((-1, 3))(x)),
        r"layer 'reader' \(LSTM\) .* no mask reaches it: set mask_zero=True in the Embedding and, between both,",
    ),
    "zeros": (
        lambda layers, _, x: layers.LSTM(3, name="reader", zero_output_for_mask=True)(x),
        r"layer 'reader' \(LSTM\) reads the padded steps although it gets the mask: change its settings",
    ),
}


def network(library, body, *, mask_zero=True):
    """Token ids to two scores, whose weights are 0 before training."""
    library = importlib.import_module(library)
    layers = library.layers
    library.utils.set_random_seed(0)
    ids = layers.Input((None,), dtype="int32")
    with warnings.catch_warnings(action="ignore"):  # of Keras 3, that a layer drops its mask
        x = body(layers, ids, layers.Embedding(IDS, 3, mask_zero=mask_zero)(ids))
        return library.Model(ids, layers.Dense(2, activation="softmax", kernel_initializer="zeros")(x))


def found(model, **options):
    with warnings.catch_warnings(action="ignore"):
        return padding_counts(model, id_count=IDS, longest=20, **{"trained": False, **options})


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", HEEDING)
def test_a_network_that_heeds_the_mask_passes_and_keeps_its_weights(kind, library):
    model = network(library, HEEDING[kind])
    before = model.get_weights()
    assert found(model) == ""
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", COUNTING)
def test_the_layer_that_reads_padding_is_named_with_the_cure(kind, library):
    body, sentence = COUNTING[kind]
    reason = found(network(library, body))
    assert re.match(r"by ([0-9.e-]+|inf): ", reason)
    assert re.search(sentence, reason)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_layer_that_a_short_text_breaks_is_named(library):
    reason = found(
        network(library, lambda layers, _, x: layers.GlobalMaxPooling1D()(layers.Conv1D(3, 4, name="four")(x)))
    )
    assert re.search(r"layer 'four' \(Conv1D\) fails for a text of 1 token: .*; use padding='same'$", reason)


def test_time_distributed_of_keras_3_is_refused_as_its_steps_are_as_many_as_rows():
    def each_step(layers, _, x):
        return layers.GlobalAveragePooling1D()(layers.TimeDistributed(layers.Dense(3), name="each")(x))

    assert "layer 'each' (TimeDistributed) takes it for the number of steps" in found(network("keras", each_step))
    assert found(network("tf_keras", each_step)) == ""


@pytest.mark.parametrize("library", LIBRARIES)
def test_without_a_mask_the_embedding_is_the_cure(library):
    model = network(library, HEEDING["average"], mask_zero=False)
    assert found(model).endswith("because no mask reaches it: set mask_zero=True in the Embedding")


def test_weights_of_a_trained_network_count_as_they_are():
    model = network("tf_keras", COUNTING["maximum"][0])
    assert found(model, trained=True) == ""  # the scores of zeros are equal, whatever is read
    embedding, kernel, bias = model.get_weights()
    embedding[0], kernel[:, 0] = 1, 1  # the largest numbers are those of padding
    model.set_weights([embedding, kernel, bias])
    assert "layer 'top' (GlobalMaxPooling1D)" in found(model, trained=True)


@pytest.mark.parametrize("seed", range(8))
def test_padding_that_counts_for_few_texts_is_found(seed):
    """Its embedding is smaller than almost all others, but for one number, which is larger than that of a third."""
    rng = np.random.default_rng(seed)
    model = network("tf_keras", COUNTING["maximum"][0])
    embedding, kernel, _ = model.get_weights()
    embedding = rng.normal(size=embedding.shape)
    embedding[0] = -9
    embedding[0, 0] = np.quantile(embedding[1:, 0], 0.3)
    model.set_weights([embedding, rng.normal(size=kernel.shape), np.zeros(kernel.shape[1])])
    assert "layer 'top' (GlobalMaxPooling1D)" in found(model, trained=True)


@pytest.mark.parametrize(("longest", "rows"), [(20, 8), (512, 4), (5000, 1)])
def test_fewer_rows_are_drawn_of_long_texts(longest, rows):
    """So that networks with attention, whose memory grows with the square of the length, need no more of it."""
    seen = []

    def record(x):
        import tensorflow as tf

        seen.append(tuple(x.shape[:2]))
        return tf.zeros_like(x[:, 0])

    model = network("tf_keras", lambda layers, _, x: layers.Lambda(record)(x))
    seen.clear()  # the shapes of its construction
    assert padding_counts(model, id_count=IDS, longest=longest, trained=True) == ""
    assert seen == [(rows, length) for length in (1, 2, 5, 9)] + [(4 * rows, width) for width in (9, longest)]


def test_texts_of_one_token_are_never_padded():
    assert padding_counts(masked_lstm(), id_count=IDS, longest=1, trained=False) == ""
