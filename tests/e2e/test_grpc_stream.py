"""ModelStreamInfer, driven by Triton's client and by a plain stub."""

import queue
import signal
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb

from tests.support.grpc_requests import good, pixels, request
from tests.support.grpc_service import GrpcService
from tests.support.memory import reset_peak, resident_mb
from tests.support.service import running, starting, wait_until
from tests.support.tiny_inputs import MANY, PIXELS, expected
from tests.support.tiny_models import SIDE, write_brightness_model, write_slow_model, write_verse_model

FINAL = "triton_final_response"
METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with three models; tests do not change it."""
    models = tmp_path_factory.mktemp("stream-models")
    write_brightness_model(models)
    write_verse_model(models)
    yield from running(GrpcService(models))


@pytest.fixture
def begin():
    """Starts services for gRPC and checks that they exit with 0."""
    yield from starting(GrpcService)


def numbered(message, number):
    message.id = str(number)
    return message


def text(prompt, *, number=0, **parameters):
    """A text to continue, as one element."""
    message = request("text_input", "BYTES", [1], model="verse", bytes_contents=[prompt.encode()])
    for name, value in parameters.items():
        kind = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}[type(value)]
        message.parameters[name].CopyFrom(pb.InferParameter(**{kind: value}))
    return numbered(message, number)


def slow():
    return request("x", "INT32", [1], model="slow", int_contents=[1])


def piece(reply):
    """The text of a reply."""
    [raw] = reply.infer_response.raw_output_contents
    assert int.from_bytes(raw[:4], "little") == len(raw) - 4
    return raw[4:].decode()


def probabilities(reply):
    return np.frombuffer(reply.raw_output_contents[0], np.float32)


def test_the_replies_are_in_the_order_of_the_requests(service):
    asked = [
        numbered(request(raw=[MANY[i].tobytes()]), i) if i % 3 else numbered(text("the", max_tokens=3), i)
        for i in range(100)
    ]
    replies = list(service.stub.ModelStreamInfer(iter(asked)))
    tensors = [reply.infer_response for reply in replies if reply.infer_response.model_name == "brightness"]
    assert [int(reply.id) for reply in tensors] == [i for i in range(100) if i % 3]
    assert all(reply.parameters[FINAL].bool_param for reply in tensors)
    found = np.stack([probabilities(reply) for reply in tensors])
    np.testing.assert_allclose(found, expected(MANY[:100])[[i for i in range(100) if i % 3]], atol=1e-6)


def test_tritons_client_streams(service):
    replies = queue.Queue()
    client = triton.InferenceServerClient(f"127.0.0.1:{service.grpc_port}")
    client.start_stream(callback=lambda result, error: replies.put((result, error)))
    for number in range(20):
        client.async_stream_infer(
            "brightness", pixels(), request_id=str(number), enable_empty_final_response=bool(number % 2)
        )
    for number in range(20):
        result, error = replies.get(timeout=30)
        assert error is None
        assert result.get_response().id == str(number)
        np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)
    client.stop_stream()
    client.close()


def test_the_stream_continues_after_a_request_that_is_refused(service):
    wrong = [
        numbered(request(model="no-such"), 1),
        numbered(request(name="other", raw=[bytes(SIDE * SIDE)]), 2),
        numbered(text("the", max_tokens=0), 3),
        numbered(request("text_input", "BYTES", [2], model="verse", bytes_contents=[b"a", b"b"]), 4),
        numbered(request("text_input", "BYTES", [1], model="verse", bytes_contents=[b"\xff"]), 5),
        numbered(request("text_input", "BYTES", [1], model="brightness", bytes_contents=[b"a"]), 6),
    ]
    replies = list(service.stub.ModelStreamInfer(iter([*wrong, numbered(good(), 7)])))
    assert [reply.infer_response.id for reply in replies] == [str(number) for number in range(1, 8)]
    assert [reply.error_message.split(";")[0].split(",")[0] for reply in replies] == [
        "Request for unknown model: 'no-such' is not found",
        "unexpected inference input 'other' for model 'brightness'",
        "parameter 'max_tokens' is 0",
        "input 'text_input' is BYTES of shape [2]",
        "input 'text_input' is not UTF-8: invalid start byte at byte 0",
        "unexpected inference input 'text_input' for model 'brightness'",
        "",
    ]


def test_messages_that_cannot_be_read_are_refused_in_their_places(service):
    many = pb.ModelInferRequest(model_name="brightness", raw_input_contents=[b""] * 20_000)
    packets = [b"\xff\xff", many.SerializeToString(), good().SerializeToString()]
    stream = service.channel.stream_stream(METHOD, response_deserializer=pb.ModelStreamInferResponse.FromString)
    first, second, third = stream(iter(packets), timeout=30)
    assert "is not a message of that method" in first.error_message
    assert "at most 16384 are accepted" in second.error_message
    assert third.error_message == ""


def test_a_text_is_sent_in_pieces_by_a_stream_and_whole_by_a_single_call(service):
    options = {"temperature": 0.0, "max_tokens": 5}
    plain, marked = (
        list(service.stub.ModelStreamInfer(iter([text("Long live the", **options, **more)])))
        for more in ({}, {"triton_enable_empty_final_response": True})
    )
    assert [piece(reply) for reply in plain] == [" king", "\n", "the", " king", "\n"]
    assert [piece(reply) for reply in marked[:-1]] == [piece(reply) for reply in plain]
    assert [reply.infer_response.parameters[FINAL].bool_param for reply in marked] == [False] * 5 + [True]
    assert not marked[-1].infer_response.outputs
    whole = service.stub.ModelInfer(text("Long live the", **options))
    assert whole.raw_output_contents[0][4:].decode() == " king\nthe king\n"
    assert (whole.outputs[0].name, whole.outputs[0].datatype, list(whole.outputs[0].shape)) == (
        "text_output",
        "BYTES",
        [1],
    )


def test_pieces_of_several_texts_are_not_kept_for_each_other(service):
    asked = [text("the", number=number, temperature=0.0, max_tokens=1000) for number in range(2)]
    numbers = [reply.infer_response.id for reply in service.stub.ModelStreamInfer(iter(asked))]
    assert len(numbers) == 2000
    assert numbers.index("1") < 1000  # before the last piece of the first; how early depends on the client


def test_a_client_that_leaves_cancels_its_requests(tmp_path, begin):
    write_slow_model(tmp_path)
    service = begin(tmp_path)
    call = service.stub.ModelStreamInfer(iter([slow() for _ in range(10)]))
    wait_until(lambda: service.queued() >= 8)
    call.cancel()
    wait_until(lambda: service.queued() == 0 and service.dropped("cancelled") >= 8)


def test_an_open_stream_ends_with_the_service_after_its_answers(tmp_path, begin):
    write_slow_model(tmp_path, multiplications=6)
    service = begin(tmp_path, environment={"ATELIER_SHUTDOWN_TIMEOUT_S": "600"})
    service.stub.ModelInfer(slow())  # measures that it does not run on the event loop
    asked = queue.Queue()
    call = service.stub.ModelStreamInfer(iter(asked.get, None))
    for _ in range(4):
        asked.put(slow())
    wait_until(lambda: service.queued() > 0)
    service.process.send_signal(signal.SIGTERM)
    assert [reply.error_message for reply in call] == [""] * 4
    assert service.process.wait(60) == 0  # not after the timeout; and a second signal would end it at once
    assert service.stop() == 0
    asked.put(None)


def test_a_client_that_does_not_read_is_disconnected_and_uses_little_memory(tmp_path, begin):
    write_brightness_model(tmp_path)
    service = begin(tmp_path, environment={"ATELIER_SEND_TIMEOUT_S": "1"})
    reset_peak(service)
    before, sent = resident_mb(service), []

    def endless():
        while True:
            sent.append(time.monotonic())
            yield request(raw=[MANY[:16].tobytes()], shape=MANY[:16].shape)

    call = service.stub.ModelStreamInfer(endless())
    # Nothing more is read from it; how soon depends on how busy the machine is.
    wait_until(lambda: sent and time.monotonic() - sent[-1] > 3, within_s=120)
    assert resident_mb(service) - before < 100
    with pytest.raises(grpc.RpcError) as ended:
        list(call)
    assert ended.value.code() == grpc.StatusCode.CANCELLED
    assert ended.value.details() == "the client has read no part of a reply for 1 s"


def test_credentials_that_are_not_accepted_end_the_stream(tmp_path, begin):
    write_brightness_model(tmp_path)
    (tmp_path.parent / "keys.json").write_text('{"keys": []}')
    service = begin(tmp_path, environment={"ATELIER_API_KEYS_FILE": str(tmp_path.parent / "keys.json")})
    with pytest.raises(grpc.RpcError) as refused:
        list(service.stub.ModelStreamInfer(iter([good(), good()])))
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_requests_of_a_stream_are_counted_one_by_one(tmp_path, begin):
    write_brightness_model(tmp_path)
    service = begin(tmp_path)
    list(service.stub.ModelStreamInfer(iter([good(), request(), good()])))
    counts = {
        code: service.metric("atelier_requests_total", model="brightness", protocol="grpc:stream_infer", code=code)
        for code in ("200", "400")
    }
    assert counts == {"200": 2, "400": 1}
