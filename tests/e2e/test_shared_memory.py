"""Tensors in shared memory, with Triton's client."""

import base64
import json
import os

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support.grpc_requests import refusal, request
from tests.support.grpc_service import GrpcService
from tests.support.service import Service, address_of_this_machine, running
from tests.support.shared_memory import shared
from tests.support.tiny_models import write_rule_model, write_types_model

INFER = "/v2/models/rule/infer"
REGISTER = "/v2/systemsharedmemory/region/{}/register"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("shared")
    write_rule_model(models)
    yield from running(Service(models))


@pytest.fixture
def memory():
    with shared(4_096) as memory:
        yield memory


@pytest.fixture
def client(service):
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    yield client
    client.unregister_system_shared_memory()
    client.close()


def rule_request(region, *, size=8, offset=0, rows=2):
    tensor = triton.InferInput("x", [rows, 1], "FP32")
    tensor.set_shared_memory(region, size, offset)
    return tensor


def infer(service, entry, outputs=None):
    """The answer to one input, as status and document."""
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], **entry}]}
    reply = service.client.post(INFER, json=document if outputs is None else {**document, "outputs": outputs})
    return reply.status_code, reply.json()


def test_inputs_and_outputs_in_memory(client, memory):
    memory.buf[16:24] = np.array([1, 2.5], np.float32).tobytes()
    client.register_system_shared_memory("all", memory.name, 4_096)
    client.register_system_shared_memory("answers", memory.name, 64, offset=1_024)
    expected = triton.InferRequestedOutput("values")
    expected.set_shared_memory("answers", 8, 8)
    for _ in range(2):  # the second one finds the request's head in the cache
        memory.buf[1_032:1_040] = bytes(8)
        answer = client.infer("rule", [rule_request("all", offset=16)], outputs=[expected])
        assert np.frombuffer(memory.buf[1_032:1_040], np.float32).tolist() == [1, 4]
    # Triton's C++ client takes parameters of an output for those of binary data, and refuses any others.
    assert answer.get_output("values") == {"name": "values", "datatype": "FP32", "shape": [2, 1]}
    assert [region["name"] for region in client.get_system_shared_memory_status()] == ["all", "answers"]
    client.unregister_system_shared_memory("all")
    assert [region["name"] for region in client.get_system_shared_memory_status()] == ["answers"]


def test_a_large_tensor(client):
    rows = 500_000
    values = np.arange(rows, dtype=np.float32)
    with shared(values.nbytes) as large:
        large.buf[: values.nbytes] = values.tobytes()
        client.register_system_shared_memory("large", large.name, values.nbytes)
        with pytest.raises(InferenceServerException, match="request holds 500000 instances"):
            client.infer("rule", [rule_request("large", size=values.nbytes, rows=rows)])
        few = client.infer("rule", [rule_request("large", size=4 * 4_096, rows=4_096, offset=4 * 100_000)])
        assert few.as_numpy("values")[-1] == 2 * 104_095 - 1


def test_an_output_for_an_unknown_region_is_404_and_no_output_is_written(service):
    output = {"name": "values", "parameters": {"shared_memory_region": "absent", "shared_memory_byte_size": 4}}
    status, document = infer(service, {"data": [1]}, [output])
    assert (status, document) == (404, {"error": "Unable to find shared memory region: 'absent'"})


def test_an_input_that_names_no_region_is_404(service):
    parameters = {"shared_memory_region": "absent", "shared_memory_byte_size": 4}
    assert infer(service, {"parameters": parameters})[0] == 404


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ({"parameters": {"shared_memory_byte_size": 8}}, "'shared_memory_byte_size' of input 'x' is 8; FP32 of shape"),
        ({"parameters": {"shared_memory_offset": 4_093}}, "4 bytes from byte 4093 are not within it"),
        ({"parameters": {"shared_memory_offset": -1}}, "'shared_memory_offset' is -1"),
        ({"data": [1]}, "input 'x' has both 'data' and the parameter 'shared_memory_region'"),
        ({"parameters": {"binary_data_size": 4}}, "input 'x' has both 'binary_data_size' and the parameter"),
    ],
)
def test_an_input_that_does_not_fit_its_region_is_refused(service, client, memory, entry, error):
    client.register_system_shared_memory("all", memory.name, 4_096)
    parameters = {"shared_memory_region": "all", "shared_memory_byte_size": 4, **entry.get("parameters", {})}
    status, document = infer(service, {**entry, "parameters": parameters})
    assert status == 400
    assert error in document["error"]


def test_an_output_that_does_not_fit_is_refused(service, client, memory):
    client.register_system_shared_memory("all", memory.name, 4_096)
    output = {"name": "values", "parameters": {"shared_memory_region": "all", "shared_memory_byte_size": 3}}
    status, document = infer(service, {"data": [1]}, [output])
    assert (status, document["error"][:50]) == (400, "an output has 4 bytes, and 3 are set aside for it ")
    assert bytes(memory.buf[:4]) == bytes(4)


def test_memory_that_its_owner_shortens_does_not_end_the_service(service, client, memory):
    client.register_system_shared_memory("all", memory.name, 4_096)
    os.truncate(f"/dev/shm/{memory.name}", 0)
    status, document = infer(service, {"parameters": {"shared_memory_region": "all", "shared_memory_byte_size": 4}})
    assert (status, document["error"].endswith("is shorter than it was when it was registered")) == (400, True)
    assert service.client.get("/v2/health/live").status_code == 200


def test_a_region_of_no_memory_is_refused(client):
    with pytest.raises(InferenceServerException, match="Unable to open shared memory region: 'absent-at-all'"):
        client.register_system_shared_memory("x", "absent-at-all", 4)


def test_cuda_memory_is_refused_by_name(service):
    assert service.client.get("/v2/cudasharedmemory/status").json() == []
    reply = service.client.post("/v2/cudasharedmemory/region/x/register", content=json.dumps({"raw_handle": {}}))
    assert (reply.status_code, "CUDA shared memory is not supported" in reply.text) == (501, True)


def test_only_this_machine_may_use_memory(tmp_path, start, memory):
    write_rule_model(tmp_path)
    address = address_of_this_machine()
    service = start(tmp_path, "--host", "0.0.0.0", environment={"ATELIER_ADMIN_KEY": "k" * 32})
    far = f"http://{address}:{service.url.rpartition(':')[2]}"
    headers = {"Authorization": "Bearer " + "k" * 32}
    body = {"key": memory.name, "byte_size": 4_096}
    assert service.client.post(REGISTER.format("all"), json=body, headers=headers).status_code == 200
    assert service.client.post(REGISTER.format("more"), json=body).status_code == 403
    assert service.client.post(f"{far}{REGISTER.format('more')}", json=body, headers=headers).status_code == 403
    part = {"shared_memory_region": "all", "shared_memory_byte_size": 4}
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "parameters": part}]}
    assert service.client.post(INFER, json=document).status_code == 200
    refused = service.client.post(f"{far}{INFER}", json=document)
    assert refused.status_code == 403
    assert refused.json()["error"].endswith("only clients on this machine may use it")


@pytest.mark.parametrize("option", [("--no-shared-memory",), ("--workers", "2")])
def test_without_shared_memory_the_reason_is_given(tmp_path, start, option, memory):
    write_rule_model(tmp_path)
    service = start(tmp_path, *option)
    refused = service.client.post(REGISTER.format("all"), json={"key": memory.name, "byte_size": 4})
    assert (refused.status_code, "shared memory is not available: " in refused.text) == (501, True)
    status, document = infer(service, {"parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 4}})
    assert (status, document["error"].partition(": ")[0]) == (403, "shared memory region 'x' is not available")


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A service with gRPC, of a model with two inputs."""
    models = tmp_path_factory.mktemp("shared-grpc")
    write_types_model(models, types=("float32", "string"))
    write_rule_model(models)
    yield from running(GrpcService(models))


@pytest.fixture
def over_grpc(remote):
    yield remote.triton
    remote.triton.unregister_system_shared_memory()


def test_inputs_and_outputs_in_memory_over_grpc(over_grpc, memory):
    """One input in memory, and the other in the message, which has no bytes for the first."""
    numbers = np.array([[1, 2.5]], np.float32)
    memory.buf[8:16] = numbers.tobytes()
    over_grpc.register_system_shared_memory("all", memory.name, 4_096)
    shared = triton_grpc.InferInput("in_float32", [1, 2], "FP32")
    shared.set_shared_memory("all", 8, 8)
    sent = triton_grpc.InferInput("in_string", [1, 2], "BYTES")
    sent.set_data_from_numpy(np.array([[b"a", b"bc"]], object))
    expected = [triton_grpc.InferRequestedOutput("out_float32"), triton_grpc.InferRequestedOutput("out_string")]
    expected[0].set_shared_memory("all", 8, 1_000)
    answer = over_grpc.infer("types", [shared, sent], outputs=expected)
    assert bytes(memory.buf[1_000:1_008]) == numbers.tobytes()
    assert answer.as_numpy("out_string").tolist() == [[b"a", b"bc"]]
    parameters = answer.get_output("out_float32").parameters
    assert (parameters["shared_memory_region"].string_param, parameters["shared_memory_offset"].int64_param) == (
        "all",
        1_000,
    )
    [(name, region)] = over_grpc.get_system_shared_memory_status().regions.items()
    assert (name, region.key, region.byte_size) == ("all", memory.name, 4_096)
    assert over_grpc.get_cuda_shared_memory_status().regions == {}


def test_bytes_that_belong_to_no_input_are_refused_over_grpc(remote, over_grpc, memory):
    over_grpc.register_system_shared_memory("all", memory.name, 4_096)
    message = request("x", "FP32", (1, 1), model="rule", raw=[bytes(4)])
    message.inputs[0].parameters["shared_memory_region"].string_param = "all"
    message.inputs[0].parameters["shared_memory_byte_size"].int64_param = 4
    code, error = refusal(remote.stub.ModelInfer, message)
    assert code == "INVALID_ARGUMENT"
    assert error.startswith("expected 0 raw_input_contents, one for each input, but got 1")


@pytest.mark.parametrize("what", ["input", "output"])
def test_a_region_that_is_not_there_is_not_found_over_grpc(over_grpc, what):
    given = triton_grpc.InferInput("x", [1, 1], "FP32")
    given.set_data_from_numpy(np.zeros((1, 1), np.float32))
    expected = triton_grpc.InferRequestedOutput("values")
    (given if what == "input" else expected).set_shared_memory("absent", 4)
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region: 'absent'") as caught:
        over_grpc.infer("rule", [given], outputs=[expected])
    assert "NOT_FOUND" in str(caught.value.status())


def test_a_name_without_a_region_is_refused_over_grpc(over_grpc):
    with pytest.raises(InferenceServerException, match="Unable to open shared memory region: 'absent-at-all'"):
        over_grpc.register_system_shared_memory("x", "absent-at-all", 4)
    with pytest.raises(InferenceServerException, match="CUDA shared memory is not supported"):
        over_grpc.register_cuda_shared_memory("x", base64.b64encode(b"handle"), 0, 4)
