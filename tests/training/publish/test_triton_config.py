import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from app.contract.steps import BatchingHints
from app.contract.tensor_spec import TensorSpec
from tests.training.tiny_networks import IMAGE_SPEC, TEXT_SPEC
from training.publish.triton_config import triton_config

FIELD = descriptor_pb2.FieldDescriptorProto
# The fields that matter here, with the numbers and types of Triton's model_config.proto (version 2.73 of its client).
MESSAGES = {
    "ModelTensorReshape": [("shape", 1, FIELD.TYPE_INT64, True, "")],
    "ModelInput": [
        ("name", 1, FIELD.TYPE_STRING, False, ""),
        ("data_type", 2, FIELD.TYPE_ENUM, False, "DataType"),
        ("dims", 4, FIELD.TYPE_INT64, True, ""),
        ("reshape", 5, FIELD.TYPE_MESSAGE, False, "ModelTensorReshape"),
    ],
    "ModelOutput": [
        ("name", 1, FIELD.TYPE_STRING, False, ""),
        ("data_type", 2, FIELD.TYPE_ENUM, False, "DataType"),
        ("dims", 3, FIELD.TYPE_INT64, True, ""),
        ("label_filename", 4, FIELD.TYPE_STRING, False, ""),
        ("reshape", 5, FIELD.TYPE_MESSAGE, False, "ModelTensorReshape"),
    ],
    "ModelDynamicBatching": [
        ("preferred_batch_size", 1, FIELD.TYPE_INT32, True, ""),
        ("max_queue_delay_microseconds", 2, FIELD.TYPE_UINT64, False, ""),
    ],
    "ModelConfig": [
        ("name", 1, FIELD.TYPE_STRING, False, ""),
        ("platform", 2, FIELD.TYPE_STRING, False, ""),
        ("max_batch_size", 4, FIELD.TYPE_INT32, False, ""),
        ("input", 5, FIELD.TYPE_MESSAGE, True, "ModelInput"),
        ("output", 6, FIELD.TYPE_MESSAGE, True, "ModelOutput"),
        ("default_model_filename", 8, FIELD.TYPE_STRING, False, ""),
        ("dynamic_batching", 11, FIELD.TYPE_MESSAGE, False, "ModelDynamicBatching"),
        ("backend", 17, FIELD.TYPE_STRING, False, ""),
    ],
}
DATA_TYPES = {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_INT32": 8, "TYPE_FP32": 11}
OF_DTYPE = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "float32": "TYPE_FP32"}


@pytest.fixture(scope="session")
def model_config():
    """A function that parses config.pbtxt as Triton does: unknown fields and values are errors."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    values = [descriptor_pb2.EnumValueDescriptorProto(name=name, number=n) for name, n in DATA_TYPES.items()]
    file.enum_type.add(name="DataType", value=values)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated, of in fields:
            message.field.add(
                name=field,
                number=number,
                type=kind,
                label=FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL,
                type_name=f".inference.{of}" if of else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    config = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
    return lambda text: text_format.Parse(text, config())


@pytest.mark.parametrize("spec", [IMAGE_SPEC, TEXT_SPEC], ids=lambda spec: spec.name)
def test_the_config_parses_as_tritons_model_config_and_agrees_with_model_json(model_config, spec):
    config = model_config(triton_config(spec))
    assert (config.name, config.backend, config.default_model_filename) == (spec.name, "onnxruntime", "model.onnx")
    assert config.max_batch_size == spec.batching.max_batch_size
    assert config.HasField("dynamic_batching")
    for described, tensors in ((config.input, spec.inputs), (config.output, spec.outputs)):
        for one, tensor in zip(described, tensors, strict=True):
            assert one.name == tensor.name
            assert one.data_type == DATA_TYPES[OF_DTYPE[tensor.dtype]]
            assert tuple(one.dims) == tensor.shape


def test_the_batching_hint_is_taken_over(model_config):
    spec = IMAGE_SPEC.model_copy(update={"batching": BatchingHints(max_batch_size=5)})
    assert model_config(triton_config(spec)).max_batch_size == 5


def test_one_number_per_instance_is_reshaped_because_triton_has_no_empty_shape(model_config):
    score = TensorSpec(name="score", dtype="float32", shape=())
    spec = IMAGE_SPEC.model_copy(update={"outputs": (score,), "postprocessing": None})
    [output] = model_config(triton_config(spec)).output
    assert list(output.dims) == [1]
    assert output.HasField("reshape")
    assert not output.reshape.shape


def test_a_name_with_a_quote_survives(model_config):
    odd = TensorSpec(name='a"b\\c\n', dtype="float32", shape=(1,))
    spec = IMAGE_SPEC.model_copy(update={"outputs": (odd,), "postprocessing": None})
    assert model_config(triton_config(spec)).output[0].name == 'a"b\\c\n'
