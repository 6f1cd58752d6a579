"""A service in this process, and requests to it byte by byte, for tests of requests that are answered together."""

import asyncio
import json
import re

import uvloop

from app.lifecycle.readiness import not_ready_reason
from app.main import create_app
from app.settings import Settings
from app.wiring.server import Server, uvicorn_config
from tests.support.fakes import until
from tests.support.tiny_models import SIDE

# Headers that differ from one reply to the next.
CHANGES = re.compile(rb"(?m)^(date|server-timing|x-request-id): .*\r$")
OCTETS, JSON = {"Content-Type": "application/octet-stream"}, {"Content-Type": "application/json"}
BRIGHTNESS = "/v1/models/brightness:predict"


def message(path, body, headers, *, more=()):
    fields = {"Host": "localhost", **headers, "Content-Length": len(body), **dict(more)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


class Line:
    """One connection."""

    def __init__(self, port):
        self._port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def reply(self):
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        return head + await self.reader.readexactly(int(re.search(rb"\ncontent-length: (\d+)", head)[1]))

    async def ask(self, sent):
        self.writer.write(sent)
        return await self.reply()


def v2_binary(rows, data, **more):
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [rows, SIDE, SIDE]}
    tensor["parameters"] = {"binary_data_size": rows * SIDE * SIDE}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}, **more}).encode()
    return "/v2/models/brightness/infer", head + data, {"Inference-Header-Content-Length": len(head)}


def without_changes(reply):
    """Status, headers in any order, and body."""
    head, _, body = CHANGES.sub(rb"\1: ...", reply).partition(b"\r\n\r\n")
    status, *headers = head.split(b"\r\n")
    return status.split(b" ")[1], sorted(headers), body


async def serve(models, act):
    """Call ``act`` with the application and the port of a service."""
    settings = Settings(models_dir=models, port=0, watch="off", keep_alive_s=60)
    app = create_app(settings)
    server = Server(uvicorn_config(app, settings), settings)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started and not_ready_reason(app.registry) is None)
        return await act(app, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving


def run(models, act):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(models, act))


def joined(app):
    """Sizes of the joint requests from now on."""
    sizes, queue = [], app.dispatch.joining._queue

    def counted(joint, inputs):
        sizes.append(len(joint.waiting))
        queue(joint, inputs)

    app.dispatch.joining._queue = counted
    return sizes


def forms_joined(app):
    """Names of the forms of joint requests of more than one request, from now on."""
    forms, begin = set(), app.dispatch.joining._begin

    def noted(joint):
        if len(joint.waiting) > 1:
            forms.add(type(joint.form).__name__)
        begin(joint)

    app.dispatch.joining._begin = noted
    return forms
