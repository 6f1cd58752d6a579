import pytest

from app.contract.steps import BatchingHints
from app.contract.tensor_spec import TensorSpec
from tests.support.triton_model_config import DATA_TYPES, OF_DTYPE, model_config
from tests.training.tiny_networks import IMAGE_SPEC, TEXT_SPEC
from training.publish.triton_config import triton_config


@pytest.mark.parametrize("spec", [IMAGE_SPEC, TEXT_SPEC], ids=lambda spec: spec.name)
def test_the_config_parses_as_tritons_model_config_and_agrees_with_model_json(spec):
    config = model_config(triton_config(spec))
    assert (config.name, config.backend, config.default_model_filename) == (spec.name, "onnxruntime", "model.onnx")
    assert config.max_batch_size == spec.batching.max_batch_size
    assert config.HasField("dynamic_batching")
    for described, tensors in ((config.input, spec.inputs), (config.output, spec.outputs)):
        for one, tensor in zip(described, tensors, strict=True):
            assert one.name == tensor.name
            assert one.data_type == DATA_TYPES[OF_DTYPE[tensor.dtype]]
            assert tuple(one.dims) == tensor.shape


def test_the_batching_hint_is_used():
    spec = IMAGE_SPEC.model_copy(update={"batching": BatchingHints(max_batch_size=5)})
    assert model_config(triton_config(spec)).max_batch_size == 5


def test_one_number_per_instance_is_reshaped_because_triton_has_no_empty_shape():
    score = TensorSpec(name="score", dtype="float32", shape=())
    spec = IMAGE_SPEC.model_copy(update={"outputs": (score,), "postprocessing": None})
    [output] = model_config(triton_config(spec)).output
    assert list(output.dims) == [1]
    assert output.HasField("reshape")
    assert not output.reshape.shape


def test_a_name_with_a_quote_survives():
    odd = TensorSpec(name='a"b\\c\n', dtype="float32", shape=(1,))
    spec = IMAGE_SPEC.model_copy(update={"outputs": (odd,), "postprocessing": None})
    assert model_config(triton_config(spec)).output[0].name == 'a"b\\c\n'
