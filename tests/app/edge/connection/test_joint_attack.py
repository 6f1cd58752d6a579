"""Requests of hostile or unusual clients get the reply of the general way when heads are known."""

import asyncio
import gc
import json
import re
import time
import weakref
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import simdjson
from onnx import helper

from app.contract.golden import Golden
from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.edge.connection.rules import Phase
from tests.support.fakes import until
from tests.support.joint_requests import BRIGHTNESS, JSON, OCTETS, joined, message, v2_binary, without_changes
from tests.support.joint_requests import run as run_service
from tests.support.tiny_models import (
    OPSET,
    SIDE,
    _graph,
    write_brightness_model,
    write_fragile_model,
    write_rule_model,
    write_slow_model,
    write_types_model,
    write_version,
)

PIXELS = bytes([120]) * SIDE * SIDE


def run(models, act):
    """``act`` with a service; its connections are closed at the end, also of a test that fails."""

    async def closing(app, port):
        try:
            return await act(app, port)
        finally:
            for line in Line.opened:
                line.writer.close()
            Line.opened.clear()

    return run_service(models, closing)


class Line:
    """One connection."""

    opened: ClassVar[list] = []

    def __init__(self, port):
        self._port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.opened.append(self)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def send(self, *packets, pause_s=0.005):
        for packet in packets:
            self.writer.write(packet)
            await asyncio.sleep(pause_s)

    async def reply(self, seconds=5):
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), seconds)
        length = int(re.search(rb"\ncontent-length: (\d+)", head)[1])
        return head + await asyncio.wait_for(self.reader.readexactly(length), seconds)

    async def rest(self, seconds=0.3):
        """All further bytes within some time."""
        parts = []
        try:
            async with asyncio.timeout(seconds):
                while part := await self.reader.read(65536):
                    parts.append(part)
        except TimeoutError:
            pass
        return b"".join(parts)

    async def ask(self, *packets):
        await self.send(*packets)
        return await self.reply()


def code(reply):
    return int(reply[9:12])


# 1. The cache of heads


def test_the_start_of_a_head_is_not_learned_as_a_head(tmp_path):
    """A packet without an empty line has no head: find gives -1, so its first 3 bytes were taken for one."""
    write_brightness_model(tmp_path)
    write_rule_model(tmp_path)

    async def act(app, port):
        # The first 19 bytes are a packet; what follows "POS" is also the body, of 16 bytes.
        start = b"POST /v1/models/bri"
        sent = message(BRIGHTNESS, start[3:], OCTETS)
        async with Line(port) as hostile:
            for _ in range(3):
                assert code(await hostile.ask(sent[:19], sent[19:])) == 200
        victim_request = message("/v1/models/rule:predict", b'{"instances": [[1.0]]}', JSON)
        async with Line(port) as victim:
            await victim.send(victim_request[:19], victim_request[19:])
            reply = await victim.reply()
        assert code(reply) == 200
        assert b'{"predictions":[[1.0]]}' in reply

    run(tmp_path, act)


def test_empty_lines_before_a_head_are_not_learned_as_a_head(tmp_path):
    write_brightness_model(tmp_path)
    write_rule_model(tmp_path)

    async def act(app, port):
        start = b"POST /v1/models/"  # 16 bytes
        sent = b"\r\n\r\n" + message(BRIGHTNESS, start, OCTETS)
        async with Line(port) as hostile:
            for _ in range(3):
                assert code(await hostile.ask(sent[:20], sent[20:])) == 200
        victim_request = b"\r\n\r\n" + message("/v1/models/rule:predict", b'{"instances": [[1.0]]}', JSON)
        async with Line(port) as victim:
            await victim.send(victim_request[:20], victim_request[20:])
            reply = await victim.reply()
        assert b'{"predictions":[[1.0]]}' in reply

    run(tmp_path, act)


def test_a_head_with_a_chunked_body_is_not_learned(tmp_path):
    """Of a second such request, a part of the chunks was taken for the body, and the rest for the next request."""
    write_brightness_model(tmp_path)

    async def act(app, port):
        head = (
            b"POST /v1/models/brightness:predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        whole = b"10\r\n" + PIXELS + b"\r\n0\r\n\r\n"
        async with Line(port) as line:
            replies = [await line.ask(head, whole) for _ in range(3)]
            assert {code(reply) for reply in replies} == {200}
            first = b"b\r\n" + PIXELS[:11] + b"\r\n"  # a chunk of 16 bytes with its framing
            assert len(first) == 16
            hidden = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
            second = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
            await line.send(head, first)
            early = await line.rest(0.1)
            await line.send(second)
            rest = early + await line.rest()
        assert early == b"", "answered before the body was complete"
        assert rest.count(b"HTTP/1.1 ") == 1

    run(tmp_path, act)


def test_a_request_of_an_unknown_content_type_gets_one_reply(tmp_path, caplog):
    write_rule_model(tmp_path)

    async def act(app, port):
        sent = message("/v1/models/rule:predict", b"<x>1</x>", {"Content-Type": "text/xml"})
        async with Line(port) as line:
            for _ in range(4):
                await line.send(sent)
                replies = await line.rest(0.1)
                assert re.findall(rb"HTTP/1.1 (\d+)", replies) == [b"400"]

    run(tmp_path, act)


@pytest.mark.parametrize(
    "sent",
    [
        message(BRIGHTNESS, PIXELS, {**OCTETS, **header}, more=header)
        for header in ({"Inference-Header-Content-Length": "abc"}, {"Content-Length": "16".rjust(45, "0")})
    ]
    + [
        message("/v1/models/rule:predict", b'{"instances":%b[[1.0]]}' % space, JSON)
        for space in (b"\x0b", b"\x0c")  # no white space in JSON
    ],
    ids=["a length that is no number", "a length of 45 digits", "a vertical tab", "a form feed"],
)
def test_what_is_refused_is_refused_every_time(tmp_path, sent):
    write_brightness_model(tmp_path)
    write_rule_model(tmp_path)

    async def act(app, port):
        async with Line(port) as line:
            assert [code(await line.ask(sent)) for _ in range(4)] == [400] * 4

    run(tmp_path, act)


def test_a_negative_length_of_the_json_is_refused_every_time(tmp_path):
    write_brightness_model(tmp_path)

    async def act(app, port):
        path, body, good = v2_binary(1, PIXELS)
        async with Line(port) as line:
            assert code(await line.ask(message(path, body, good))) == 200
            sent = message(path, body, {"Inference-Header-Content-Length": -SIDE * SIDE})
            assert [code(await line.ask(sent)) for _ in range(4)] == [400] * 4

    run(tmp_path, act)


def test_the_data_are_those_of_the_input_and_not_of_another_member(tmp_path):
    """The name of the input's data may be written with escapes, so another member may be the only ``"data"``."""
    write_rule_model(tmp_path)

    async def act(app, port):
        body = b'{"data":[[5.0]],"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","\\u0064ata":[1.0]}]}'
        sent = message("/v2/models/rule/infer", body, JSON)
        async with Line(port) as line:
            replies = {without_changes(await line.ask(sent))[2] for _ in range(4)}
        assert len(replies) == 1, replies
        assert b"[1.0]" in replies.pop()

    run(tmp_path, act)


def test_nested_and_flat_data_are_two_forms(tmp_path):
    write_brightness_model(tmp_path)

    async def act(app, port):
        rows = np.frombuffer(PIXELS, np.uint8).reshape(1, SIDE, SIDE)

        def sent(data):
            tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE], "data": data}
            return message("/v2/models/brightness/infer", json.dumps({"inputs": [tensor]}).encode(), JSON)

        sizes = joined(app)
        async with Line(port) as line:
            for data in (rows.ravel().tolist(), rows.tolist()):
                for _ in range(4):
                    assert code(await line.ask(sent(data))) == 200
        assert len(sizes) == 4  # the third and fourth request of each

    run(tmp_path, act)


def test_a_reply_that_the_general_way_compresses_is_compressed(tmp_path):
    name = "n" * 256
    names = [f"{i}{name}"[:256] for i in range(8)]
    spec = ModelSpec(
        name="many",
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1,)),),
        outputs=tuple(TensorSpec(name=each, dtype="float32", shape=(1,)) for each in names),
        opset=OPSET,
        trained_on="nothing",
    )
    x = np.linspace(-3, 3, 64, dtype=np.float32)[:, None]
    golden = Golden(inputs={"x": x}, outputs=dict.fromkeys(names, x), tolerance={"default": 0})
    nodes = [helper.make_node("Identity", ["x"], [each]) for each in names]
    write_version(tmp_path, 1, spec, _graph(spec, nodes, {}), golden)

    async def act(app, port):
        sent = message("/v1/models/many:predict", b'{"instances": [[1.0]]}', {**JSON, "Accept-Encoding": "gzip"})
        async with Line(port) as line:
            replies = [await line.ask(sent) for _ in range(4)]
        assert [b"content-encoding: gzip" in reply for reply in replies] == [True] * 4

    run(tmp_path, act)


# 2. Rows of several types


@pytest.mark.parametrize("dtype", ["bool", "float16", "int64", "uint64", "int8", "float64", "float32"])
def test_all_types_are_printed_as_in_the_general_way(tmp_path, dtype, caplog):
    write_types_model(tmp_path, types=(dtype,))
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    texts = {
        "b": ["[true,false]", "[1,0]", "[1.0,0]", "[0,0]", "[2,0]"],
        "f": ["[1,2]", "[0.1,-0.0]", "[-0,1e3]", "[9007199254740993,1]", "[1e-7,3]", "[16777217,2.5]", "[65504,1]"],
        "i": [
            "[1,2]",
            "[1.0,2]",
            "[-9223372036854775808,9223372036854775807]",
            "[1.5,2]",
            "[9007199254740993,1]",
            "[9.007199254740993e15,1]",
            "[-0,-0.0]",
            "[127,-128]",
        ],
        "u": [
            "[1,2]",
            "[1.0,2]",
            "[18446744073709551615,0]",
            "[9223372036854775808,1]",
            "[-0,1]",
            "[-1,1]",
            "[9007199254740993,1.0]",
        ],
    }[kind.kind]

    async def act(app, port):
        sizes = joined(app)
        requests = [("/v1/models/types:predict", b'{"instances": [%b]}' % text.encode(), JSON) for text in texts]
        for text in texts:
            tensor = {
                "name": f"in_{dtype}",
                "shape": [1, 2],
                "datatype": app.registry.loaded()[0].spec.inputs[0].oip_datatype,
            }
            requests.append(
                (
                    "/v2/models/types/infer",
                    (json.dumps({"inputs": [tensor]})[:-3] + f', "data": {text}}}]}}').encode(),
                    JSON,
                )
            )
            head = json.dumps(
                {
                    "inputs": [{**tensor, "parameters": {"binary_data_size": 2 * kind.itemsize}}],
                    "parameters": {"binary_data_output": True},
                }
            ).encode()
            raw = rng.bytes(2 * kind.itemsize)
            requests.append(("/v2/models/types/infer", head + raw, {"Inference-Header-Content-Length": len(head)}))
            requests.append(("/v1/models/types:predict", raw, OCTETS))
        async with Line(port) as alone:
            expected = [
                without_changes(await alone.ask(message(*each, more={"X-Request-ID": "7"}))) for each in requests
            ]
        # Bodies of the same length share heads; the others are learned one by one.
        lines = [await Line(port).__aenter__() for _ in requests]
        for _ in range(4):
            for line, each in zip(lines, requests, strict=True):
                line.writer.write(message(*each))
            replies = [without_changes(await line.reply()) for line in lines]
            for each, got, want in zip(requests, replies, expected, strict=True):
                assert got == want, each
        for line in lines:
            await line.__aexit__()
        assert max(sizes) > 1

    run(tmp_path, act)
    assert not [
        r for r in caplog.records if "a joint request" in r.getMessage() or "replies to a joint" in r.getMessage()
    ]


# 3. Overload, time and slow clients


def slow_models(directory, **batching):
    write_slow_model(directory, multiplications=12)
    (directory / "slow" / "serving.json").write_text(json.dumps({"batching": batching}))


SLOW = "/v1/models/slow:predict"


def ask_slow(value, *, more=()):
    return message(SLOW, b'{"instances": [%d]}' % value, JSON, more=more)


def split(sent):
    at = sent.index(b"\r\n\r\n") + 4
    return sent[:at], sent[at:]


async def known(port, *requests):
    """Have the heads of requests known."""
    async with Line(port) as line:
        for sent in requests:
            for _ in range(3):
                assert code(await line.ask(sent)) == 200


async def busy(app, port):
    """A line whose request runs in the thread of the only instance, for seconds."""
    [model] = app.registry.loaded()
    line = await Line(port).__aenter__()
    await line.send(ask_slow(1, more={"X-Request-ID": "1"}))  # from now on, batches are expected to take long
    await line.reply(60)
    await line.send(ask_slow(1, more={"X-Request-ID": "2"}))
    await until(lambda: not model.batcher.instances.free)
    return line, model


def test_requests_that_do_not_fit_are_all_answered_though_the_time_of_one_is_over(tmp_path):
    """A part of a joint request may fail with DeadlineExceeded, which is no ``Unavailable``."""
    slow_models(tmp_path, max_queue_s=3600, max_batch_size=4, max_queue_rows=6, default_timeout_ms=20_000)

    async def act(app, port):
        spaced = message(SLOW, b'{"instances":  [0]}', JSON)  # another form
        await known(port, ask_slow(0), spaced)
        first, _ = await busy(app, port)
        app.connections._sweeping.cancel()  # it would have the parser wait for the body
        lines = [await Line(port).__aenter__() for _ in range(7)]
        stale = lines[0]
        head, body = split(ask_slow(0))
        await stale.send(head)
        await asyncio.sleep(0.1)
        [connection] = [each for each in app.connections._open if each._awaited is not None]
        connection._began -= 21  # as if it had waited for so long
        for line, part in zip(lines, [body, ask_slow(0), ask_slow(0), *[spaced] * 4], strict=True):
            line.writer.write(part)
        replies = await asyncio.gather(*(line.reply(30) for line in lines), return_exceptions=True)
        for line in (*lines, first):
            await line.__aexit__()
        assert [each for each in replies if isinstance(each, BaseException)] == []

    run(tmp_path, act)


def test_a_slow_client_does_not_have_the_requests_of_others_refused(tmp_path):
    """The time of a joint request counts from its first one, so the others are refused with it."""
    slow_models(tmp_path, max_queue_s=3600, max_batch_size=4, max_queue_rows=100, default_timeout_ms=20_000)

    async def act(app, port):
        await known(port, ask_slow(0))
        first, model = await busy(app, port)
        app.connections._sweeping.cancel()
        lines = [await Line(port).__aenter__() for _ in range(4)]
        stale = lines[0]
        head, body = split(ask_slow(0))
        await stale.send(head)
        await asyncio.sleep(0.05)
        [connection] = [each for each in app.connections._open if each._awaited is not None]
        left_s = model.batcher.instances.seconds_until_free(time.monotonic())
        connection._began -= 20 - left_s  # nearly all of its time is over
        for line, part in zip(lines, [body, *[ask_slow(0)] * 3], strict=True):
            line.writer.write(part)
        replies = await asyncio.gather(*(line.reply(30) for line in lines))
        for line in (*lines, first):
            await line.__aexit__()
        assert [code(each) for each in replies[1:]] == [200] * 3

    run(tmp_path, act)


def refused_count(app, model):
    counts = app.dispatch.joining._observer.for_version(model.name, model.version)
    return sum(count for (_, status), count in counts.requests.items() if status == 429)


def test_a_refusal_is_counted_once(tmp_path):
    slow_models(tmp_path, max_queue_s=3600, max_batch_size=1, max_queue_rows=1)

    async def act(app, port):
        await known(port, ask_slow(0))
        first, model = await busy(app, port)
        waiting = await Line(port).__aenter__()
        await waiting.send(ask_slow(0))
        assert model.admission.rows == 1
        before = refused_count(app, model)
        async with Line(port) as line:
            head, body = split(ask_slow(0))
            await line.send(head)
            await line.send(body)
            assert code(await line.reply()) == 429
        assert refused_count(app, model) - before == 1
        for each in (first, waiting):
            await each.__aexit__()

    run(tmp_path, act)


def test_an_early_refusal_keeps_the_connection_open_and_restarts_its_time(tmp_path):
    slow_models(tmp_path, max_queue_s=3600, max_batch_size=1, max_queue_rows=1)

    async def act(app, port):
        await known(port, ask_slow(0))
        first, model = await busy(app, port)
        waiting = await Line(port).__aenter__()
        await waiting.send(ask_slow(0))
        assert model.admission.rows == 1
        replies = []
        for sent in (ask_slow(0), ask_slow(0, more={"X-Other": "1"})):  # known, and not
            async with Line(port) as line:
                replies.append(await line.ask(sent))
        for each in (first, waiting):
            await each.__aexit__()
        assert without_changes(replies[0]) == without_changes(replies[1])

    run(tmp_path, act)


def test_a_connection_that_is_refused_again_and_again_is_not_idle(tmp_path):
    slow_models(tmp_path, max_queue_s=3600, max_batch_size=1, max_queue_rows=1)

    async def act(app, port):
        await known(port, ask_slow(0))
        async with Line(port) as line:
            await line.ask(ask_slow(0))
            first, _ = await busy(app, port)
            waiting = await Line(port).__aenter__()
            await waiting.send(ask_slow(0))
            [connection] = [
                each for each in app.connections._open if each.client[1] == line.writer.get_extra_info("sockname")[1]
            ]
            connection._since -= 4  # as if it had been idle for 4 s
            before = connection._since
            assert code(await line.ask(ask_slow(0))) == 429
            since = connection._since
        for each in (first, waiting):
            await each.__aexit__()
        assert since > before + 3.9

    run(tmp_path, act)


def test_a_connection_closed_before_its_answer_is_freed_without_the_garbage_collector(tmp_path, monkeypatch):
    monkeypatch.setattr("app.wiring.housekeeping.gc.collect", lambda *_: 0)
    slow_models(tmp_path, max_queue_s=3600, max_batch_size=4, max_queue_rows=6)

    async def act(app, port):
        await known(port, ask_slow(0))
        first, _ = await busy(app, port)
        gc.collect()
        gc.disable()
        try:
            async with Line(port) as line:
                await line.send(ask_slow(0))
                [connection] = [
                    each
                    for each in app.connections._open
                    if each.client[1] == line.writer.get_extra_info("sockname")[1]
                ]
                alive = weakref.ref(connection)
                assert type(connection._running).__name__ == "PlainRequest"
                del connection
                await asyncio.sleep(0.15)  # a client that closes at once only sends nothing more
            await until(lambda: len(app.connections._open) == 1)
            await first.reply(60)
            await until(lambda: alive() is None)
        finally:
            gc.enable()
            await first.__aexit__()

    run(tmp_path, act)


def test_a_refused_connection_whose_head_was_known_closes_after_one_reply(tmp_path):
    """Its body had to wait for a turn and did not fit the budget; the sweep then parses the head again."""
    write_rule_model(tmp_path)

    async def act(app, port):
        sent = message("/v1/models/rule:predict", b'{"instances": [[1.0]]}', JSON)
        await known(port, sent)
        head, body = split(sent)
        async with Line(port) as line:
            await line.send(head)
            [connection] = [
                each for each in app.connections._open if each.client[1] == line.writer.get_extra_info("sockname")[1]
            ]
            assert connection._awaited is not None
            bodies, turns = app.connections.bodies, app.connections.turns
            free = bodies.limit_bytes - bodies.held_bytes
            bodies.take(free)
            must_wait, turns.must_wait = turns.must_wait, lambda *_: True
            await line.send(body)
            turns.must_wait = must_wait
            bodies.release(free)
            assert code(await line.reply()) == 503
            connection = weakref.ref(connection)
            await asyncio.sleep(1.5)
            if connection() is not None and connection()._phase is Phase.HEAD:
                connection()._since -= 100  # as if the time for a head were over
            await asyncio.sleep(2.5)
            assert connection() is None or connection() not in app.connections._open

    run(tmp_path, act)


@pytest.mark.parametrize("body", [b'{"instances": [[1.0]]}', b'{"instances":[[1.0] ]}'], ids=["plain", "not plain"])
def test_the_time_of_a_request_counts_from_its_head(tmp_path, body):
    """Its body comes 0.2 s later; its timeout, its seconds and the stage "read" count from the head on."""
    write_rule_model(tmp_path)

    async def act(app, port):
        sent = message("/v1/models/rule:predict", b'{"instances": [[1.0]]}', JSON)
        await known(port, sent)
        app.connections._sweeping.cancel()
        head, _ = split(sent)
        async with Line(port) as line:
            await line.send(head, pause_s=0.2)
            reply = await line.ask(body)
        assert code(reply) == 200
        assert float(re.search(rb"read;dur=([0-9.]+)", reply)[1]) > 150

    run(tmp_path, act)


def test_a_canary_that_starts_meanwhile_gets_the_requests_of_its_users(tmp_path, monkeypatch):
    """A request that is answered alone in the end has lost the header that decides."""
    write_fragile_model(tmp_path)

    async def act(app, port):
        keys = []

        class Canary:
            splits, sticky_header = True, "x-user"

            def choose(self, key):
                keys.append(key)
                return app.registry.default("fragile")

            def __getattr__(self, _):
                return lambda *_: None

        def sent(number):
            return message("/v1/models/fragile:predict", b'{"instances": [%2d]}' % number, {**JSON, "X-User": "anna"})

        await known(port, sent(3))
        joining = app.dispatch.joining
        begin = joining._begin

        def starting(joint):
            app.registry._rollouts["fragile"] = Canary()
            begin(joint)

        monkeypatch.setattr(joining, "_begin", starting)
        lines = [await Line(port).__aenter__() for _ in range(2)]
        for line, number in zip(lines, (10, 11), strict=True):  # both fail, so both are answered alone
            line.writer.write(sent(number))
        await asyncio.gather(*(line.reply() for line in lines))
        app.registry._rollouts.clear()
        assert keys
        assert set(keys) == {b"anna"}

    run(tmp_path, act)


# 4. Memory and time of what is learned


def test_a_form_does_not_keep_the_document_it_was_learned_from(tmp_path):
    """Its plan keeps the data of the input, and so the parser with its buffers: 8 to 16 bytes for each of the body."""
    write_rule_model(tmp_path)

    async def act(app, port):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
        sent = message("/v2/models/rule/infer", json.dumps({"inputs": [tensor]}).encode(), JSON)
        await known(port, sent)
        [known_head] = app.connections.heads._known.values()
        held = [known_head.forms[0]]
        for _ in range(5):
            held += [each for each in gc.get_referents(*held) if not isinstance(each, type | ModuleType)]
            held = list({id(each): each for each in held}.values())
        assert not any(isinstance(each, simdjson.Array) for each in held)

    run(tmp_path, act)


def test_a_short_body_is_not_compared_with_all_numbers_of_a_large_instance(tmp_path, monkeypatch):
    """The text of a nesting takes time and memory in proportion to the instance: 0.2 s for 1024 x 1024 x 3, flat."""
    shape = (64, 64)
    spec = ModelSpec(
        name="large",
        inputs=(TensorSpec(name="x", dtype="float32", shape=shape),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1,)),),
        opset=OPSET,
        trained_on="nothing",
    )
    x = np.random.default_rng(0).random((64, *shape)).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("ReduceMax", ["flat"], ["y"], axes=[1], keepdims=1),
    ]
    golden = Golden(inputs={"x": x}, outputs={"y": x.reshape(64, -1).max(1, keepdims=True)}, tolerance={"default": 0})
    write_version(tmp_path, 1, spec, _graph(spec, nodes, {}), golden)
    sizes = []
    for module in ("row_forms", "oip_row_forms"):
        name = f"app.edge.joint.{module}.nesting_of"
        nesting_of = __import__(f"app.edge.joint.{module}", fromlist=["nesting_of"]).nesting_of
        monkeypatch.setattr(name, lambda shape, make=nesting_of: sizes.append(int(np.prod(shape))) or make(shape))

    async def act(app, port):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, *shape], "data": [1.0]}
        infer = message("/v2/models/large/infer", json.dumps({"inputs": [tensor]}).encode(), JSON)
        predict = message("/v1/models/large:predict", b'{"instances": [1]}', JSON)
        async with Line(port) as line:
            for sent in (infer, predict):
                for _ in range(2):
                    assert code(await line.ask(sent)) == 400
        assert [size for size in sizes if size > 200] == []

    run(tmp_path, act)


# 5. What was attacked in vain


def test_nan_and_infinity_of_one_request_do_not_change_the_replies_to_others(tmp_path):
    write_rule_model(tmp_path, finite=False)

    async def act(app, port):
        sizes = joined(app)
        bodies = [np.float32(each).tobytes() for each in (1.5, np.nan, np.inf, -np.inf, 3e38, -0.0, 1e-45, 2)]
        requests = [("/v1/models/rule:predict", body, OCTETS) for body in bodies]
        for body in bodies:
            tensor = {"name": "x", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}
            for binary in (True, False):
                head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": binary}}).encode()
                requests.append(("/v2/models/rule/infer", head + body, {"Inference-Header-Content-Length": len(head)}))
        async with Line(port) as alone:
            expected = [
                without_changes(await alone.ask(message(*each, more={"X-Request-ID": "7"}))) for each in requests
            ]
        lines = [await Line(port).__aenter__() for _ in requests]
        for _ in range(4):
            for line, each in zip(lines, requests, strict=True):
                line.writer.write(message(*each))
            assert [without_changes(await line.reply()) for line in lines] == expected
        assert max(sizes) > 1

    run(tmp_path, act)
