"""A file of TensorFlow Lite answers as Keras does at every batch size, and what cannot be one is a sentence."""

import numpy as np
import pytest

from tests.training.tiny_networks import EDGE, IMAGE_SPEC, TEXT_SPEC, cnn, pictures
from training.export.converting import ExportFailed
from training.export.lite import export_lite, lite_runner


@pytest.fixture(scope="module")
def network():
    return cnn()


def test_the_file_answers_as_keras_at_every_batch_size_one_after_the_other(network, tmp_path):
    export_lite(network, IMAGE_SPEC, tmp_path / "model.tflite")
    run, rows = lite_runner(tmp_path / "model.tflite", IMAGE_SPEC), pictures()["pixels"]
    expected = network(rows, training=False).numpy()
    for batch in (1, 32, 2, 7):
        [(name, found)] = run({"pixels": rows[:batch]}).items()
        assert name == "probabilities"
        np.testing.assert_allclose(found, expected[:batch], rtol=0, atol=1e-5)


def test_operations_that_the_format_lacks_are_named(tmp_path, capfd):
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    pixels = layers.Input((EDGE, EDGE), dtype="uint8", name="pixels")
    x = layers.Lambda(lambda values: tf.asinh(values) + tf.acosh(values))(layers.Rescaling(1 / 255)(pixels))
    model = tf_keras.Model(pixels, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))
    with pytest.raises(ExportFailed, match="tiny-image: no TensorFlow Lite operation for Acosh, Asinh; leave"):
        export_lite(model, IMAGE_SPEC, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_a_model_of_texts_is_refused(network, tmp_path):
    with pytest.raises(ExportFailed, match="tflite is a format of image models; this model takes 'token_ids'"):
        export_lite(network, TEXT_SPEC, tmp_path / "model.tflite")
