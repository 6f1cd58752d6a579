from pathlib import Path

import numpy as np
import onnx
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from tests.training.tiny_networks import (
    CLASSES,
    EDGE,
    IMAGE_SPEC,
    PIXELS,
    TEXT_SPEC,
    cnn,
    masked_lstm,
    mlp,
    pictures,
    spec_of,
    texts,
)
from training.export.model_export import (
    OPSET,
    ExportFailed,
    export_onnx,
    export_saved_model,
    keras_runner,
    onnx_runner,
    saved_model_runner,
)

TWO_IN_TWO_OUT = ModelSpec(
    name="two",
    inputs=(
        TensorSpec(name="left", dtype="float32", shape=(3,)),
        TensorSpec(name="right", dtype="int32", shape=(3,)),
    ),
    outputs=(
        TensorSpec(name="total", dtype="float32", shape=(3,)),
        TensorSpec(name="difference", dtype="float32", shape=(3,)),
    ),
    opset=OPSET,
    trained_on="nothing",
)


def two_in_two_out():
    """Keras gives its outputs in another order than the spec, by name."""
    import tf_keras
    from tf_keras import layers

    right = layers.Input((3,), name="right", dtype="int32")
    left = layers.Input((3,), name="left")
    number = layers.Lambda(lambda x: __import__("tensorflow").cast(x, "float32"))(right)
    outputs = {"difference": layers.Subtract()([left, number]), "total": layers.Add()([left, number])}
    return tf_keras.Model({"right": right, "left": left}, outputs)


@pytest.fixture(scope="module", params=["mlp", "cnn", "masked lstm"])
def exported(request, tmp_path_factory):
    """(spec, inputs, Keras runner, directory with both exports)."""
    build, spec, inputs = {
        "mlp": (mlp, IMAGE_SPEC, pictures()),
        "cnn": (cnn, IMAGE_SPEC, pictures()),
        "masked lstm": (masked_lstm, TEXT_SPEC, texts()[0]),
    }[request.param]
    directory, model = tmp_path_factory.mktemp("exported"), build()
    export_saved_model(model, spec, directory)
    export_onnx(model, spec, directory / "model.onnx")
    return spec, inputs, keras_runner(model, spec), directory


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_both_exports_answer_as_keras_does_at_every_batch_size(exported, batch):
    spec, inputs, keras, directory = exported
    rows = {name: values[:batch] for name, values in inputs.items()}
    wanted = keras(rows)["probabilities"]
    assert wanted.shape == (batch, spec.outputs[0].shape[0])
    for runner in (saved_model_runner(directory, spec), onnx_runner(directory / "model.onnx", spec)):
        np.testing.assert_allclose(runner(rows)["probabilities"], wanted, rtol=0, atol=1e-6)


def test_the_saved_model_has_one_signature_with_the_specs_names_types_and_shapes(exported):
    import tensorflow as tf

    spec, _, _, directory = exported
    signatures = tf.saved_model.load(str(directory)).signatures
    assert list(signatures) == ["serving_default"]
    [tensor] = spec.inputs
    _, described = signatures["serving_default"].structured_input_signature
    wanted = [None if size == -1 else size for size in tensor.batch_shape]
    assert {name: (value.dtype.name, value.shape.as_list()) for name, value in described.items()} == {
        tensor.name: (tensor.dtype, wanted)
    }
    assert list(signatures["serving_default"].structured_outputs) == ["probabilities"]


def test_the_onnx_graph_has_the_specs_names_types_and_readable_free_dimensions(exported):
    spec, _, _, directory = exported
    proto = onnx.load(directory / "model.onnx")
    for values, tensors in ((proto.graph.input, spec.inputs), (proto.graph.output, spec.outputs)):
        for value, tensor in zip(values, tensors, strict=True):
            described = value.type.tensor_type
            assert value.name == tensor.name
            assert onnx.helper.tensor_dtype_to_np_dtype(described.elem_type) == tensor.numpy_dtype
            free = [dimension.dim_param or dimension.dim_value for dimension in described.shape.dim]
            assert free == ["batch", *("length" if size == -1 else size for size in tensor.shape)]
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", spec.opset)]


def test_the_exports_contain_no_path_of_the_machine_that_made_them(exported):
    _, _, _, directory = exported
    proto = onnx.load(directory / "model.onnx")
    assert not proto.doc_string + proto.graph.doc_string + "".join(node.doc_string for node in proto.graph.node)
    for path in directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(Path.cwd()).encode() not in content
            assert str(directory).encode() not in content


def test_batch_normalisation_is_folded_into_the_convolutions(tmp_path):
    export_onnx(cnn(), IMAGE_SPEC, tmp_path / "model.onnx")
    ops = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert "BatchNormalization" not in ops
    assert ops.count("Conv") == 2
    assert ops.count("Transpose") == 1  # from channels first to last, before the dense layer; none on the way in


def test_the_optimisers_state_is_left_behind(tmp_path):
    import tensorflow as tf

    model = mlp()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(pictures(8)["pixels"], np.arange(8) % 3, verbose=0)
    export_saved_model(model, IMAGE_SPEC, tmp_path)
    variables = tf.train.list_variables(str(tmp_path / "variables" / "variables"))
    assert sum("VARIABLE_VALUE" in name for name, _ in variables) == len(model.weights)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved_model.pb", "variables"]


def test_several_inputs_and_outputs_are_matched_by_name(tmp_path):
    model = two_in_two_out()
    export_saved_model(model, TWO_IN_TWO_OUT, tmp_path)
    export_onnx(model, TWO_IN_TWO_OUT, tmp_path / "model.onnx")
    inputs = {"left": np.float32([[5, 6, 7]]), "right": np.int32([[1, 2, 4]])}
    for runner in (
        keras_runner(model, TWO_IN_TWO_OUT),
        saved_model_runner(tmp_path, TWO_IN_TWO_OUT),
        onnx_runner(tmp_path / "model.onnx", TWO_IN_TWO_OUT),
    ):
        answer = runner(inputs)
        assert answer["total"].tolist() == [[6, 8, 11]]
        assert answer["difference"].tolist() == [[4, 4, 3]]
    assert [value.name for value in onnx.load(tmp_path / "model.onnx").graph.output] == ["total", "difference"]


def test_a_network_that_takes_floats_still_gets_the_specs_raw_bytes(tmp_path):
    import tf_keras
    from tf_keras import layers

    model = tf_keras.Sequential([layers.Input((EDGE, EDGE)), layers.Flatten(), layers.Dense(3, activation="softmax")])
    export_onnx(model, IMAGE_SPEC, tmp_path / "model.onnx")
    rows = pictures(4)
    found = onnx_runner(tmp_path / "model.onnx", IMAGE_SPEC)(rows)["probabilities"]
    wanted = model(rows["pixels"].astype(np.float32)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_a_name_that_no_signature_can_have_is_refused(tmp_path):
    spec = spec_of("m", PIXELS.model_copy(update={"name": "raw pixels"}), CLASSES)
    with pytest.raises(ExportFailed, match="'raw pixels': a SavedModel signature requires letters"):
        export_saved_model(mlp(), spec, tmp_path)


def test_more_outputs_in_the_spec_than_keras_gives_are_refused(tmp_path):
    more = TensorSpec(name="more", dtype="float32", shape=(3,))
    spec = IMAGE_SPEC.model_copy(update={"outputs": (*IMAGE_SPEC.outputs, more)})
    with pytest.raises(ExportFailed, match="gives 1 outputs, but the spec names 2"):
        export_onnx(mlp(), spec, tmp_path / "model.onnx")
