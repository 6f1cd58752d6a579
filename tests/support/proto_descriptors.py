"""Names, numbers and types in the descriptors of .proto files."""

from google.protobuf.descriptor_pb2 import DescriptorProto


def fields(messages, place=""):
    """The wire format of messages: per field its number, type, message type, whether it repeats, its oneof."""
    found = {}
    for message in messages:
        name = f"{place}.{message.name}"
        found[name] = "message"
        for field in message.field:
            oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
            kind = field.type_name.replace(".atelier.triton.", ".inference.")
            found[f"{name}.{field.name}"] = (field.number, field.type, kind, field.label, oneof)
        found |= fields(message.nested_type, name)
        found |= enums(message.enum_type, name)
    return found


def enums(found, place=""):
    return {f"{place}.{each.name}.{value.name}": value.number for each in found for value in each.value}


def names(messages, enum_types):
    found = {each.name for each in enum_types} | {value.name for each in enum_types for value in each.value}
    for message in messages:
        if not message.options.map_entry:
            assert isinstance(message, DescriptorProto)
            found |= {message.name, *(field.name for field in message.field)}
            found |= names(message.nested_type, message.enum_type)
    return found
