"""A closed connection is freed without the cyclic garbage collector, after any kind of request."""

import asyncio
import gc

import pytest
import uvloop

from app.edge.connection.direct_answer import DirectAnswer
from app.edge.connection.joint import JointProtocol
from app.edge.connection.plain_request import PlainRequest
from app.edge.joint.request import JointRequest
from app.edge.rest.request import HttpRequest
from app.lifecycle.readiness import not_ready_reason
from app.main import create_app
from app.settings import Settings
from app.wiring.server import Server, uvicorn_config
from tests.support.fakes import until
from tests.support.tiny_models import SIDE, write_brightness_model

PATH = b"/v1/models/brightness:predict"
PIXELS = bytes(SIDE * SIDE)


def request(body=PIXELS, *, path=PATH, length=None, kind=b"application/octet-stream"):
    size = len(body) if length is None else length
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        path,
        kind,
        size,
        body,
    )


SENT = {
    "nothing": (b"", 0),
    "a good request": (request(), 1),
    "two good requests": (request() * 2, 2),
    "a bad request": (request(b"{", kind=b"application/json"), 1),
    "a request for an unknown model": (request(path=b"/v1/models/unknown:predict"), 1),
    "half a body": (request(length=1_000), 0),
    "most of a large body": (request(bytes(1_000_000), length=1_000_001), 0),
    "half a head": (request()[:30], 0),
    "no HTTP": (b"nonsense\r\n\r\n", 1),
    "a request whose answer is not awaited": (request(), 0),
    "a request for a page": (b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n", 1),
}


def connections_alive():
    kinds = (JointProtocol, DirectAnswer, HttpRequest, PlainRequest, JointRequest)
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    return directory


def test_a_closed_connection_is_freed(models):
    settings = Settings(models_dir=models, port=0, watch="off")

    async def exchange(port, data, replies):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        await writer.drain()
        for _ in range(replies):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def main():
        app = create_app(settings)
        server = Server(uvicorn_config(app, settings), settings)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started and not_ready_reason(app.registry) is None)
        port = server.servers[0].sockets[0].getsockname()[1]
        left = {}
        gc.collect()
        gc.disable()
        try:
            for what, (data, replies) in [*SENT.items()] * 4:  # from the third time on, heads are known
                await exchange(port, data, replies)
                await until(lambda: not server.server_state.connections)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if alive := connections_alive():
                    left[what] = alive
                    gc.collect()
        finally:
            gc.enable()
            server.should_exit = True
            await serving
        assert left == {}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
