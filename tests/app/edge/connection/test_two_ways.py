"""The short path of a connection and uvicorn's path through ASGI give the same replies, byte by byte."""

import asyncio
import gzip
import json
import re

import numpy as np
import pytest
import uvicorn
import uvloop

from app.lifecycle.readiness import not_ready_reason
from app.main import create_app
from app.settings import Settings
from app.wiring.server import Server, uvicorn_config
from tests.support.fakes import until
from tests.support.tiny_models import SIDE, write_brightness_model

PIXELS = bytes(range(SIDE * SIDE))
ROWS = np.frombuffer(PIXELS, np.uint8).reshape(SIDE, SIDE).tolist()
PREDICT, INFER = "/v1/models/brightness:predict", "/v2/models/brightness/infer"


def v2(**more):
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE]}
    return json.dumps({"inputs": [tensor | {"data": [ROWS]}], **more}).encode()


REQUESTS = {
    "bytes": (PREDICT, PIXELS, {"Content-Type": "application/octet-stream"}),
    "JSON": (PREDICT, json.dumps({"instances": [ROWS, ROWS]}).encode(), {}),
    "columns": (PREDICT, json.dumps({"inputs": [ROWS]}).encode(), {"Content-Type": "application/json"}),
    "a version": ("/v1/models/brightness/versions/1:predict", json.dumps({"instances": [ROWS]}).encode(), {}),
    "an unknown version": ("/v1/models/brightness/versions/7:predict", b"{}", {}),
    "an unknown label": ("/v1/models/brightness/labels/none:predict", b"{}", {}),
    "an unknown model": ("/v1/models/none:predict", b"{}", {}),
    "bad JSON": (PREDICT, b"{", {"Content-Type": "application/json"}),
    "a wrong shape": (PREDICT, b'{"instances": [[1, 2]]}', {}),
    "nothing": (PREDICT, b"", {}),
    "a wrong length": (PREDICT, b"{}", {"Inference-Header-Content-Length": "x"}),
    "classes": ("/v1/models/brightness:classify?top_k=1", PIXELS, {"Content-Type": "application/octet-stream"}),
    "no number of classes": ("/v1/models/brightness:classify?top_k=x", PIXELS, {}),
    "a regression": ("/v1/models/brightness:regress", PIXELS, {}),
    "an unknown verb": ("/v1/models/brightness:guess", PIXELS, {}),
    "V2 JSON": (INFER, v2(id="7"), {}),
    "V2 JSON with a priority": (INFER, v2(parameters={"priority": 9}), {}),
    "V2 JSON with a timeout": (INFER, v2(parameters={"timeout": 9_000_000}), {}),
    "V2 bytes": (INFER, PIXELS, {"Inference-Header-Content-Length": "0"}),
    "V2 of an unknown version": ("/v2/models/brightness/versions/7/infer", v2(), {}),
    "compressed": (PREDICT, gzip.compress(json.dumps({"instances": [ROWS]}).encode()), {"Content-Encoding": "gzip"}),
    "an unknown compression": (PREDICT, b"{}", {"Content-Encoding": "br"}),
    "a large answer, compressed": (
        PREDICT,
        json.dumps({"instances": [ROWS] * 200}).encode(),
        {"Accept-Encoding": "gzip"},
    ),
    "another site's page": (PREDICT, b"{}", {"Origin": "http://example.org", "Sec-Fetch-Site": "cross-site"}),
    "another host": (PREDICT, b"{}", {"Host": "example.org"}),
}
# Headers that differ from one reply to the next on both paths.
CHANGES = re.compile(rb"(?m)^(date|server-timing): .*\r$")


@pytest.fixture(scope="module")
def replies(tmp_path_factory):
    """The reply to each request: on the short path, and through ASGI."""
    models = tmp_path_factory.mktemp("models")
    write_brightness_model(models)
    settings = Settings(models_dir=models, port=0, watch="off")

    async def ask(port, path, body, headers):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        fields = {"Host": "localhost", "X-Request-ID": "7", "Content-Length": len(body), "Connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in (fields | headers).items())
        writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        reply = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return CHANGES.sub(rb"\1: ...", reply)

    async def main():
        app = create_app(settings)
        direct = Server(uvicorn_config(app, settings), settings)
        through_asgi = uvicorn.Server(
            uvicorn.Config(app, port=0, http="httptools", lifespan="off", server_header=False, log_config=None)
        )
        serving = [asyncio.create_task(server.serve()) for server in (direct, through_asgi)]
        await until(lambda: direct.started and through_asgi.started and not_ready_reason(app.registry) is None)
        ports = [server.servers[0].sockets[0].getsockname()[1] for server in (direct, through_asgi)]
        try:
            return {name: [await ask(port, *request) for port in ports] for name, request in REQUESTS.items()}
        finally:
            direct.should_exit = through_asgi.should_exit = True
            await asyncio.gather(*serving)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def parts(reply):
    """Status line, headers in any order, body."""
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status.split(b" ")[1], sorted(line.lower() for line in headers), body


@pytest.mark.parametrize("name", REQUESTS)
def test_both_http_paths_give_the_same_answers(replies, name):
    short, long = replies[name]
    assert parts(short) == parts(long)


def test_the_requests_are_of_all_kinds(replies):
    codes = {name: parts(short)[0] for name, (short, _) in replies.items()}
    assert set(codes.values()) >= {b"200", b"400", b"403", b"404"}
    assert [codes[name] for name in ("bytes", "JSON", "V2 JSON", "V2 bytes", "compressed")] == [b"200"] * 5
