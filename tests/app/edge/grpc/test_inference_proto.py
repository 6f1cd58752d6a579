"""Both .proto files have the wire format of Triton's clients, and the generated modules next to them match them."""

import base64
import re
import subprocess
import sys

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from tritonclient.grpc import model_config_pb2, service_pb2

from tests.support.proto_descriptors import enums, fields, names
from tests.support.service import ROOT

# In a separate process: Triton's client registers the same names.
PRINT = """
import base64
from app.edge.grpc import inference_pb2
from app.repository.triton import config_pb2
for module in (inference_pb2, config_pb2):
    print(base64.b64encode(module.DESCRIPTOR.serialized_pb).decode())
"""


@pytest.fixture(scope="module")
def both():
    done = subprocess.run([sys.executable, "-c", PRINT], cwd=ROOT, capture_output=True, text=True, check=True)
    return [FileDescriptorProto.FromString(base64.b64decode(line)) for line in done.stdout.split()]


@pytest.fixture(scope="module")
def ours(both):
    return both[0]


@pytest.fixture(scope="module")
def config(both):
    return both[1]


def theirs():
    files = [FileDescriptorProto(), FileDescriptorProto()]
    service_pb2.DESCRIPTOR.CopyToProto(files[0])
    model_config_pb2.DESCRIPTOR.CopyToProto(files[1])
    return files


def methods(file):
    (service,) = file.service
    return {
        each.name: (each.input_type, each.output_type, each.client_streaming, each.server_streaming)
        for each in service.method
    }


def test_every_field_has_the_number_and_the_type_that_clients_use(ours):
    want = fields(theirs()[0].message_type)
    have = fields(ours.message_type) | enums(ours.enum_type)
    assert len(have) > 100
    assert {name: want.get(name) for name in have} == have


def test_config_proto_has_every_field_of_tritons_settings(config):
    """So that a misspelt name in config.pbtxt is distinguished from a known one that is ignored."""
    want = theirs()[1]
    assert fields(config.message_type) == fields(want.message_type)
    assert enums(config.enum_type) == enums(want.enum_type)


def test_every_method_is_one_of_the_clients(ours):
    want = methods(theirs()[0])
    assert ours.package == "inference"
    assert ours.service[0].name == "GRPCInferenceService"
    assert {name: want.get(name) for name in methods(ours)} == methods(ours)


@pytest.mark.parametrize("place", ["app/edge/grpc/inference.proto", "app/repository/triton/config.proto"])
def test_the_generated_module_matches_the_proto_file(both, place):
    source, file = (ROOT / place).read_text(encoding="utf-8"), both[place.endswith("config.proto")]
    code = re.sub(r"//.*", "", source)
    said = set(re.findall(r"(?:message|enum|rpc) (\w+)", code)) | set(re.findall(r"(\w+) = \d+;", code))
    held = {method.name for service in file.service for method in service.method}
    held |= names(file.message_type, file.enum_type)
    assert said == held
