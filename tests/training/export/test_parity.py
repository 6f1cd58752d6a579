import numpy as np
import onnx
import pytest

from app.contract.golden import Golden
from tests.training.tiny_networks import IMAGE_SPEC, mlp, pictures, texts
from training.export.model_export import export_onnx, keras_runner, onnx_runner
from training.export.parity import ParityBroken, check_parity
from training.publish.golden_search import keras_answers


def mean(inputs):
    """A model of one's own: the mean of the ids that are not padding."""
    ids = inputs["token_ids"]
    return {"mean": (ids.sum(1) / np.maximum(1, (ids > 0).sum(1))).astype(np.float32)}


def careless_mean(inputs):
    """Treats padding as part of the text, by a tiny amount."""
    return {"mean": mean(inputs)["mean"] + np.float32(4e-6) * (inputs["token_ids"] == 0).any(1)}


def golden_texts():
    inputs, lengths = texts()
    inputs = {"token_ids": np.minimum(inputs["token_ids"], 1)}
    outputs = keras_answers(mean, inputs, lengths)
    return Golden(inputs=inputs, lengths=lengths, outputs=outputs, tolerance={"default": 1e-5})


def test_equal_runners_have_zero_difference():
    report = check_parity("m", golden_texts(), keras=mean, saved_model=mean, onnx=mean)
    nothing = {"1": 0.0, "2": 0.0, "7": 0.0, "32": 0.0}
    assert report == {
        "tolerance": 1e-5,
        "keras": nothing,
        "saved_model": nothing,
        "onnx": nothing,
        "onnx_padding": nothing,
    }


def test_padding_must_not_change_the_onnx_answer_and_may_change_that_of_keras_within_the_tolerance():
    with pytest.raises(ParityBroken, match=r"m: padding in a batch of 1 changes the ONNX answer by 4\.\d+e-06"):
        check_parity("m", golden_texts(), keras=careless_mean, saved_model=mean, onnx=careless_mean)


def test_padding_may_change_the_onnx_answer_by_a_stated_tolerance():
    options = {"keras": careless_mean, "saved_model": mean, "onnx": careless_mean}
    report = check_parity("m", golden_texts(), padding_tolerance=1e-5, **options)
    assert 0 < report["onnx_padding"]["1"] < 1e-5
    with pytest.raises(ParityBroken, match=r"changes the ONNX answer by 4\.\d+e-06; at most 1e-06 is allowed"):
        check_parity("m", golden_texts(), padding_tolerance=1e-6, **options)


def test_an_answer_that_is_not_finite_is_refused():
    def broken(inputs):
        return {"mean": mean(inputs)["mean"] + np.float32("nan")}

    with pytest.raises(ParityBroken, match="m: saved_model in a batch of 1 differs from Keras alone by nan"):
        check_parity("m", golden_texts(), keras=mean, saved_model=broken, onnx=mean)


def test_an_answer_of_another_shape_is_refused():
    def summed(inputs):
        return {"mean": mean(inputs)["mean"][:, None]}

    with pytest.raises(ParityBroken, match="differs from Keras alone by inf"):
        check_parity("m", golden_texts(), keras=mean, saved_model=mean, onnx=summed)


def test_rows_that_are_swapped_in_batches_of_seven_are_noticed():
    def swapping(inputs):
        answer = mean({"token_ids": inputs["token_ids"] * np.arange(1, len(inputs["token_ids"]) + 1)[:, None]})["mean"]
        return {"mean": answer[::-1] if len(answer) == 7 else mean(inputs)["mean"]}

    with pytest.raises(ParityBroken, match="keras in a batch of 7"):
        check_parity("m", golden_texts(), keras=swapping, saved_model=mean, onnx=mean)


def test_one_changed_weight_in_the_onnx_file_is_noticed(tmp_path):
    model, path = mlp(), tmp_path / "model.onnx"
    export_onnx(model, IMAGE_SPEC, path)
    proto = onnx.load(path)
    kernel = max(proto.graph.initializer, key=lambda value: len(value.raw_data))
    values = onnx.numpy_helper.to_array(kernel).copy()
    values.flat[7] += 0.01
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    onnx.save(proto, path)
    keras = keras_runner(model, IMAGE_SPEC)
    golden = Golden(inputs=pictures(), outputs=keras_answers(keras, pictures(), {}), tolerance={"default": 1e-5})
    with pytest.raises(ParityBroken, match=r"tiny-image: onnx in a batch of 1 differs from Keras alone by 0\.00\d+"):
        check_parity("tiny-image", golden, keras=keras, saved_model=keras, onnx=onnx_runner(path, IMAGE_SPEC))
