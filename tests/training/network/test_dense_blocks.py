"""Each setting of the dense layers has its effect in the network."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from app.contract.tensor_spec import TensorSpec
from training.errors import SettingRefused
from training.network.activations import LEAKY_SLOPE
from training.network.dense_blocks import Dense, dense_classifier
from training.overrides import apply_overrides
from training.publish.ascent import Ascent
from training.recipe.recipe import OUTPUT_NAME, Signature

PIXELS = TensorSpec(name="pixels", dtype="uint8", shape=(4, 4))


def built(**settings):
    tf_keras.utils.set_random_seed(0)
    x = layers.Input((3,), name="x")
    return tf_keras.Model(x, Dense(**settings)(x))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers[1:]]


def test_layers_have_their_widths_and_names():
    model = built(units=(5, 2))
    assert [(layer.name, layer.units) for layer in model.layers[1:]] == [("hidden_1", 5), ("hidden_2", 2)]
    assert kinds(model) == ["Dense", "Dense"]  # only the configured layers
    assert model.losses == []


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(
    ("activation", "formula"),
    [
        ("linear", lambda x: x),
        ("relu", lambda x: np.maximum(x, 0)),
        ("leaky_relu", lambda x: np.where(x < 0, LEAKY_SLOPE * x, x)),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("tanh", np.tanh),
        ("softplus", lambda x: np.log1p(np.exp(x))),
    ],
)
def test_an_activation_follows_the_layer_and_its_normalisation(activation, formula, normalised):
    model = built(units=(4,), activation=activation, batch_normalization=normalised)
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32) * 3
    before = rows @ model.get_layer("hidden_1").get_weights()[0]
    if normalised:  # running mean 0 and variance 1 at first, and 1e-3 added to it
        before = before / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(model(rows), formula(before), rtol=1e-5, atol=1e-6)  # float32


def test_batch_normalisation_is_between_a_layer_and_its_activation():
    model = built(units=(4, 4), batch_normalization=True)
    assert kinds(model) == ["Dense", "BatchNormalization", "Activation"] * 2


def test_dropout_is_the_last_layer_and_drops_its_share_in_training_only():
    model = built(units=(1000,), activation="sigmoid", dropout=0.3)
    assert kinds(model) == ["Dense", "Dropout"]
    rows = np.ones((1, 3), np.float32)
    assert (model(rows, training=False).numpy() > 0).all()
    assert (model(rows, training=True).numpy() == 0).mean() == pytest.approx(0.3, abs=0.05)  # of 1000 units


def test_l2_adds_the_weighted_sum_of_the_squared_weights_to_the_loss():
    model = built(units=(4, 2), l2=0.01)
    kernels = [model.get_layer(name).get_weights()[0] for name in ("hidden_1", "hidden_2")]
    assert [float(loss) for loss in model.losses] == pytest.approx([0.01 * (kernel**2).sum() for kernel in kernels])


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [
        ("zeros", 0.0),
        ("random_normal", 0.05),
        ("random_uniform", 0.1 / np.sqrt(12)),
        ("glorot_normal", np.sqrt(2 / 600)),
        ("glorot_uniform", np.sqrt(2 / 600)),
        ("he_normal", np.sqrt(2 / 400)),
        ("he_uniform", np.sqrt(2 / 400)),
        ("lecun_normal", np.sqrt(1 / 400)),
        ("orthogonal", np.sqrt(1 / 400)),
    ],
)
def test_weights_start_with_the_initialiser_and_biases_at_0(initializer, deviation):
    tf_keras.utils.set_random_seed(0)
    x = layers.Input((400,))
    kernel, bias = tf_keras.Model(x, Dense(units=(200,), initializer=initializer)(x)).get_weights()
    assert kernel.std() == pytest.approx(deviation, rel=0.02)  # of 80,000 weights
    assert kernel.mean() == pytest.approx(0, abs=0.001)
    assert not bias.any()
    if initializer == "orthogonal":
        np.testing.assert_allclose(kernel.T @ kernel, np.eye(200), atol=1e-5)  # float32


def test_a_classifier_of_images_scales_flattens_and_gives_probabilities():
    model = dense_classifier(Dense(units=(3,)), Signature(input=PIXELS, classes=5))
    assert (model.input_names, model.output_names) == (["pixels"], [OUTPUT_NAME])
    bright = np.full((2, 4, 4), 255, np.uint8)
    assert np.asarray(tf_keras.Model(model.inputs, model.get_layer("hidden_1").input)(bright)).max() == 1.0
    np.testing.assert_allclose(model(bright).numpy().sum(axis=1), 1.0, atol=1e-6)


def test_a_classifier_with_leaky_relu_can_be_climbed_for_golden_samples():
    model = dense_classifier(Dense(units=(3,), activation="leaky_relu"), Signature(input=PIXELS, classes=2))
    start = np.full((4, 4), 128, np.uint8)
    other = 1 - int(model(start[None]).numpy().argmax())
    reached = Ascent(model, PIXELS).climb(start, other)
    assert reached is not None
    assert model(reached[None]).numpy().argmax() == other


@pytest.mark.parametrize(
    ("assignment", "rule"),
    [
        ("units=8,0", "each number of units must be at least 1"),
        ("dropout=1", "at least 0 and below 1"),
        ("dropout=-0.1", "at least 0 and below 1"),
        ("l2=-1", "l2 must be at least 0"),
        ("activation=step", "expected one of linear, relu, leaky_relu"),
        ("initializer=ones", "expected one of zeros, random_normal"),
    ],
)
def test_settings_without_meaning_are_refused(assignment, rule):
    with pytest.raises(SettingRefused, match=rule):
        apply_overrides(Dense(units=(8,)), [assignment])
