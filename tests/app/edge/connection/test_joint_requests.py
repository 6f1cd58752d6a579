"""Requests that are answered together get the same replies, byte by byte, as each of them gets by itself."""

import asyncio
import io
import json
import random
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tests.support.fakes import until
from tests.support.joint_requests import (
    BRIGHTNESS,
    JSON,
    OCTETS,
    forms_joined,
    joined,
    message,
    run,
    v2_binary,
    without_changes,
)
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_fragile_model,
    write_rule_model,
    write_slow_model,
    write_words_model,
)

WAYS = ["whole"] * 8 + ["head first"] * 4 + ["split", "twice", "with a health check", "before nonsense", "left"]
CONNECTIONS, REQUESTS_EACH = 16, 25


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def some_text(rng):
    words = ["good", "bad", "film", "unknown", "\u00e9t\u00e9", "\U0001f600", '"quoted"', "a\\b", "<br />", "Good!"]
    return " ".join(rng.choices(words, k=rng.choice([1, 2, 3, 5, 8, 13, 40])))


def several(rng, kind=None):
    """A request with several instances, or with one; some of them are wrong."""
    count = rng.choice([1, 2, 2, 3, 3, 8, 9, 70])
    pixels = np.frombuffer(rng.randbytes(count * SIDE * SIDE), np.uint8).reshape(count, SIDE, SIDE)
    kind = kind or rng.choice(["bytes", "classes", "JSON", "V2", "V2 JSON", "wrong", "fragile", "rule", "compressed"])
    if kind == "bytes":
        return BRIGHTNESS, pixels.tobytes(), OCTETS
    if kind == "classes":
        return f"/v1/models/brightness:{rng.choice(['classify', 'classify?top_k=1'])}", pixels.tobytes(), OCTETS
    if kind == "V2":
        return v2_binary(count, pixels.tobytes())
    if kind == "V2 JSON":
        data = (100 + pixels // 2).tolist() if rng.random() < 0.5 else (100 + pixels.reshape(-1) // 2).tolist()
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [count, SIDE, SIDE], "data": data}
        return "/v2/models/brightness/infer", json.dumps({"inputs": [tensor]}).encode(), JSON
    if kind == "fragile":
        data = [rng.randrange(13 if rng.random() < 0.2 else 10) for _ in range(count)]
        return "/v1/models/fragile:predict", json.dumps({"instances": data}).encode(), JSON
    if kind == "rule":
        numbers = [[rng.choice([b"1", b"2.5", b"-7", b"", b"1e39"][: rng.choice([3, 3, 3, 5])])] for _ in range(count)]
        body = b",".join(b"[%b]" % number for [number] in numbers)
        return "/v1/models/rule:predict", b'{"instances": [%b]}' % body, JSON
    body = json.dumps({"instances": pixels.tolist()})
    if kind == "wrong":
        wrong = rng.choice(["300", "-1", "1.5", "", "[1]", "1],[1", "NaN", "]"])
        body = re.sub(r"\d+", lambda found: wrong if rng.random() < 0.1 else found[0], body, count=rng.randrange(40))
    more = {"Accept-Encoding": "gzip"} if kind == "compressed" else {}
    return BRIGHTNESS, body.encode(), {**JSON, **more}


def some_request(rng, kind=None):
    """A request: path, body, headers."""
    pixels = np.frombuffer(rng.randbytes(SIDE * SIDE), np.uint8).reshape(SIDE, SIDE)
    kind = kind or rng.choice(
        ["bytes"] * 5
        + ["JSON"] * 5
        + ["V2"] * 5
        + ["image"] * 8
        + ["V2 JSON"] * 3
        + ["text", "text JSON"] * 4
        + ["wrong text", "wrong text JSON"]
        + ["wrong bytes", "wrong JSON", "two rows", "floats", "fragile", "wrong image", "classes of bytes"] * 2
        + ["rule", "rule", "not a number", "V2 with an id", "wrong V2", "columns", "twins"]
        + ["several"] * 8
    )
    if kind.startswith("several"):
        return several(rng, kind[len("several ") :])
    rows = pixels.tolist()
    verb = rng.choice(["classify"] * 6 + ["predict", "classify?top_k=1", "classify?top_k=3"])
    if kind == "image":
        return f"/v1/models/brightness:{verb}", png(pixels), rng.choice([{"Content-Type": "image/png"}] * 5 + [{}])
    if kind == "wrong image":
        data = bytearray(png(pixels if rng.random() < 0.5 else np.concatenate([pixels, pixels])))
        data[rng.randrange(len(data))] = rng.randrange(256)
        return f"/v1/models/brightness:{verb}", bytes(data), {"Content-Type": "image/png"}
    if kind == "classes of bytes":
        return f"/v1/models/brightness:{verb}", pixels.tobytes(), OCTETS
    if kind == "text":
        path = f"/v1/models/words:{verb}"
        return path, some_text(rng).encode(), rng.choice([{"Content-Type": "text/plain"}] * 5 + [{}])
    if kind == "wrong text":
        data = rng.choice([b"", b" \n", b"\xff", b'{"instances": ["good"]}', b"text=good", b"x " * 60_000])
        return "/v1/models/words:classify", data, rng.choice([{"Content-Type": "text/plain"}, {}])
    if kind == "text JSON":
        document = {"instances": [some_text(rng)]}
        return "/v1/models/words:predict", json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(), JSON
    if kind == "wrong text JSON":
        text = rng.choice(
            [
                '"a\\"',
                '","good"',
                '"a" : "b"',
                '"a", "b"',
                '"\\ud800"',
                '"\\u0000"',
                '"\x01"',
                '""',
                '" "',
                '"',
                "5",
                "null",
            ]
        )
        return "/v1/models/words:predict", b'{"instances": [%b]}' % text.encode(), JSON
    if kind == "bytes":
        return BRIGHTNESS, pixels.tobytes(), OCTETS
    if kind == "JSON":
        return BRIGHTNESS, json.dumps({"instances": [rows]}, separators=rng.choice([None, (",", ":")])).encode(), JSON
    if kind == "V2":
        return v2_binary(1, pixels.tobytes())
    if kind == "wrong bytes":
        return BRIGHTNESS, pixels.tobytes()[:-1], OCTETS
    if kind == "wrong JSON":
        text = json.dumps({"instances": [rows]})
        at = text.index(str(rows[1][2]), text.index("[", 20))
        wrong = rng.choice(
            ["300", "-1", "1.5", "1e400", "-", "1 2", "", "null", "NaN", '"1"', "1e1", "[1]", "0x1", "1."]
        )
        return BRIGHTNESS, (text[:at] + wrong + text[at + len(str(rows[1][2])) :]).encode(), JSON
    if kind == "two rows":
        return BRIGHTNESS, json.dumps({"instances": [rows, rows]}).encode(), JSON
    if kind == "floats":
        return BRIGHTNESS, json.dumps({"instances": [(pixels / 1.0).tolist()]}).encode(), JSON
    if kind == "fragile":
        return "/v1/models/fragile:predict", json.dumps({"instances": [rng.randrange(13)]}).encode(), JSON
    if kind == "rule":
        number = rng.choice(
            [rng.uniform(-5, 5), rng.randrange(-(2**62), 2**62), 2**63 + 2**40 + 1, 16777217, -0.0, 3e38]
        )
        return "/v1/models/rule:predict", json.dumps({"instances": [[number]]}).encode(), JSON
    if kind == "not a number":
        return "/v1/models/rule:predict", b'{"instances": [[%b]]}' % rng.choice([b"NaN", b"1e39", b"-Infinity"]), JSON
    if kind == "V2 with an id":
        return v2_binary(1, pixels.tobytes(), id=str(rng.randrange(3)))
    if kind == "V2 JSON":
        data = (100 + pixels.reshape(-1) // 2).tolist() if rng.random() < 0.8 else rows  # of equal length, or not
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE], "data": data}
        return "/v2/models/brightness/infer", json.dumps({"inputs": [tensor]}).encode(), JSON
    if kind == "wrong V2":
        return v2_binary(1, pixels.tobytes() + b"1" * rng.randrange(2), parameters={"binary_data_output": False})
    if kind == "columns":
        return BRIGHTNESS, json.dumps({"inputs": [rows]}).encode(), JSON
    return BRIGHTNESS, json.dumps({"instances": [rows], "instancee": [rows]}).encode(), JSON


class Client:
    """One connection that keeps open."""

    def __init__(self, port, rng):
        self._port, self._rng = port, rng
        self._reader = self._writer = None
        self.ways = WAYS

    async def ask(self, request, *, alone=False):
        """The reply to a request, sent in one of several ways."""
        more = {"X-Request-ID": "7"} if alone else {}
        sent = message(*request, more=more)
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        way = "whole" if alone else self._rng.choice(self.ways)
        if way == "left":
            self._writer.write(sent)
            await asyncio.sleep(self._rng.choice([0, 0.002]))
            await self.close()
            return await self.ask(request, alone=alone)
        if way in {"split", "head first"}:
            at = self._rng.randrange(1, len(sent)) if way == "split" else sent.index(b"\r\n\r\n") + 4
            self._writer.write(sent[:at])
            await asyncio.sleep(0.002)
            self._writer.write(sent[at:])
        elif way == "twice":
            self._writer.write(sent)
            await asyncio.sleep(self._rng.choice([0, 0.001]))
            self._writer.write(sent)
            assert without_changes(await self._reply()) is not None
            if self._writer is None:
                return await self.ask(request, alone=alone)
        elif way == "with a health check":
            self._writer.write(sent + b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = await self._reply()
            assert self._writer is None or b" 200 " in await self._reply()
            return reply
        elif way == "before nonsense":
            self._writer.write(sent)
            await asyncio.sleep(self._rng.choice([0, 0.001]))
            self._writer.write(b"\x00nonsense\r\n\r\n")
            reply = await self._reply()
            assert self._writer is None or b" 400 " in await self._reply()
            return reply.replace(b"connection: close\r\n", b"")
        else:
            self._writer.write(sent)
        return await self._reply()

    async def _reply(self):
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 30)
        length = int(re.search(rb"\ncontent-length: (\d+)", head)[1])
        body = await self._reader.readexactly(length)
        if b"connection: close" in head:
            await self.close()
        return head + body

    async def close(self):
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    write_fragile_model(directory)
    write_rule_model(directory)
    write_words_model(directory)
    buckets = {"batching": {"length_buckets": [2, 5, 16]}}
    (directory / "words" / "serving.json").write_text(json.dumps(buckets))
    return directory


@pytest.mark.parametrize("seed", range(3))
def test_requests_of_all_kinds_at_once_get_the_replies_that_each_gets_by_itself(models, seed):
    async def act(app, port):
        sizes = joined(app)

        async def client(number):
            rng = random.Random(f"{seed} {number}")
            line, alone = Client(port, rng), Client(port, rng)
            pairs = []
            for _ in range(REQUESTS_EACH):
                request = some_request(rng)
                pairs.append((request, await line.ask(request)))
            await line.close()
            for request, reply in pairs:
                expected = await alone.ask(request, alone=True)
                assert without_changes(reply) == without_changes(expected), request
            await alone.close()
            return Counter(without_changes(reply)[0] for _, reply in pairs)

        codes = sum(await asyncio.gather(*map(client, range(CONNECTIONS))), Counter())
        assert set(codes) >= {b"200", b"400", b"500"}
        assert sum(sizes) > CONNECTIONS * REQUESTS_EACH / 8
        assert max(sizes) > 1
        assert all(model.admission.rows == 0 and not model.leases.in_use for model in app.registry.loaded())
        assert app.connections.bodies.held_bytes == 0

    run(models, act)


@pytest.mark.parametrize(
    ("kind", "wrong", "form"),
    [
        ("bytes", "wrong bytes", "RawRows"),
        ("classes of bytes", "two rows", "RawRows"),
        ("JSON", "wrong JSON", "JsonRows"),
        ("V2", "wrong V2", "BinaryRows"),
        ("V2 JSON", "fragile", "TensorJsonRows"),
        ("image", "wrong image", "ImageRows"),
        ("text", "wrong text", "TextRows"),
        ("text JSON", "wrong text JSON", "TextJsonRows"),
        ("several bytes", "several wrong", "RawRows"),
        ("several classes", "several wrong", "RawRows"),
        ("several JSON", "several wrong", "JsonRows"),
        ("several rule", "several rule", "JsonRows"),
        ("several fragile", "several fragile", "JsonRows"),
        ("several V2", "several wrong", "BinaryRows"),
        ("several V2 JSON", "several wrong", "TensorJsonRows"),
    ],
)
def test_requests_of_one_form_at_once_get_the_replies_that_each_gets_by_itself(models, kind, wrong, form):
    async def act(app, port):
        forms, rng = forms_joined(app), random.Random(f"{kind} {form}")
        lines, alone = [Client(port, rng) for _ in range(CONNECTIONS)], Client(port, rng)
        for line in lines:
            line.ways = ["whole"]
        for _ in range(REQUESTS_EACH):
            requests = [some_request(rng, wrong if rng.random() < 0.05 else kind) for _ in lines]
            replies = await asyncio.gather(*(line.ask(each) for line, each in zip(lines, requests, strict=True)))
            for request, reply in zip(requests, replies, strict=True):
                expected = await alone.ask(request, alone=True)
                assert without_changes(reply) == without_changes(expected), request
        for line in (*lines, alone):
            await line.close()
        assert form in forms

    run(models, act)


def test_of_requests_that_do_not_fit_the_queue_together_as_many_as_fit_are_answered(tmp_path):
    write_slow_model(tmp_path, multiplications=12)
    batching = {"max_queue_s": 3600, "max_batch_size": 4, "max_queue_rows": 6}
    (tmp_path / "slow" / "serving.json").write_text(json.dumps({"batching": batching}))

    async def act(app, port):
        sizes = joined(app)

        def ask(line, value):
            return line.ask(("/v1/models/slow:predict", b'{"instances": [%d]}' % value, JSON))

        lines = [Client(port, random.Random(0)) for _ in range(13)]
        for line in lines:
            line.ways = ["whole"]
            for _ in range(2):
                assert b" 200 " in await ask(line, 0)
        await ask(lines[0], 1)  # from now on its batches are expected to take long, and run in a thread
        sizes.clear()
        busy = asyncio.create_task(ask(lines[0], 1))
        [model] = app.registry.loaded()
        await until(lambda: not model.batcher.instances.free)
        replies = await asyncio.gather(*(ask(line, 0) for line in lines[1:]))
        codes = Counter(without_changes(reply)[0] for reply in replies)
        assert codes == {b"200": 6, b"429": 6}
        assert all(b"\nretry-after: " in reply for reply in replies if b" 429 " in reply)
        assert sum(sizes) > 6  # more than fit were tried
        assert b" 200 " in await busy
        for line in lines:
            await line.close()

    run(tmp_path, act)


def test_requests_over_new_connections_are_answered_together(models, monkeypatch):
    """The loop accepts one connection in each of its turns."""
    monkeypatch.setattr("app.edge.joint.arrivals._MOST_WAIT_S", 0.05)

    async def act(app, port):
        sent = message(BRIGHTNESS, bytes(SIDE * SIDE), OCTETS, more={"Connection": "close"})

        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            reply = await reader.read()
            writer.close()
            return without_changes(reply)

        for _ in range(3):
            await ask()
        sizes = joined(app)
        replies = await asyncio.gather(*(ask() for _ in range(24)))
        assert {code for code, _, _ in replies} == {b"200"}
        assert len({body for _, _, body in replies}) == 1
        assert sum(sizes) == 24
        assert len(sizes) <= 12

    run(models, act)


def test_requests_with_several_instances_are_computed_together_as_far_as_they_fit_a_batch(models):
    async def act(app, port):
        lines = [Client(port, random.Random(0)) for _ in range(12)]
        for line in lines:
            line.ways = ["whole"]
        rows = bytes(range(SIDE * SIDE))
        for _ in range(3):
            await asyncio.gather(*(line.ask((BRIGHTNESS, 3 * rows, OCTETS)) for line in lines))
        sizes = joined(app)
        replies = await asyncio.gather(*(line.ask((BRIGHTNESS, 3 * rows, OCTETS)) for line in lines))
        assert {len(json.loads(without_changes(reply)[2])["predictions"]) for reply in replies} == {3}
        assert sum(sizes) == 12
        assert max(sizes) == 2  # a batch has 8 instances
        for line in lines:
            await line.close()

    run(models, act)


def test_of_requests_with_several_instances_as_many_as_fit_the_queue_are_answered(tmp_path):
    write_slow_model(tmp_path, multiplications=12)
    batching = {"max_queue_s": 3600, "max_batch_size": 8, "max_queue_rows": 12}
    (tmp_path / "slow" / "serving.json").write_text(json.dumps({"batching": batching}))

    async def act(app, port):
        def ask(line, *values):
            return line.ask(("/v1/models/slow:predict", json.dumps({"instances": values}).encode(), JSON))

        lines = [Client(port, random.Random(0)) for _ in range(7)]
        for line in lines:
            line.ways = ["whole"]
            for values in ((0,), (0, 0, 0)):
                assert b" 200 " in await ask(line, *values)
        await ask(lines[0], 1)
        busy = asyncio.create_task(ask(lines[0], 1))
        [model] = app.registry.loaded()
        await until(lambda: not model.batcher.instances.free)
        replies = await asyncio.gather(*(ask(line, 0, 0, 0) for line in lines[1:]))
        answered = [json.loads(without_changes(reply)[2])["predictions"] for reply in replies if b" 200 " in reply]
        assert [len(predictions) for predictions in answered] == [3, 3, 3, 3]
        assert sum(b" 429 " in reply for reply in replies) == 2
        assert b" 200 " in await busy
        for line in lines:
            await line.close()

    run(tmp_path, act)


def test_a_known_head_leads_to_the_version_that_serves_now(tmp_path):
    write_brightness_model(tmp_path)

    async def act(app, port):
        line = Client(port, random.Random(0))
        line.ways = ["whole"]
        request = (BRIGHTNESS, bytes([120]) * SIDE * SIDE, OCTETS)
        before = {without_changes(await line.ask(request))[2] for _ in range(4)}
        write_brightness_model(tmp_path, version=2, bias=20)
        await app.lifecycle.load("brightness")
        after = {without_changes(await line.ask(request))[2] for _ in range(4)}
        assert len(before) == len(after) == 1
        assert before != after
        await line.close()

    run(tmp_path, act)


def test_a_head_is_learned_from_its_own_request_and_no_other(tmp_path):
    """A request that expects 100 Continue goes another way, and the body of the next one comes in two parts."""
    write_brightness_model(tmp_path)
    write_brightness_model(tmp_path, name="other", bias=20)

    async def act(app, port):
        body = bytes([120]) * SIDE * SIDE
        here, there = (
            message(f"/v1/models/{name}:predict", body, headers)
            for name, headers in (("brightness", OCTETS), ("other", {**OCTETS, "Expect": "100-continue"}))
        )
        at, expecting = here.index(b"\r\n\r\n") + 4, there.index(b"\r\n\r\n") + 4
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = {}
        for _ in range(5):
            for name, packets in (
                ("brightness", [here]),
                ("other", [there[:expecting], there[expecting:]]),
                ("brightness", [here[:at], here[at : at + 8], here[at + 8 :]]),
                ("other", [there]),
            ):
                for packet in packets:
                    writer.write(packet)
                    await asyncio.sleep(0.005)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                if b" 100 " in head:
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                length = int(re.search(rb"\ncontent-length: (\d+)", head)[1])
                answers.setdefault(name, set()).add(await reader.readexactly(length))
        writer.close()
        assert [len(bodies) for bodies in answers.values()] == [1, 1]
        assert answers["brightness"] != answers["other"]

    run(tmp_path, act)
