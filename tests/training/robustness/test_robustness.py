import json

import numpy as np
import pytest

from tests.training.tiny import bright_images
from training.datasets.splits import Examples
from training.robustness.changes import gradient_signs, on_floats, random_signs, shifted, with_noise
from training.robustness.curves import ADVERSARIAL, NOISE, RANDOM, accuracy_curves


def linear(weight: float):
    """Two classes by the mean of 8x8 pixels: the second one from 100 on, and surer with a larger weight."""
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input((8, 8), dtype="uint8")
    mean = layers.GlobalAveragePooling1D()(layers.Reshape((64, 1))(layers.Rescaling(1.0, offset=-100.0)(pixels)))
    scores = layers.Dense(2, activation="softmax")
    model = tf_keras.Model(pixels, scores(mean))
    scores.set_weights([np.array([[0.0, weight]]), np.zeros(2)])
    return model


def test_the_gradient_of_a_linear_network_is_the_sign_of_its_weights():
    images, labels = np.full((2, 8, 8), 90, np.uint8), np.array([0, 1], np.int32)
    signs = gradient_signs(on_floats(linear(0.1)), images, labels)
    assert (signs[0] == 1).all()  # brighter is worse for the first class
    assert (signs[1] == -1).all()
    assert (gradient_signs(on_floats(linear(-0.1)), images, labels) == -signs).all()


def test_the_copy_for_floats_gives_the_same_answers():
    model, images = linear(0.3), bright_images(20, 0).instances
    np.testing.assert_allclose(
        on_floats(model)(images.astype(np.float32)).numpy(), model(images).numpy(), rtol=0, atol=1e-6
    )


def test_a_change_against_the_gradient_hurts_where_a_random_one_of_the_same_size_does_not():
    images = np.full((40, 8, 8), 104, np.uint8)
    images[:20] = 96
    examples = Examples(instances=images, labels=np.repeat([0, 1], 20).astype(np.int32))
    curves = accuracy_curves(linear(0.5), examples, [0, 3, 6])
    assert curves[ADVERSARIAL] == [1, 1, 0]
    assert curves[RANDOM] == curves[NOISE] == [1, 1, 1]


def test_changed_pixels_stay_within_their_range_and_change_by_the_size():
    rng = np.random.default_rng(0)
    images = np.array([[0, 3, 250, 255]], np.uint8)
    signs = np.array([[-1, 1, -1, 1]], np.int8)
    assert shifted(images, signs, 10).tolist() == [[0, 13, 240, 255]]
    grey = np.full((200, 50), 128, np.uint8)
    coins = random_signs(grey.shape, rng)
    assert set(np.unique(coins)) == {-1, 1}
    assert abs(coins.mean()) < 0.05
    noise = with_noise(grey, 10, rng).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.05)
    assert with_noise(images, 0, rng).tolist() == images.tolist()


RECIPE = """
from tests.training.tiny import *
RECIPE = image_recipe(epochs=1, target=0.1)
"""


def test_the_command_measures_the_published_weights_on_validation_images(write_recipe, command, tmp_path):
    write_recipe("tiny_images.py", RECIPE)
    assert command("run", "tiny-images", "--publish").code == 0
    done = command("robustness", "tiny-images", "--sizes", "100,0", "--rows", "30", "--run-id", "x")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "runs/tiny-images/x/robustness.json").read_text())
    assert (record["sizes"], record["rows"]) == ([0, 100], 30)
    for accuracies in record["accuracy"].values():
        assert accuracies[0] > 0.9
    assert record["accuracy"][ADVERSARIAL][1] < record["accuracy"][RANDOM][1] - 0.2, record
    assert (tmp_path / "runs/tiny-images/x/robustness.png").read_bytes().startswith(b"\x89PNG")
    wrong = command("robustness", "tiny-images", "--sizes", "1,256")
    assert wrong.code == 2
    assert "--sizes: '256' is not a whole number from 0 to 255" in wrong.err


def test_only_published_classifiers_of_images_are_measured(command):
    missing = command("robustness", "fashion-mnist-mlp-128")
    assert missing.code == 2
    assert "no version of fashion-mnist-mlp-128 is published" in missing.err
