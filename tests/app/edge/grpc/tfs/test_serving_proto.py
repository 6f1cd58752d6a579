"""The .proto file has TensorFlow Serving's wire format, and the generated module next to it matches it."""

import base64
import re

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from app.edge.grpc.tfs import serving_pb2 as pb
from tests.support.proto_descriptors import enums, fields, names
from tests.support.service import ROOT
from tests.support.tfs import real_client

PLACE = "app/edge/grpc/tfs/serving.proto"
# The type of a status is in a separate package, and lists all codes.
PACKAGES = (".tensorflow.serving.", ".tensorflow.error.", ".tensorflow.")


@pytest.fixture(scope="module")
def theirs():
    return [FileDescriptorProto.FromString(base64.b64decode(line)) for line in real_client("--files").split()]


@pytest.fixture(scope="module")
def ours():
    file = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    return file


def without_package(found):
    """Fields with the names of their types as both packages have them."""
    plain = {}
    for name, field in found.items():
        if isinstance(field, tuple):
            number, kind, type_name, label, oneof = field
            for package in (*PACKAGES, ".atelier.tfs."):
                type_name = type_name.removeprefix(package) if type_name.startswith(package) else type_name
            field = (number, kind, type_name, label, oneof)
        plain[name] = field
    return plain


def methods(files):
    return {
        f"{service.name}.{each.name}": tuple(kind.rpartition(".")[2] for kind in (each.input_type, each.output_type))
        for file in files
        for service in file.service
        for each in service.method
    }


def test_every_field_has_the_number_and_the_type_that_clients_use(ours, theirs):
    want = {}
    for file in theirs:
        want |= without_package(fields(file.message_type)) | enums(file.enum_type)
    have = without_package(fields(ours.message_type)) | enums(ours.enum_type)
    assert len(have) > 150
    assert {name: want.get(name) for name in have} == have


def test_every_method_of_both_services_exists(ours, theirs):
    want = methods(theirs)
    assert methods([ours]) == {name: want[name] for name in methods([ours])}
    assert set(methods([ours])) == set(want)


def test_repeated_numbers_are_packed_as_clients_pack_them(ours, theirs):
    def packed(files):
        return {
            (message.name, field.name): field.options.packed or file.syntax == "proto3"
            for file in files
            for message in file.message_type
            for field in message.field
            if field.label == field.LABEL_REPEATED and field.type not in {9, 11, 12}
        }

    have, want = packed([ours]), packed(theirs)
    assert have == {name: want[name] for name in have}


def test_the_generated_module_matches_the_proto_file(ours):
    code = re.sub(r"//.*", "", (ROOT / PLACE).read_text(encoding="utf-8"))
    said = set(re.findall(r"(?:message|enum|rpc) (\w+)", code)) | set(re.findall(r"(\w+) = \d+(?: \[.*?\])?;", code))
    held = {method.name for service in ours.service for method in service.method}
    assert said == held | names(ours.message_type, ours.enum_type)
