"""The script of ``test_joint_calls.py``, in a separate process: Triton's client registers the names of our messages."""

import asyncio
import logging
import random
from collections import Counter

import grpc
import numpy as np
import pytest
import uvloop

from app.edge.grpc import inference_pb2 as pb
from app.edge.grpc.inference import GrpcInference
from app.edge.grpc.joint_calls import JointCalls
from app.edge.joint.joining import Joining
from app.errors import DeadlineExceeded
from app.lifecycle.readiness import not_ready_reason
from app.main import create_app
from app.settings import Settings
from app.wiring.server import Server, uvicorn_config
from tests.support.fakes import until
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_fragile_model,
    write_rule_model,
    write_slow_model,
)

INFER = "/inference.GRPCInferenceService/ModelInfer"
SHORTER_THAN_THE_DEFAULT_S = 8
"""A call with this timeout is not plain."""
CALLS, ROUNDS = 24, 12
IDS = ["", "", "", "7", "request-1", "x" * 127, "x" * 128, "x" * 300, "\u00e9", "\x00"]


def pixels(rng):
    return rng.randbytes(SIDE * SIDE)


def message(data, *, model="brightness", name="pixels", datatype="UINT8", shape=(1, SIDE, SIDE), **fields):
    made = pb.ModelInferRequest(model_name=model, raw_input_contents=[data], **fields)
    made.inputs.add(name=name, datatype=datatype, shape=shape)
    return made


def slow_message(value):
    """A request of the slow model, which takes its time for other values than 0."""
    row = np.array([value], np.int32).tobytes()
    return message(row, model="slow", name="x", datatype="INT32", shape=(1,)).SerializeToString()


async def kept_busy(app, client):
    """A quick request of the slow model, whose form is known, the version, and a task while which it computes."""
    quick, slow = (slow_message(value) for value in (0, 1))
    for data in (quick, quick, slow):
        assert (await client.ask(data))[0] is grpc.StatusCode.OK
    [model] = app.registry.loaded()
    busy = asyncio.create_task(client.ask(slow))
    await until(lambda: not model.batcher.instances.free)
    return quick, model, busy


def some_message(rng):
    """The bytes of a request, most of them plain."""
    kind = rng.choice(
        ["plain"] * 12
        + ["fragile", "rule", "rows"] * 3
        + ["size", "typed", "more", "twice", "damaged"]
        + ["after the tensor", "empty id"]
    )
    sent = message(pixels(rng), id=rng.choice(IDS))
    if rng.random() < 0.3:
        sent.parameters["triton_enable_empty_final_response"].bool_param = True
    if rng.random() < 0.3:
        sent.outputs.add(name="probabilities")
    if kind == "fragile":
        index = np.array([rng.randrange(13)], np.int32)
        sent = message(index.tobytes(), model="fragile", name="index", datatype="INT32", shape=(1,), id=sent.id)
    elif kind == "rule":
        number = np.array([[rng.choice([1.5, -2.0, np.nan, np.inf, 3e38])]], np.float32)
        sent = message(number.tobytes(), model="rule", name="x", datatype="FP32", shape=(1, 1), id=sent.id)
    elif kind == "rows":
        count = rng.choice([2, 2, 3, 8, 9, 70])
        sent = message(pixels(rng) * count, shape=(count, SIDE, SIDE), id=sent.id)
    elif kind == "size":
        sent = message(pixels(rng)[: rng.choice([0, 15])])
    elif kind == "typed":
        sent = pb.ModelInferRequest(model_name="brightness")
        tensor = sent.inputs.add(name="pixels", datatype="UINT8", shape=(1, SIDE, SIDE))
        tensor.contents.uint_contents.extend(pixels(rng))
    elif kind == "more":
        more = rng.choice(
            [
                {"model_version": "1"},
                {"model_version": "2"},
                {"model_name": "fragile"},
                {"model_name": "nobody"},
                {"id": "another"},
                {"raw_input_contents": [pixels(rng)]},
                {"parameters": {"timeout": pb.InferParameter(int64_param=10**9)}},
                {"parameters": {"priority": pb.InferParameter(int64_param=2)}},
                {"parameters": {"nonsense": pb.InferParameter(string_param="x")}},
                {"outputs": [pb.ModelInferRequest.InferRequestedOutputTensor(name="nothing")]},
            ]
        )
        return sent.SerializeToString() + pb.ModelInferRequest(**more).SerializeToString()
    elif kind == "after the tensor":
        data = pixels(rng)
        more = rng.choice(
            [
                b"\x7a\x10" + data,  # an unknown field of the same length
                b"\x2a\x1a\x0a\x06pixels\x12\x10" + data,  # another input
                pb.ModelInferRequest(raw_input_contents=[data]).SerializeToString(),
                pb.ModelInferRequest(parameters={"note": {"string_param": "x" * 16}}).SerializeToString(),
                pb.ModelInferRequest(model_name="brightness").SerializeToString(),
            ]
        )
        return sent.SerializeToString() + more
    elif kind == "empty id":
        raw = pb.ModelInferRequest(raw_input_contents=sent.raw_input_contents).SerializeToString()
        del sent.raw_input_contents[:]
        return sent.SerializeToString() + b"\x1a\x00" + raw
    elif kind == "twice":
        return pb.ModelInferRequest(id="before").SerializeToString() + sent.SerializeToString()
    data = bytearray(sent.SerializeToString())
    if kind == "damaged":
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


class Client:
    """Sends bytes as messages."""

    def __init__(self, port):
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._infer = self.channel.unary_unary(INFER)

    async def ask(self, data, *, alone=False, request_id=None):
        """Status, details or reply, and whether the request id of the caller came back."""
        metadata = () if request_id is None else (("x-request-id", request_id),)
        call = self._infer(data, timeout=SHORTER_THAN_THE_DEFAULT_S if alone else None, metadata=metadata)
        try:
            result = grpc.StatusCode.OK, await call
        except grpc.aio.AioRpcError as error:
            result = error.code(), error.details()
        trailing = dict(await call.trailing_metadata())
        assert trailing["x-request-id"] == (request_id or trailing["x-request-id"])
        return result


def run(models, act):
    """Call ``act`` with the application of a service, a client and the names of the forms that were joined."""

    async def serve():
        settings = Settings(models_dir=models, port=0, grpc_port=0, watch="off")
        app = create_app(settings)
        server = Server(uvicorn_config(app, settings), settings)
        ports = []
        heard = logging.Handler()
        heard.emit = lambda record: ports.append(record.args[1]) if "gRPC listens" in record.msg else None
        logging.getLogger("atelier.grpc").addHandler(heard)
        logging.getLogger("atelier.grpc").setLevel(logging.INFO)
        serving = asyncio.create_task(server.serve())
        try:
            await until(lambda: server.started and not_ready_reason(app.registry) is None)
            client = Client(ports[0])
            try:
                return await act(app, client)
            finally:
                await client.channel.close()
        finally:
            server.should_exit = True
            await serving

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve())


@pytest.fixture
def joined(monkeypatch):
    """Sizes of the joint requests."""
    sizes, begin = [], Joining._begin

    def noted(self, joint):
        if self._open.get(joint.form) is joint:  # not begun before, because it was full
            sizes.append(len(joint.waiting))
        begin(self, joint)

    monkeypatch.setattr(Joining, "_begin", noted)
    return sizes


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    write_fragile_model(directory)
    write_rule_model(directory)
    return directory


def counted(app):
    """Calls by status code, from the metrics."""
    found = Counter()
    for family in app.metrics.collect():
        for sample in family.samples:
            if sample.name == "atelier_requests_total" and sample.labels["protocol"] == "grpc:infer":
                found[sample.labels["code"]] += int(sample.value)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_calls_of_all_kinds_at_once_get_the_replies_that_each_gets_by_itself(models, joined, monkeypatch, seed):
    # However late the threads of gRPC pass on a call: every call waits as long as it may.
    monkeypatch.setattr("app.edge.joint.arrivals._QUIET_TURNS", 1_000_000)
    monkeypatch.setattr("app.edge.joint.arrivals._MOST_WAIT_S", 0.01)

    async def act(app, client):
        rng, codes = random.Random(seed), Counter()
        for _ in range(ROUNDS):
            sent = [some_message(rng) for _ in range(CALLS)]
            replies = await asyncio.gather(*(client.ask(data) for data in sent))
            for data, reply in zip(sent, replies, strict=True):
                assert reply == await client.ask(data, alone=True), data
                codes[reply[0]] += 1
        assert len(codes) > 2
        assert codes[grpc.StatusCode.OK] > ROUNDS * CALLS / 2
        assert max(joined) > 1
        assert sum(joined) > ROUNDS * CALLS / 3
        assert all(model.admission.rows == 0 and not model.leases.in_use for model in app.registry.loaded())

    run(models, act)


def test_the_last_bytes_are_the_tensor_only_if_they_are_in_every_message(models, joined):
    """A message is learned in which another field ends with the bytes of the tensor; in the next one it does not."""

    async def act(app, client):
        tensor, other = bytes(range(16)), bytes(range(100, 116))
        sent = message(tensor).SerializeToString()
        for tail in (b"\x7a\x10%b", b"\x2a\x02\x0a\x00\x7a\x10%b", b"\x7b\x7a\x10%b"):
            for _ in range(3):
                for last in (tensor, other, bytes(byte ^ 0xFF for byte in tensor)):
                    data = sent + tail % last
                    assert await client.ask(data) == await client.ask(data, alone=True)

    run(models, act)


def test_the_time_of_a_call_that_is_answered_by_itself_after_all_counts_from_its_arrival(models, monkeypatch):
    joint, alone, call = [], [], GrpcInference.call

    def queue(_, request, inputs):
        joint.extend(plain.began for plain in request.waiting)
        raise DeadlineExceeded("the timeout passed in the queue")

    def noted(self, *arguments, began=None):
        alone.append(began)
        return call(self, *arguments, began=began)

    async def act(app, client):
        data = message(bytes(SIDE * SIDE)).SerializeToString()
        await client.ask(data)
        monkeypatch.setattr(Joining, "_queue", queue)
        monkeypatch.setattr(GrpcInference, "call", noted)
        replies = await asyncio.gather(*(client.ask(data) for _ in range(5)))
        assert {code for code, _ in replies} == {grpc.StatusCode.OK}
        assert sorted(joint) == sorted(alone)
        assert len(alone) == 5

    run(models, act)


def test_each_call_is_counted_once_and_gets_its_own_request_id(models, joined):
    async def act(app, client):
        data = [message(bytes([i]) * SIDE * SIDE, id=str(i)).SerializeToString() for i in range(60)]
        for _ in range(3):
            replies = await asyncio.gather(*(client.ask(each, request_id=f"caller-{i}") for i, each in enumerate(data)))
            ids = [pb.ModelInferResponse.FromString(reply).id for _, reply in replies]
            assert ids == [str(i) for i in range(60)]
        assert sum(joined) >= 120
        assert counted(app)["200"] == 180

    run(models, act)


def test_a_client_that_leaves_takes_its_call_along(tmp_path, joined):
    write_slow_model(tmp_path, multiplications=12)

    async def act(app, client):
        quick, model, busy = await kept_busy(app, client)
        before = sum(joined)
        calls = [client.channel.unary_unary(INFER)(quick) for _ in range(10)]
        await until(lambda: sum(joined) == before + 10)
        for call in calls:
            call.cancel()
        await until(lambda: counted(app)["499"] == 10)
        assert (await busy)[0] is grpc.StatusCode.OK
        await until(lambda: not model.admission.rows and not model.leases.in_use)
        assert (await client.ask(quick))[0] is grpc.StatusCode.OK

    run(tmp_path, act)


def test_calls_that_do_not_fit_the_queue_are_refused(tmp_path, joined):
    write_slow_model(tmp_path, multiplications=12)
    (tmp_path / "slow" / "serving.json").write_text('{"batching": {"max_queue_rows": 4, "max_queue_s": 3600}}')

    async def act(app, client):
        quick, _, busy = await kept_busy(app, client)
        replies = await asyncio.gather(*(client.ask(quick) for _ in range(12)))
        assert Counter(code for code, _ in replies)[grpc.StatusCode.RESOURCE_EXHAUSTED] == 8
        assert (await busy)[0] is grpc.StatusCode.OK

    run(tmp_path, act)


def test_a_new_version_answers_from_its_load_on(tmp_path, joined):
    write_brightness_model(tmp_path)

    async def act(app, client):
        data = message(bytes([120]) * SIDE * SIDE).SerializeToString()
        before = {(await client.ask(data))[1] for _ in range(4)}
        write_brightness_model(tmp_path, version=2, bias=20)
        await app.lifecycle.load("brightness")
        after = {(await client.ask(data))[1] for _ in range(4)}
        assert [pb.ModelInferResponse.FromString(each).model_version for each in (*before, *after)] == ["1", "2"]

    run(tmp_path, act)


def test_calls_with_several_instances_are_answered_together(models, joined, monkeypatch):
    monkeypatch.setattr("app.edge.joint.arrivals._QUIET_TURNS", 1_000_000)
    monkeypatch.setattr("app.edge.joint.arrivals._MOST_WAIT_S", 0.01)

    async def act(app, client):
        rng = random.Random(0)
        for sizes in ([1, 2, 3], range(1, 9)):
            sent = [message(pixels(rng) * n, shape=(n, SIDE, SIDE)).SerializeToString() for n in sizes for _ in "12345"]
            for data in sent:
                await client.ask(data)
            joined.clear()
            replies = await asyncio.gather(*map(client.ask, sent))
            assert sum(joined) >= 15
            assert max(joined) > 1
            for data, reply in zip(sent, replies, strict=True):
                assert reply == await client.ask(data, alone=True)

    run(models, act)


def test_what_is_remembered_is_bounded(models, monkeypatch):
    monkeypatch.setattr("app.edge.grpc.plain_messages.MOST_FORMS", 8)
    known = set()
    monkeypatch.setattr(JointCalls, "_learn", _noting(JointCalls._learn, known))

    async def act(app, client):
        tensor = message(bytes(SIDE * SIDE))
        raw = pb.ModelInferRequest(raw_input_contents=tensor.raw_input_contents).SerializeToString()
        del tensor.raw_input_contents[:]
        for count in range(30):
            for length in (1, 2_000):  # of an unknown field, which a parser passes over
                unknown = b"\xa2\x06%b%c" % (bytes([length % 128 + 128, length // 128]), count) + bytes(length - 1)
                code, _ = await client.ask(tensor.SerializeToString() + unknown + raw)
                assert code is grpc.StatusCode.OK
        rows = message(bytes(2 * SIDE * SIDE), shape=(2, SIDE, SIDE)).SerializeToString()
        assert (await client.ask(rows))[0] is grpc.StatusCode.OK
        [messages] = known
        assert 0 < len(messages._forms) <= 8
        assert all(len(rest) < 100 for _, rest in messages._forms)

    run(models, act)


def _noting(learn, known):
    def learn_and_note(self, *arguments):
        known.add(self._known)
        learn(self, *arguments)

    return learn_and_note
