"""What was measured of the columns is inside the network, in Keras, in the SavedModel and in ONNX."""

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from training.data.pipelines import TablePipeline
from training.datasets.splits import Examples
from training.export.model_export import (
    OPSET,
    export_onnx,
    export_saved_model,
    keras_runner,
    onnx_runner,
    saved_model_runner,
)
from training.network.table_networks import TableNetwork, build_table_network, in_own_unit
from training.recipe.recipe import Signature

KINDS = [("age", np.float32), ("city", object)]
ROWS = [(20, b"Bern"), (40, "Zürich".encode()), (np.nan, b""), (60, b"Bern")]


def table(rows, kinds=KINDS):
    return np.array(rows, dtype=kinds)


def fitted(labels, *, classes, rows=ROWS, **settings):
    """A feed, a signature and a linear network for these rows."""
    examples = Examples(instances=table(rows), labels=labels)
    feed = TablePipeline().bind(examples, classes=classes)
    signature = Signature.of(feed, classes=classes)
    return feed, signature, build_table_network(TableNetwork(name="linear", **settings), signature)


def test_numbers_are_deviations_from_the_training_mean_and_missing_ones_are_marked():
    import tf_keras

    _, _, model = fitted(np.array([0, 1, 0, 1], np.int32), classes=2)
    numbers = tf_keras.Model(model.inputs, model.get_layer("numbers").output)
    asked = {"age": np.float32([40, 40 + 16.329932, np.nan, 1e6]), "city": np.array([b"Bern"] * 4, object)}
    found = numbers.predict(
        {name: np.asarray(v if v.dtype != object else v.astype(bytes)) for name, v in asked.items()}, verbose=0
    )
    np.testing.assert_allclose(found, [[0, 0], [1, 0], [0, 1], [10, 0]], atol=1e-6)


def test_each_category_has_its_embedding_and_an_unknown_one_none():
    import tf_keras

    _, _, model = fitted(np.array([0, 1, 0, 1], np.int32), classes=2)
    one_hot = tf_keras.Model(model.inputs, model.get_layer("one_hot_city").output)
    cities = np.array(["Bern", "", "Zürich", "Chur"])
    found = one_hot.predict({"age": np.zeros(4, np.float32), "city": cities}, verbose=0)
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize("task", ["classes", "number"])
def test_all_formats_give_the_same_answers_to_raw_columns(task, tmp_path):
    if task == "classes":
        feed, signature, model = fitted(np.array([0, 1, 0, 1], np.int32), classes=2)
        output = TensorSpec(name="probabilities", dtype="float32", shape=(2,))
    else:
        feed, signature, model = fitted(np.float32([[100], [300], [200], [400]]), classes=0)
        model = in_own_unit(TableNetwork(), model, signature, {})
        output = TensorSpec(name="values", dtype="float32", shape=(1,))
    spec = ModelSpec(name="t", inputs=feed.inputs, outputs=(output,), opset=OPSET, trained_on="nothing")
    export_saved_model(model, spec, tmp_path)
    export_onnx(model, spec, tmp_path / "model.onnx")
    asked = {"age": np.float32([20, np.nan, 55]), "city": np.array([b"Bern", "Zürich".encode(), b"nowhere"], object)}
    expected = keras_runner(model, spec)(asked)[output.name]
    for runner in (saved_model_runner(tmp_path, spec), onnx_runner(tmp_path / "model.onnx", spec)):
        np.testing.assert_allclose(runner(asked)[output.name], expected, rtol=1e-5)
        one = {name: values[1:2] for name, values in asked.items()}
        np.testing.assert_allclose(runner(one)[output.name], expected[1:2], rtol=1e-5)


def test_an_answer_in_the_own_unit_is_the_mean_plus_deviations():
    _, signature, model = fitted(np.float32([[100], [300], [200], [400]]), classes=0)
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    *_, bias = model.get_weights()
    model.set_weights([*model.get_weights()[:-1], bias + 1])  # one deviation above the mean
    own = in_own_unit(TableNetwork(), model, signature, {})
    answer = own.predict({"age": np.float32([30]), "city": np.array(["Bern"])}, verbose=0)
    assert answer[0, 0] == pytest.approx(250 + np.std([100, 200, 300, 400]), rel=1e-5)


def test_a_column_without_gaps_refuses_nan_and_others_accept_it():
    feed, _, _ = fitted(np.array([0, 1, 0, 1], np.int32), classes=2)
    assert [(each.name, each.dtype, each.shape, each.finite) for each in feed.inputs] == [
        ("age", "float32", (), False),
        ("city", "string", (), True),
    ]
    feed, _, _ = fitted(np.array([0, 1], np.int32), classes=2, rows=ROWS[:2])
    assert feed.inputs[0].finite


def test_hidden_layers_have_the_widths_of_the_settings():
    examples = Examples(instances=table(ROWS), labels=np.array([0, 1, 0, 1], np.int32))
    signature = Signature.of(TablePipeline().bind(examples, classes=2), classes=2)
    model = build_table_network(TableNetwork(units=(5, 3)), signature)
    assert [model.get_layer(f"hidden_{number}").units for number in (1, 2)] == [5, 3]


@pytest.mark.parametrize("settings", [{"units": (0,)}, {"embedding": 0}, {"dropout": 1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"must be at least 1|below 1"):
        TableNetwork(**settings)
