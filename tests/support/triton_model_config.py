"""Parse config.pbtxt as Triton does."""

from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

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


def model_config(text):
    """The ModelConfig in a config.pbtxt. Unknown fields and values raise ParseError."""
    return text_format.Parse(text, _message_class()())


@cache
def _message_class():
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
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
