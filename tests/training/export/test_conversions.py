"""Operations that tf2onnx lacks or changes give the answers of Keras."""

import importlib

import numpy as np
import onnx
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from training.export.model_export import OPSET, export_onnx, onnx_runner

LIBRARIES = ("tf_keras", "keras")
STEPS, WIDTH = 6, 3
DROPPED = pytest.mark.filterwarnings("ignore:.*destroy the mask")


def answers(model, values, path):
    """Those of Keras and those of the ONNX graph: an array, or a list of them if the model has several outputs."""
    outputs = {f"answer_{place}": tensor for place, tensor in enumerate(model.outputs)}
    spec = ModelSpec(
        name="numbers",
        inputs=(TensorSpec(name="numbers", dtype="float32", shape=sizes_of(model.inputs[0])),),
        outputs=tuple(TensorSpec(name=name, dtype="float32", shape=sizes_of(each)) for name, each in outputs.items()),
        opset=OPSET,
        trained_on="nothing",
    )
    export_onnx(model, spec, path)
    found = list(onnx_runner(path, spec)({"numbers": values}).values())
    expected = model(values)
    if len(found) == 1:
        return np.asarray(expected), found[0]
    return [np.asarray(each) for each in expected], found


def sizes_of(tensor):
    return tuple(-1 if size is None else size for size in tensor.shape[1:])


def network(library, body, *, scale=0.5):
    """Numbers, of which a step of zeros is masked, with random weights."""
    library = importlib.import_module(library)
    library.utils.set_random_seed(1)
    given = library.layers.Input((STEPS, WIDTH), name="numbers")
    model = library.Model(given, body(library.layers, library.layers.Masking()(given)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, scale, weight.shape).astype(weight.dtype) for weight in model.get_weights()])
    return model


def rows():
    """The first is masked as a whole, the second at its end, the third at its start, the others here and there."""
    rng = np.random.default_rng(0)
    kept = rng.random((12, STEPS)) < 0.6
    kept[0], kept[1], kept[2] = False, np.arange(STEPS) < 4, np.arange(STEPS) >= 2
    return (rng.normal(size=(12, STEPS, WIDTH)) * kept[..., None]).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    from tests.support.saved_models import tensorflow

    tensorflow()


def mean_or_zero(x):
    import tensorflow as tf

    kept = tf.cast(tf.reduce_any(x != 0, axis=2), tf.float32)
    count = tf.reduce_sum(kept, axis=1, keepdims=True)
    return tf.where(count > 0, tf.reduce_sum(x, axis=1) / count, 0.0)


@DROPPED
@pytest.mark.parametrize("library", LIBRARIES)
def test_of_two_tensors_the_one_that_is_not_chosen_may_hold_nan(library, tmp_path):
    model = network(library, lambda layers, x: layers.Lambda(mean_or_zero, output_shape=(WIDTH,))(x))
    keras, onnx_answers = answers(model, rows(), tmp_path / "model.onnx")
    assert np.isfinite(keras).all()
    np.testing.assert_allclose(onnx_answers, keras, rtol=0, atol=1e-6)


def started(layers, x):
    """The mean of a row that is masked as a whole is NaN; no step reads the state that is made of it."""
    return layers.LSTM(2)(x, initial_state=[layers.Dense(2)(layers.GlobalAveragePooling1D()(x)) for _ in range(2)])


def test_a_row_without_steps_answers_zeros_whatever_its_initial_state(tmp_path):
    keras, onnx_answers = answers(network("tf_keras", started), rows(), tmp_path / "model.onnx")
    assert not keras[0].any()
    np.testing.assert_allclose(onnx_answers, keras, rtol=0, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gelu_is_exported(library, tmp_path):
    model = network(library, lambda layers, x: layers.Dense(4, activation="gelu")(x), scale=4)
    keras, onnx_answers = answers(model, rows(), tmp_path / "model.onnx")
    assert keras.max() > 5 > -5 > -keras.max()
    np.testing.assert_allclose(onnx_answers, keras, rtol=0, atol=5e-6)  # float32, values up to 20
    assert "Erf" in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


def test_a_recurrent_softplus_of_large_numbers_stays_finite(tmp_path):
    model = network("tf_keras", lambda layers, x: layers.SimpleRNN(3, activation="softplus")(x))
    keras, onnx_answers = answers(model, 500 * rows(), tmp_path / "model.onnx")
    assert np.abs(keras).max() > 100
    np.testing.assert_allclose(onnx_answers, keras, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("both", [True, False])
def test_an_unrolled_layer_that_reads_backwards_gives_the_answers_of_its_library(library, both, tmp_path):
    def body(layers, x):
        if both:
            return layers.Bidirectional(layers.GRU(3, return_sequences=True, unroll=True))(x)
        return layers.SimpleRNN(3, go_backwards=True, unroll=True)(x)

    keras, onnx_answers = answers(network(library, body), rows(), tmp_path / "model.onnx")
    np.testing.assert_allclose(onnx_answers, keras, rtol=0, atol=2e-6)


@DROPPED
def test_an_output_of_another_length_than_the_input_is_answered_and_read_further(tmp_path):
    import keras

    given = keras.layers.Input((None, WIDTH), name="numbers")
    kept = keras.layers.Masking()(given)  # ONNX Runtime may use its memory again for a tensor of equal shape
    longer = keras.layers.LeakyReLU()(keras.layers.Concatenate(axis=1)([kept, kept]))
    total = keras.layers.Lambda(lambda x: x * 2.0, output_shape=(None, WIDTH))(longer)
    model = keras.Model(given, [longer, keras.layers.LSTM(2)(total)])
    keras_answers, onnx_answers = answers(model, rows(), tmp_path / "model.onnx")
    np.testing.assert_allclose(onnx_answers[0], keras_answers[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(onnx_answers[1], keras_answers[1], rtol=0, atol=1e-6)


def test_free_sizes_have_names_of_their_own(tmp_path):
    import keras

    given = keras.layers.Input((None, None, 1), name="numbers")
    model = keras.Model(given, keras.layers.Rescaling(2.0)(given))
    pictures = np.random.default_rng(0).normal(size=(2, 4, 6, 1)).astype(np.float32)
    keras_answers, onnx_answers = answers(model, pictures, tmp_path / "model.onnx")
    np.testing.assert_array_equal(onnx_answers, keras_answers)
    graph = onnx.load(tmp_path / "model.onnx").graph
    sizes = [each.dim_param for value in (*graph.input, *graph.output) for each in value.type.tensor_type.shape.dim]
    assert sizes == [
        *("batch", "numbers_length_0", "numbers_length_1", ""),
        *("batch", "answer_0_length_0", "answer_0_length_1", ""),
    ]


@pytest.mark.parametrize("kind", ["numbers", "rows", "cells of rows"])
def test_slices_added_at_one_place_are_all_added_whatever_the_threads(tmp_path, kind):
    """ONNX Runtime's ScatterND adds in several threads, and loses some."""
    import tensorflow as tf
    import tf_keras

    given = tf_keras.layers.Input((STEPS, WIDTH), name="numbers")

    def sums(numbers):
        rows = tf.shape(numbers)[0]
        place = tf.repeat(tf.range(rows), STEPS)[:, tf.newaxis]
        if kind == "numbers":
            each, place = tf.reshape(numbers, [-1]), tf.repeat(place, WIDTH, axis=0)
            return tf.tensor_scatter_nd_add(tf.zeros([rows]), place, each)[:, tf.newaxis]
        each = tf.reshape(numbers, [-1, WIDTH])
        if kind == "rows":
            return tf.tensor_scatter_nd_add(tf.ones([rows, WIDTH]), place, each)
        both = tf.concat([place, place % 4], axis=1)
        return tf.tensor_scatter_nd_add(tf.ones([rows, 4, WIDTH]), both, each)

    model = tf_keras.Model(given, tf_keras.layers.Lambda(sums)(given))
    expected, found = answers(model, rows(), tmp_path / "model.onnx")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "ScatterElements" in kinds
    assert "ScatterND" not in kinds
