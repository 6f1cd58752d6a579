"""The Open Inference Protocol over gRPC, driven by Triton's own client."""

import asyncio
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.model_config_pb2 import DataType
from tritonclient.utils import InferenceServerException

from app import __version__
from tests.support.commands import run
from tests.support.grpc_requests import good, pixels, refusal, request, tensor
from tests.support.grpc_service import GrpcService
from tests.support.images import png
from tests.support.memory import reset_peak, resident_mb
from tests.support.service import ROOT, Service, address_of_this_machine, own_environment, start_fixture, wait_until
from tests.support.tiny_inputs import MANY, PIXELS, TEXTS, expected
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_fragile_model,
    write_rule_model,
    write_slow_model,
    write_words_model,
)
from tests.support.triton_settings import settings_calls

KEY = "s3cret"
UNLOADED = "unloaded; POST /v2/repository/models/brightness/load loads it"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with four models; tests do not change it."""
    models = tmp_path_factory.mktemp("grpc-models")
    write_brightness_model(models)
    write_words_model(models)
    write_fragile_model(models)
    write_rule_model(models)
    service = GrpcService(models, "--log-level", "debug")
    yield service
    assert service.stop() == 0


@pytest.fixture
def client(service):
    return service.triton


start = start_fixture(GrpcService)


@pytest.fixture
def slow(tmp_path, start):
    """A service whose model takes some tenths of a second for each row, and which has measured that."""
    write_slow_model(tmp_path)
    service = start(tmp_path)
    service.triton.infer("slow", busy())
    return service


def busy():
    """A row that keeps the slow model busy."""
    return [tensor("x", np.array([1], np.int32), "INT32")]


def with_parameter(message, name, **value):
    message.parameters[name].CopyFrom(pb.InferParameter(**value))
    return message


def with_outputs(message, *names, classification=None):
    for name in names:
        output = message.outputs.add(name=name)
        if classification is not None:
            output.parameters["classification"].int64_param = classification
    return message


def numbers_of(response, index=0):
    output = response.outputs[index]
    return np.frombuffer(response.raw_output_contents[index], np.float32).reshape(output.shape)


def test_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_readiness_of_models_and_versions(client):
    assert client.is_model_ready("brightness")
    assert client.is_model_ready("brightness", "1")
    assert not client.is_model_ready("brightness", "2")
    assert not client.is_model_ready("nope")
    assert refusal(client.is_model_ready, "brightness", "01")[0] == "INVALID_ARGUMENT"


def test_server_metadata_is_that_of_rest(client, service):
    metadata = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("atelier", __version__)
    assert list(metadata.extensions) == service.client.get("/v2").json()["extensions"]


@pytest.mark.parametrize("model", ["brightness", "words", "rule"])
def test_model_metadata_is_that_of_rest(client, service, model):
    def tensors(found):
        return [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in found]

    for version in ("", "1"):
        metadata = client.get_model_metadata(model, version)
        assert {
            "name": metadata.name,
            "versions": list(metadata.versions),
            "platform": metadata.platform,
            "inputs": tensors(metadata.inputs),
            "outputs": tensors(metadata.outputs),
        } == service.client.get(f"/v2/models/{model}").json()


def test_model_config_is_that_of_rest(client, service):
    config = client.get_model_config("words").config
    want = service.client.get("/v2/models/words/config").json()
    assert (config.name, config.platform, config.backend) == (want["name"], want["platform"], want["backend"])
    assert config.max_batch_size == want["max_batch_size"]
    for found, tensors in ((config.input, want["input"]), (config.output, want["output"])):
        assert [
            {"name": each.name, "data_type": DataType.Name(each.data_type), "dims": list(each.dims)} for each in found
        ] == [{key: value for key, value in each.items() if key != "format"} for each in tensors]
    assert config.dynamic_batching.priority_levels == want["dynamic_batching"]["priority_levels"]
    assert config.dynamic_batching.default_queue_policy.default_timeout_microseconds == 30_000_000
    assert {name: {"string_value": each.string_value} for name, each in config.parameters.items()} == want["parameters"]
    assert not config.model_transaction_policy.decoupled


def test_infer_gives_the_answers_of_rest(client, service):
    result = client.infer("brightness", pixels())
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)
    body = {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": list(PIXELS.shape), "data": PIXELS.tolist()}]}
    rest = service.client.post("/v2/models/brightness/infer", content=json.dumps(body)).json()
    same = np.array(rest["outputs"][0]["data"], np.float32).reshape(5, 2)
    assert (result.as_numpy("probabilities") == same).all()
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("brightness", "1", "")
    assert not response.outputs[0].HasField("contents")


def test_typed_contents_answer_like_raw_ones(service):
    typed = service.stub.ModelInfer(request(shape=PIXELS.shape, uint_contents=PIXELS.reshape(-1).tolist()))
    raw = service.stub.ModelInfer(request(shape=PIXELS.shape, raw=[PIXELS.tobytes()]))
    assert typed == raw
    np.testing.assert_allclose(numbers_of(typed), expected(PIXELS), atol=1e-6)


def test_many_typed_values_in_one_message(service):
    response = service.stub.ModelInfer(request(shape=(1000, SIDE, SIDE), uint_contents=[7] * 16_000))
    np.testing.assert_allclose(numbers_of(response), expected(np.full((1000, SIDE, SIDE), 7)), atol=1e-6)


@pytest.mark.parametrize(("datatype", "shape"), [("INT32", (2, 2)), ("INT16", (2, 2)), ("INT8", (2, 2))])
def test_token_ids_of_typed_contents(service, datatype, shape):
    message = request("token_ids", datatype, shape, model="words", int_contents=[2, 4, 3, 3])
    assert numbers_of(service.stub.ModelInfer(message)).argmax(axis=1).tolist() == [1, 0]


def test_single_precision_typed_and_half_precision_raw(client, service):
    message = request("x", "FP32", (2, 1), model="rule", fp32_contents=[0.5, -2])
    assert numbers_of(service.stub.ModelInfer(message)).tolist() == [[0.0], [-5.0]]
    half = client.infer("rule", [tensor("x", np.array([[0.5], [-2]], np.float16), "FP16")])
    assert half.as_numpy("values").tolist() == [[0.0], [-5.0]]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_texts_as_bytes_are_tokenised_by_the_models_own_contract(client, service, shape):
    texts = [text.encode() for text in TEXTS]
    raw = client.infer("words", [tensor("token_ids", np.array(texts, object).reshape(shape), "BYTES")])
    typed = service.stub.ModelInfer(request("token_ids", "BYTES", shape, model="words", bytes_contents=texts))
    ids = np.array([[1, 2, 4, 0, 0], [3, 0, 0, 0, 0], [2, 2, 3, 4, 4]], np.int32)
    same = client.infer("words", [tensor("token_ids", ids, "INT32")]).as_numpy("probabilities")
    assert (raw.as_numpy("probabilities") == same).all()
    assert (numbers_of(typed) == same).all()


def test_images_as_bytes_go_through_the_models_own_steps(client):
    images = [png(image) for image in PIXELS]
    result = client.infer("brightness", [tensor("pixels", np.array(images, object), "BYTES")])
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)


def test_class_count_answers_the_best_classes_with_their_labels(client):
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    result = client.infer("brightness", pixels(np.full((1, SIDE, SIDE), 128, np.uint8)), outputs=outputs)
    best, worst = (text.decode().split(":") for text in result.as_numpy("probabilities")[0])
    assert best[1:] == ["1", "bright"]
    assert worst[1:] == ["0", "dark"]
    assert float(best[0]) == pytest.approx(0.7310586, abs=1e-6)  # sigmoid(1), to float32's last digits


def test_the_reply_has_the_id_of_the_request(client):
    assert client.infer("brightness", pixels(), request_id="17-b").get_response().id == "17-b"


def test_a_version_in_the_message(client):
    assert client.infer("brightness", pixels(), model_version="1").get_response().model_version == "1"
    assert refusal(client.infer, "brightness", pixels(), model_version="7") == (
        "NOT_FOUND",
        "Could not find version 7 of model brightness; known versions: 1",
    )
    assert refusal(client.infer, "brightness", pixels(), model_version="x")[0] == "INVALID_ARGUMENT"


def test_priority_timeout_and_parameters_of_the_clients_own(client):
    result = client.infer("brightness", pixels(), priority=1, timeout=2_000_000, parameters={"trace": "abc"})
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client, algorithm):
    result = client.infer("brightness", pixels(MANY), compression_algorithm=algorithm)
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(MANY), atol=1e-6)


def test_an_unknown_model_is_not_found(client, service):
    error = "Request for unknown model: 'nope' is not found; models: brightness, fragile, rule, words"
    for call in (
        partial(client.infer, "nope", pixels()),
        partial(client.get_model_metadata, "nope"),
        partial(client.get_model_config, "nope"),
        partial(client.get_inference_statistics, "nope"),
        partial(client.load_model, "nope"),
        partial(client.unload_model, "nope"),
    ):
        assert refusal(call) == ("NOT_FOUND", error)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            request("picture", raw=[bytes(16)]),
            "unexpected inference input 'picture' for model 'brightness'; it has 'pixels'",
        ),
        (request("", raw=[bytes(16)]), "inputs[0] has no 'name'; send a string"),
        (
            request(datatype="FP32", raw=[bytes(64)]),
            "inference input 'pixels' data-type is 'FP32', but model 'brightness' expects 'UINT8'",
        ),
        (
            request(datatype="FLOAT", raw=[bytes(64)]),
            "input 'pixels' has the unknown datatype 'FLOAT'; use BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, "
            "INT32, INT64, FP16, BF16, FP32, FP64, BYTES",
        ),
        (
            request(datatype="", raw=[bytes(16)]),
            "input 'pixels' has no 'datatype'; send one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, "
            "INT64, FP16, BF16, FP32, FP64, BYTES",
        ),
        (
            request(shape=(1, 3, 4), raw=[bytes(12)]),
            "unexpected shape for input 'pixels' for model 'brightness'. Expected [-1,4,4], got [1,3,4]",
        ),
        (
            request(shape=(-1, 4, 4), raw=[bytes(16)]),
            "input 'pixels' has shape [-1, 4, 4]; send a list of whole numbers from 0",
        ),
        (request(shape=(0, 4, 4), raw=[b""]), "'pixels' holds no instance; send at least one"),
        (request(shape=(2**62, 4, 4), raw=[bytes(16)]), None),
        (request(shape=(2**62, 4, 4), uint_contents=[1]), None),
        (
            pb.ModelInferRequest(model_name="brightness"),
            "expected 1 inputs but got 0 inputs for model 'brightness'; it has 'pixels'",
        ),
        (
            pb.ModelInferRequest(model_name="brightness", inputs=[*good().inputs] * 2),
            "expected 1 inputs but got 2 inputs for model 'brightness'; it has 'pixels'",
        ),
        (request(), "input 'pixels' has neither raw_input_contents nor contents"),
        (
            request(raw=[bytes(16)], uint_contents=[1] * 16),
            "contents field must not be specified when using raw_input_contents for 'pixels' for model 'brightness'",
        ),
        (
            request(raw=[bytes(16)] * 2),
            "expected 1 raw_input_contents, one for each input, but got 2 for model 'brightness'",
        ),
        (
            request(raw=[bytes(20)]),
            "raw_input_contents of input 'pixels' have 20 bytes; UINT8 of shape [1, 4, 4] has 16 bytes",
        ),
        (
            request(raw=[bytes(3)]),
            "raw_input_contents of input 'pixels' have 3 bytes; UINT8 of shape [1, 4, 4] has 16 bytes",
        ),
        (
            request(uint_contents=[1, 2, 3]),
            "uint_contents of input 'pixels' hold 3 values; shape [1, 4, 4] requires 16",
        ),
        (request(int_contents=[1] * 16), "input 'pixels' of datatype UINT8 has int_contents; send uint_contents"),
        (
            request("x", "FP16", (1, 1), model="rule", fp32_contents=[1]),
            "input 'x' has datatype FP16, which contents cannot hold; send raw_input_contents",
        ),
        (request(uint_contents=[300] * 16), "instance 0 of 'pixels': value 300 at [0, 0] is outside 0 to 255"),
        (
            request("x", "FP32", (1, 1), model="rule", fp32_contents=[float("nan")]),
            "instance 0 of 'x': value nan at [0] is not a finite number",
        ),
        (
            request("index", "BYTES", (1,), model="fragile", bytes_contents=[b"a"]),
            "inference input 'index' data-type is 'BYTES', but model 'fragile' expects 'INT32'",
        ),
        (
            request("token_ids", "BYTES", (2,), model="words", bytes_contents=[b"a"]),
            "input 'token_ids' has 1 element; its shape [2] requires 2",
        ),
        (
            request("token_ids", "BYTES", (1, 2), model="words", bytes_contents=[b"a", b"b"]),
            "unexpected shape for input 'token_ids' for model 'words'. Expected [-1] or [-1,1], got [1,2]",
        ),
        (
            request("token_ids", "BYTES", (2,), model="words", bytes_contents=[b"good", b" "]),
            "input 'token_ids', element 1: text is empty; send at least one word",
        ),
        (
            request("token_ids", "BYTES", (1,), model="words", raw=[struct.pack("<I", 9) + b"good"]),
            "input 'token_ids': element 0 states the length 9, but 4 bytes follow; each element starts with its "
            "length, 4 bytes, little-endian",
        ),
        (
            with_outputs(good(), "nope"),
            "unexpected inference output 'nope' for model 'brightness'; it has 'probabilities'",
        ),
        (with_outputs(good(), "probabilities", "probabilities"), "output 'probabilities' is requested twice"),
        (
            with_outputs(good(), "probabilities", classification=-1),
            "'classification' of output 'probabilities' is -1; send a whole number of classes",
        ),
        (
            with_parameter(good(), "priority", int64_param=-1),
            "parameter 'priority' is -1; send a level from 1 (highest) to priority_levels of the model, "
            "or 0 for the model's default",
        ),
        (
            with_parameter(good(), "timeout", double_param=1.5),
            "parameter 'timeout' is 1.5; send whole microseconds, or 0 for the model's default",
        ),
        (
            with_parameter(good(), "timeout"),
            "parameter 'timeout' is None; send whole microseconds, or 0 for the model's default",
        ),
        (
            with_parameter(good(), "triton_x", bool_param=True),
            "parameter 'triton_x' is reserved: names must not begin with 'triton_'",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named_in_the_words_of_rest(service, message, error):
    code, found = refusal(service.stub.ModelInfer, message)
    assert code == "INVALID_ARGUMENT"
    assert error is None or found == error
    np.testing.assert_allclose(numbers_of(service.stub.ModelInfer(good())), expected(PIXELS[:1] * 0), atol=1e-6)


@pytest.mark.parametrize("value", [0, 1, 2**63, 2**64 - 1])
def test_every_extreme_of_a_timeout_is_allowed(service, value):
    message = with_parameter(good(), "timeout", uint64_param=value)
    if value == 1:  # a microsecond
        assert refusal(service.stub.ModelInfer, message)[0] in {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    else:
        assert service.stub.ModelInfer(message).model_name == "brightness"


@pytest.mark.parametrize("name", ["priority", "timeout"])
@pytest.mark.parametrize(
    "value",
    [
        *({"double_param": value} for value in (float("inf"), float("nan"), 5e-324, 1e308)),
        {"int64_param": -(2**63)},
        {"string_param": "1" * 5_000},
    ],
)
def test_a_number_above_the_limit_is_refused(service, name, value):
    assert refusal(service.stub.ModelInfer, with_parameter(good(), name, **value))[0] == "INVALID_ARGUMENT"


METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)
NO_MESSAGE = b"\xff" * 1000


@pytest.mark.parametrize(
    ("path", "data"),
    [
        *((f"/inference.GRPCInferenceService/{method}", NO_MESSAGE) for method in METHODS),
        ("/inference.GRPCInferenceService/ModelInfer", b"\x0a\x01\xff"),  # a name that is not UTF-8
        ("/inference.GRPCInferenceService/ModelInfer", b"\x0a\x7fcut"),
        ("/grpc.health.v1.Health/Check", NO_MESSAGE),
    ],
)
def test_bytes_that_are_not_a_message_are_an_invalid_argument(service, path, data):
    with pytest.raises(grpc.RpcError) as caught:
        service.channel.unary_unary(path)(data)
    assert caught.value.code().name == "INVALID_ARGUMENT"
    assert caught.value.details() == f"the request of {path} is not a message of that method: its bytes cannot be read"
    assert dict(caught.value.trailing_metadata())["x-request-id"]
    service.wait_for_log("its bytes cannot be read", also=path)
    assert "Traceback" not in service.log
    assert not [line for line in service.lines if "ERROR" in line and path in line]


def test_bytes_that_are_not_a_message_end_a_stream_too(service):
    with pytest.raises(grpc.RpcError) as caught:
        list(service.channel.unary_stream("/grpc.health.v1.Health/Watch")(NO_MESSAGE, timeout=30))
    assert caught.value.code().name == "INVALID_ARGUMENT"
    assert "Traceback" not in service.log


def test_a_clients_own_long_value_does_not_break_the_reply(service):
    code, found = refusal(service.stub.ModelInfer, request("ä\n" * 20_000, raw=[bytes(16)]))
    assert code == "INVALID_ARGUMENT"
    assert found.startswith("unexpected inference input 'ä")
    assert len(found) < 400
    code, found = refusal(service.stub.ModelInfer, request("pixels", model="ä\n" * 20_000))
    assert code == "NOT_FOUND"
    assert found.startswith("Request for unknown model: 'ä")
    assert found.endswith(" ...")
    assert len(found) < 2100


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "RepositoryModelLoad", "RepositoryModelUnload"])
def test_a_name_of_megabytes_is_refused_before_the_message_is_parsed(service, method):
    field = "model_name" if method != "ModelReady" else "name"
    name = {"ModelInfer": "ModelInferRequest", "ModelReady": "ModelReadyRequest"}.get(method, f"{method}Request")
    message = getattr(pb, name)(**{field: "\x01" * 15_000_000})
    code, found = refusal(getattr(service.stub, method), message)
    assert code == "INVALID_ARGUMENT"
    assert found == "a name or another text of the message has 15000000 bytes; at most 65536 are accepted"


def test_a_message_over_the_limit_is_refused_by_its_size(tiny_models, start):
    service = start(tiny_models, environment={"ATELIER_BODY_LIMIT_BYTES": "2000"})
    code, found = refusal(service.triton.infer, "brightness", pixels(MANY))
    assert code == "RESOURCE_EXHAUSTED"
    assert found.endswith("vs. 2000)")
    assert service.triton.infer("brightness", pixels(PIXELS)).as_numpy("probabilities").shape == (5, 2)


def test_more_rows_than_fit_into_the_queue_are_an_invalid_argument(tmp_path, start):
    directory = write_brightness_model(tmp_path)
    (directory.parent / "serving.json").write_text('{"batching": {"max_queue_rows": 4}}')
    code, found = refusal(start(tmp_path).triton.infer, "brightness", pixels())
    assert code == "INVALID_ARGUMENT"
    assert found.startswith("request holds 5 instances")


def test_a_failing_row_fails_its_own_request_only_and_shows_no_traceback(client, service):
    def ask(index):
        return client.infer("fragile", [tensor("index", np.array([index], np.int32), "INT32")])

    code, found = refusal(ask, 99)
    assert code == "INTERNAL"
    assert "Traceback" not in found
    assert ask(3).as_numpy("square").tolist() == [[9.0]]


def test_log_and_trace_settings_are_refused_with_the_reason(client):
    for call, what in settings_calls(client):
        code, why = refusal(call)
        assert (code, why.split(":")[0]) == ("UNIMPLEMENTED", f"{what} settings are not supported")


def test_a_hundred_simultaneous_requests(client):
    answers = {}
    done = threading.Semaphore(0)

    def keep(index, result, error):
        answers[index] = error or result.as_numpy("probabilities")
        done.release()

    for index in range(100):
        client.async_infer("brightness", pixels(MANY[index : index + 1]), callback=partial(keep, index))
    for _ in range(100):
        assert done.acquire(timeout=30)
    found = np.concatenate([answers[index] for index in range(100)])
    np.testing.assert_allclose(found, expected(MANY[:100]), atol=1e-6)


def test_the_aio_client_continues_after_an_error(service):
    async def main():
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            with pytest.raises(InferenceServerException, match="unexpected inference input"):
                await client.infer("brightness", [tensor("wrong", MANY, "UINT8", api=triton_aio)])
            given = pixels(api=triton_aio)
            results = await asyncio.gather(*(client.infer("brightness", given) for _ in range(100)))
            return [result.as_numpy("probabilities") for result in results]

    for answer in asyncio.run(main()):
        np.testing.assert_allclose(answer, expected(PIXELS), atol=1e-6)


def test_statistics_count_rows_runs_and_failures(tiny_models, start):
    service = start(tiny_models)
    for rows in (1, 3):
        service.triton.infer("brightness", pixels(PIXELS[:rows]))
    refusal(service.triton.infer, "brightness", [tensor("wrong", PIXELS, "UINT8")])
    (entry,) = service.triton.get_inference_statistics("brightness", "1").model_stats
    assert (entry.name, entry.version, entry.inference_count, entry.execution_count) == ("brightness", "1", 4, 2)
    assert (entry.inference_stats.success.count, entry.inference_stats.fail.count) == (2, 1)
    assert 0 < entry.inference_stats.compute_infer.ns < entry.inference_stats.success.ns
    assert [(each.batch_size, each.compute_infer.count) for each in entry.batch_stats] == [(1, 1), (3, 1)]
    assert entry.last_inference > 1_700_000_000_000
    names = [each.name for each in service.triton.get_inference_statistics().model_stats]
    assert names == ["brightness", "fragile", "words"]
    for code, count in ((200, 2), (400, 1)):
        assert service.requests("brightness", code) == count


def test_the_index_and_loading_and_unloading(tmp_path, start):
    write_brightness_model(tmp_path)
    write_words_model(tmp_path)
    service = start(tmp_path)
    client = service.triton

    def index(**options):
        message = service.stub.RepositoryIndex(pb.RepositoryIndexRequest(**options))
        return [(each.name, each.version, each.state, each.reason) for each in message.models]

    assert index() == [("brightness", "1", "READY", ""), ("words", "1", "READY", "")]
    client.unload_model("brightness")
    assert not client.is_model_ready("brightness")
    assert client.is_server_ready()
    assert index()[0] == ("brightness", "1", "UNAVAILABLE", UNLOADED)
    assert index(ready=True) == [("words", "1", "READY", "")]
    assert refusal(client.infer, "brightness", pixels()) == (
        "UNAVAILABLE",
        f"model 'brightness' has no version that serves (version 1 is UNAVAILABLE: {UNLOADED})",
    )
    client.load_model("brightness")
    np.testing.assert_allclose(
        client.infer("brightness", pixels()).as_numpy("probabilities"), expected(PIXELS), atol=1e-6
    )
    (tmp_path / "brightness" / "serving.json").write_text("{")
    code, found = refusal(client.load_model, "brightness")
    assert (code, found.endswith("; version 1 continues to serve")) == ("FAILED_PRECONDITION", True)


def test_parameters_that_load_and_unload_refuse(client, service):
    code, found = refusal(client.load_model, "words", config="{}", files={"file:1/model.onnx": b"x"})
    assert (code, found.split(":")[0]) == ("UNIMPLEMENTED", "parameter 'config' of load is not supported")
    message = pb.RepositoryModelUnloadRequest(model_name="words")
    message.parameters["unload_dependents"].int64_param = 1
    assert refusal(service.stub.RepositoryModelUnload, message) == (
        "INVALID_ARGUMENT",
        "parameter 'unload_dependents' is 1; unload takes 'unload_dependents', a boolean",
    )
    assert refusal(service.stub.RepositoryIndex, pb.RepositoryIndexRequest(repository_name="other")) == (
        "UNIMPLEMENTED",
        "'repository_name' specification is not supported; leave 'other' out of the message",
    )
    assert client.is_model_ready("words")


def test_admin_calls_are_closed_beyond_this_machine_without_a_key(tiny_models, start):
    service = start(tiny_models, "--host", "0.0.0.0")
    for name, call in (("Load", service.triton.load_model), ("Unload", service.triton.unload_model)):
        assert refusal(call, "words") == (
            "PERMISSION_DENIED",
            f"RepositoryModel{name} is closed, because the service listens beyond this machine and has no admin key; "
            "set ATELIER_ADMIN_KEY",
        )
    assert service.triton.is_model_ready("words")
    with triton.InferenceServerClient(f"{address_of_this_machine()}:{service.grpc_port}") as far:
        assert far.infer("brightness", pixels()).as_numpy("probabilities").shape == (5, 2)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_a_key_admin_calls_require_it_from_every_host(tmp_path, start, host):
    write_words_model(tmp_path)
    service = start(tmp_path, "--host", host, environment={"ATELIER_ADMIN_KEY": KEY})
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}):
        assert refusal(service.triton.unload_model, "words", headers=headers) == (
            "PERMISSION_DENIED",
            "RepositoryModelUnload requires the admin key; send the metadata authorization: Bearer KEY",
        )
    assert service.triton.is_model_ready("words")
    service.triton.unload_model("words", headers={"authorization": f"Bearer {KEY}"})
    assert not service.triton.is_model_ready("words")
    assert KEY not in service.log


def many(field, count=1_500):
    """A message with very many entries of one kind, and its error message."""
    message = good()
    if field == "inputs":
        for _ in range(count):
            message.inputs.add()
    elif field == "outputs":
        for _ in range(count):
            message.outputs.add()
    elif field == "raw_input_contents":
        message.raw_input_contents.extend([b""] * count)
    elif field == "parameters":
        for number in range(count):
            message.parameters[str(number)].bool_param = True
    elif field == "typed strings":
        message.inputs[0].contents.bytes_contents.extend([b""] * count)
    elif field == "shape of 'pixels'":
        message.inputs[0].shape.extend([1] * 1_000_000)
    else:
        for number in range(count):
            message.inputs[0].parameters[str(number)].bool_param = True
    return message


@pytest.mark.parametrize(
    "field", ["inputs", "outputs", "raw_input_contents", "parameters", "parameters of 'pixels'", "shape of 'pixels'"]
)
def test_a_message_with_more_parts_than_any_model_has_is_refused_before_they_are_read(service, field):
    code, found = refusal(service.stub.ModelInfer, many(field))
    assert code == "INVALID_ARGUMENT"
    assert re.fullmatch(rf"{field}: \d+ entries; at most \d+ are accepted", found)


@pytest.mark.parametrize(
    "field", ["inputs", "outputs", "raw_input_contents", "parameters", "parameters of 'pixels'", "typed strings"]
)
def test_a_message_with_very_many_fields_is_refused_before_it_is_parsed(service, field):
    code, found = refusal(service.stub.ModelInfer, many(field, 100_000))
    assert code == "INVALID_ARGUMENT"
    assert re.fullmatch(r"the message has \d+ bytes and more than 16384 fields; at most 16384 are accepted", found)


def test_small_numbers_that_would_take_eight_times_their_bytes_are_refused_before_they_are_parsed(service):
    message = request("token_ids", "INT64", (1, 4_000_000), model="words", int64_contents=[1] * 4_000_000)
    code, found = refusal(service.stub.ModelInfer, message)
    assert code == "INVALID_ARGUMENT"
    assert found == "the whole numbers of the message have 32000016 bytes; at most 16777216 bytes are accepted"


def test_empty_inputs_that_would_take_a_gigabyte_take_their_bytes(service):
    """190 bytes each if they were parsed."""
    infer = service.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    reset_peak(service)
    before = resident_mb(service)
    code, _ = refusal(infer, b"\x2a\x00" * 6_500_000)
    assert code == "INVALID_ARGUMENT"
    assert resident_mb(service, "VmHWM") - before < 150


def test_a_timeout_that_cannot_be_met_is_refused_immediately(slow):
    running = [slow.triton.async_infer("slow", busy(), callback=ignore) for _ in range(2)]
    wait_until(lambda: slow.queued() == 1)
    code, found = refusal(slow.triton.infer, "slow", busy(), timeout=10_000)
    assert code == "RESOURCE_EXHAUSTED"
    [left_ms] = re.findall(r"the timeout leaves (\S+) ms", found)
    assert 5 < float(left_ms) <= 10  # the time since the arrival of the call is subtracted
    for call in running:
        call.cancel()


def test_the_deadline_of_the_call_is_a_timeout_too(slow):
    """Refused immediately: the deadline cannot be met, although the timeouts of request and model would allow it."""
    running = [slow.triton.async_infer("slow", busy(), callback=ignore) for _ in range(6)]
    wait_until(lambda: slow.queued() == 5)

    def refused():
        code, _ = refusal(slow.triton.infer, "slow", busy(), client_timeout=0.1, timeout=20_000_000)
        # The deadline may pass before the refusal reaches the client.
        assert code in {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
        return slow.requests("slow", 429) > 0

    wait_until(refused)
    for call in running:
        call.cancel()


def test_a_call_whose_deadline_passes_while_it_runs(slow):
    code, _ = refusal(slow.triton.infer, "slow", busy(), client_timeout=0.05)
    assert code == "DEADLINE_EXCEEDED"
    wait_until(lambda: slow.requests("slow", 499) == 1)


def test_a_cancelled_call_leaves_the_queue(slow):
    calls = [slow.triton.async_infer("slow", busy(), callback=ignore) for _ in range(4)]
    wait_until(lambda: slow.queued() == 3)
    for call in calls[1:]:
        call.cancel()
    wait_until(lambda: slow.requests("slow", 499) == 3)
    wait_until(lambda: slow.dropped("cancelled") == 3)
    wait_until(lambda: slow.requests("slow", 200) == 2)


def ignore(result, error):
    pass


class Answers:
    """Collects the answers of calls in progress."""

    def __init__(self, service, count):
        self.found = []
        self._left = threading.Semaphore(0)
        self._count = count
        for _ in range(count):
            service.triton.async_infer("slow", busy(), callback=self._keep)
        wait_until(lambda: service.queued() == count - 1)

    def _keep(self, result, error):
        self.found.append((error.status(), error.message()) if error else result.as_numpy("y").tolist())
        self._left.release()

    def wait(self):
        for _ in range(self._count):
            assert self._left.acquire(timeout=10)
        return self.found


SHUT_DOWN = ("StatusCode.UNAVAILABLE", "the service shut down before this request was answered")


def test_calls_under_way_at_sigterm_are_answered(slow):
    answers = Answers(slow, 2)
    assert Service.stop(slow) == 0
    assert answers.wait() == [[1.0], [1.0]]


def test_work_that_outlasts_the_shutdown_time_is_answered_unavailable(tmp_path, start):
    write_slow_model(tmp_path, multiplications=20)
    service = start(tmp_path, "--shutdown-timeout-s", "1")
    service.triton.infer("slow", busy())
    answers = Answers(service, 8)
    assert Service.stop(service) == 0
    assert SHUT_DOWN in answers.wait()
    assert all(answer in ([1.0], SHUT_DOWN) for answer in answers.found)


def test_a_second_ctrl_c_does_not_wait_for_calls(slow):
    answers = Answers(slow, 8)
    slow.process.send_signal(signal.SIGINT)
    wait_until(lambda: "Shutting down" in slow.log)
    assert Service.stop(slow, signal.SIGINT) == 0
    assert answers.wait().count(SHUT_DOWN) > 4


def test_ready_turns_false_before_the_port_closes(tiny_models, start):
    service = start(tiny_models, "--drain-delay-s", "1")
    service.process.terminate()
    deadline = time.monotonic() + 5
    while service.triton.is_server_ready():
        assert time.monotonic() < deadline
    assert service.triton.is_server_live()
    assert service.triton.infer("brightness", pixels()).as_numpy("probabilities").shape == (5, 2)
    assert service.stop() == 0


def test_a_port_in_use_ends_with_one_sentence(tiny_models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_service(tiny_models, "--grpc-port", str(port))
    assert done.returncode == 2
    assert done.stderr.count(f"cannot listen on 127.0.0.1:{port} for gRPC; choose another port with --grpc-port\n") == 1
    assert "Traceback" not in done.stderr
    assert "bind" not in done.stderr


def test_two_services_do_not_share_a_port(tiny_models, service):
    done = run_service(tiny_models, "--grpc-port", str(service.grpc_port))
    assert done.returncode == 2
    assert "choose another port with --grpc-port" in done.stderr


def run_service(models, *arguments):
    return run("serve", "--port", "0", "--models-dir", models, *arguments)


def test_plain_uvicorn_listens_for_grpc_too(tiny_models):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--port", "0"],
        cwd=ROOT,
        env={**own_environment(), "ATELIER_MODELS_DIR": str(tiny_models), "ATELIER_GRPC_PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )
    try:
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 30
            while not ready(client):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert client.infer("brightness", pixels()).as_numpy("probabilities").shape == (5, 2)
    finally:
        process.terminate()
        process.wait(30)


def ready(client):
    try:
        return client.is_server_ready()
    except InferenceServerException:
        return False


WITHOUT_GRPC = """
import asyncio, sys
from app.main import create_app
from app.settings import Settings

async def main():
    app = create_app(Settings(models_dir=sys.argv[1]))
    async with app.lifespan(app):
        await app.api.built()

asyncio.run(main())
print([name for name in ("grpc", "google.protobuf") if name in sys.modules])
"""


def test_without_the_port_grpc_is_not_imported(tiny_models):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GRPC, str(tiny_models)],
        cwd=ROOT,
        env=own_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_connections_over_the_bound_are_closed(tiny_models):
    service = GrpcService(tiny_models, environment={"ATELIER_MAX_CONNECTIONS": "8"})
    assert service.triton.is_server_live()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and empty SETTINGS
    answered = 0
    lines = [socket.create_connection(("127.0.0.1", service.grpc_port), timeout=5) for _ in range(40)]
    for line in lines:
        line.sendall(preface)
    for line in lines:
        with suppress(ConnectionResetError):
            answered += line.recv(1) != b""
    for line in lines:
        line.close()
    assert 1 <= answered <= 8
    assert service.triton.is_server_live()
    wait_until(lambda: is_answered(service.grpc_port, preface))
    assert service.stop() == 0


def is_answered(port, preface):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line, suppress(ConnectionResetError):
        line.sendall(preface)
        return line.recv(1) != b""
    return False


def test_thousands_of_parallel_calls_are_all_answered_or_refused_and_counted(tiny_models, start):
    """gRPC itself would reset some of more than a thousand calls without counting them."""
    service = start(tiny_models)
    request = pb.ModelInferRequest(model_name="brightness", raw_input_contents=[bytes(SIDE * SIDE)])
    request.inputs.add(name="pixels", datatype="UINT8", shape=[1, SIDE, SIDE])
    service.stub.ModelInfer(request)
    service.process.send_signal(signal.SIGSTOP)
    calls = [service.stub.ModelInfer.future(request) for _ in range(6_000)]
    service.process.send_signal(signal.SIGCONT)
    codes = Counter(grpc.StatusCode.OK if (error := call.exception()) is None else error.code() for call in calls)
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    answered = service.metric("atelier_requests_total", code="200", model="brightness")
    assert answered == codes[grpc.StatusCode.OK] + 1
