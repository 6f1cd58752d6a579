"""Pre-trained networks; their weights are random here, because a test downloads nothing."""

import numpy as np
import pytest

from app.contract.tensor_spec import TensorSpec
from training.errors import SettingRefused
from training.fit.stages import handed_on
from training.network.backbones import Backbone, build_backbone, build_frozen_backbone, head_stage
from training.recipe.recipe import Signature

SMALL = {"name": "mobilenet-v2", "width": 0.35}
MODULES = {"mobilenet-v2": "mobilenet_v2", "efficientnet-b0": "efficientnet", "resnet-50": "resnet50"}


def signature(shape=(32, 32, 3)):
    return Signature(input=TensorSpec(name="pixels", dtype="uint8", shape=shape), classes=4)


def pictures(shape=(32, 32, 3), count=2):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights of the small network, without its last layer."""
    import tf_keras

    tf_keras.utils.set_random_seed(7)
    path = tmp_path_factory.mktemp("weights") / "small.h5"
    tf_keras.applications.MobileNetV2(
        include_top=False, weights=None, alpha=0.35, input_shape=(32, 32, 3)
    ).save_weights(path)
    return path


@pytest.mark.parametrize("name", MODULES)
def test_a_backbone_sees_pixels_as_keras_prepares_them_for_it(name):
    import tf_keras

    model = build_backbone(Backbone(name=name, weights="none"), signature())
    assert (model.input_names, model.output_names) == (["pixels"], ["probabilities"])
    inner = model.get_layer("backbone")
    seen = tf_keras.Model(model.input, model.layers[model.layers.index(inner) - 1].output)
    prepare = getattr(tf_keras.applications, MODULES[name]).preprocess_input
    expected = prepare(pictures().astype(np.float32))
    np.testing.assert_allclose(seen.predict(pictures(), verbose=0), expected, atol=1e-4)
    assert model.predict(pictures(), verbose=0).shape == (2, 4)


def test_grey_pictures_are_seen_as_grey_ones_in_colour():
    shape = (32, 40)
    grey = build_backbone(Backbone(**SMALL, weights="none"), signature(shape))
    colour = build_backbone(Backbone(**SMALL, weights="none"), signature((32, 40, 3)))
    colour.set_weights(grey.get_weights())
    given = pictures(shape)
    in_colour = np.repeat(given.reshape(2, 32, 40, 1), 3, axis=3)
    np.testing.assert_array_equal(grey.predict(given, verbose=0), colour.predict(in_colour, verbose=0))


def test_first_the_new_layer_learns_and_then_the_last_layers_of_the_backbone(weights):
    network = Backbone(**SMALL, weights=str(weights), trained_layers=20)
    head, whole = build_frozen_backbone(network, signature()), build_backbone(network, signature())
    assert len(head.trainable_weights) == 2
    inner = whole.get_layer("backbone")
    learning = {layer.name for layer in inner.layers if layer.trainable_weights}
    assert learning
    assert learning <= {layer.name for layer in inner.layers[-20:]}
    assert not any("bn" in name.lower() for name in learning), "their statistics stay"
    passed = handed_on(head_stage(epochs=1, batch_size=8), head)
    for name, values in passed.items():
        whole.get_layer(name).set_weights(values)
    np.testing.assert_array_equal(head.predict(pictures(), verbose=0), whole.predict(pictures(), verbose=0))


def test_without_weights_all_layers_learn():
    model = build_backbone(Backbone(**SMALL, weights="none"), signature())
    inner = model.get_layer("backbone")
    assert all(layer.trainable for layer in inner.layers)


def test_the_weights_are_those_of_the_file(weights):
    import tf_keras

    built = build_backbone(Backbone(**SMALL, weights=str(weights)), signature()).get_layer("backbone")
    loaded = tf_keras.applications.MobileNetV2(
        include_top=False, weights=str(weights), alpha=0.35, input_shape=(32, 32, 3)
    )
    for values, expected in zip(built.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(
    ("settings", "shape", "sentence"),
    [
        ({}, (24, 32, 3), "mobilenet-v2 takes pictures of 32x32 or more, not 24x32; set a larger size"),
        ({"weights": "/no/such.h5"}, (32, 32, 3), "network.weights is '/no/such.h5': there is no such file"),
        (
            {"width": 1.0},
            (32, 32, 3),
            r"small.h5 does not hold the weights of mobilenet-v2 without its last layer: where the network has layer "
            r"'Conv1' with weights of shape \(3, 3, 3, 32\), the file has layer 'Conv1' with weights of shape "
            r"\(3, 3, 3, 16\) \(104 layers with weights, and 104 in the file\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_training(weights, settings, shape, sentence):
    with pytest.raises(SettingRefused, match=sentence):
        build_backbone(Backbone(**{**SMALL, "weights": str(weights), **settings}), signature(shape))


def test_a_file_with_the_last_layer_or_of_another_form_is_refused(tmp_path):
    import tf_keras

    whole = tmp_path / "whole.h5"
    tf_keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(32, 32, 3), classes=10).save_weights(whole)
    with pytest.raises(SettingRefused, match="has no further layer, the file has layer 'predictions' with weights of"):
        build_backbone(Backbone(**SMALL, weights=str(whole)), signature())
    (tmp_path / "notes.h5").write_text("no weights")
    with pytest.raises(SettingRefused, match=r"notes\.h5 does not hold the weights of mobilenet-v2 without its last"):
        build_backbone(Backbone(**SMALL, weights=str(tmp_path / "notes.h5")), signature())


def test_weights_that_cannot_be_downloaded_are_a_sentence(monkeypatch):
    import tf_keras

    def refuse(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(tf_keras.applications, "MobileNetV2", refuse)
    with pytest.raises(SettingRefused, match="cannot be downloaded: no route to host; get the file elsewhere"):
        build_backbone(Backbone(**SMALL), signature())


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"name": "vgg"}, "one of mobilenet-v2"),
        ({"width": 0.4}, "width must be"),
        ({"name": "resnet-50", "width": 0.5}, "width must be 1"),
        ({"trained_layers": -1}, "trained_layers must be at least 0"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        Backbone(**settings)
