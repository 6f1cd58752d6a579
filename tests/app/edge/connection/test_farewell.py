"""At the shutdown, a request that is on its way over an idle connection is answered, and then the connection closes."""

import asyncio

import pytest

from tests.support.bare_connection import head
from tests.support.fakes import until
from tests.support.joint_requests import run
from tests.support.tiny_models import SIDE, write_brightness_model

PIXELS = bytes(SIDE * SIDE)
IMAGE = head() + PIXELS
LIVE = head(method="GET", path="/v2/health/live", length=None)
SENT = {
    "raw bytes": IMAGE,
    "JSON": head(form="application/json", length=2) + b"{}",
    "an unknown model": head(path="/v1/models/none:predict") + PIXELS,
    "a probe": LIVE,
    "a list": head(method="GET", path="/v1/models", length=None),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    return directory


def end(app):
    """What uvicorn does with every connection when it shuts down."""
    for connection in list(app.connections._open):
        connection.shutdown()


async def answer(reader):
    top = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(top.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return top, await reader.readexactly(length)


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("kind", SENT)
def test_a_request_on_its_way_is_answered_and_is_the_last(models, kind, before):
    async def scenario(app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: app.connections._open)
        for _ in range(before):
            writer.write(IMAGE)
            top, _ = await answer(reader)
            assert b"connection: close" not in top
        end(app)
        writer.write(SENT[kind])
        top, _ = await answer(reader)
        assert top.startswith((b"http/1.1 200", b"http/1.1 400", b"http/1.1 404"))
        assert b"connection: close" in top
        assert await reader.read() == b""
        writer.close()

    run(models, scenario)


@pytest.mark.parametrize("before", [0, 1])
def test_a_connection_without_a_request_is_closed_all_the_same(models, before):
    async def scenario(app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: app.connections._open)
        for _ in range(before):
            writer.write(IMAGE)
            await answer(reader)
        end(app)
        assert await reader.read() == b""
        writer.close()

    run(models, scenario)


def test_the_rest_of_a_body_is_waited_for(models):
    async def scenario(app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: app.connections._open)
        end(app)
        writer.write(IMAGE[:-1])
        await asyncio.sleep(0.3)  # longer than the farewell
        writer.write(IMAGE[-1:])
        top, _ = await answer(reader)
        assert top.startswith(b"http/1.1 200")
        assert await reader.read() == b""
        writer.close()

    run(models, scenario)
