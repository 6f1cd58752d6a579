"""A request that was sent ahead starts in a turn, like one that arrives on its own connection."""

import asyncio

import pytest

from app.main import create_app
from app.settings import Settings
from app.wiring.server import Server, uvicorn_config
from tests.support.fakes import until
from tests.support.joint_requests import JSON, message, run
from tests.support.tiny_models import write_rule_model, write_slow_model

REQUEST = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def reply(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head.split(b" ")[1], await reader.readexactly(length)


def test_the_next_request_starts_when_its_connection_has_its_turn(tmp_path):
    settings = Settings(models_dir=tmp_path, port=0, watch="off")

    async def main():
        app = create_app(settings)
        waiting = []
        app.connections.turns.wait = lambda connection, data, loop: waiting.append(connection)
        server = Server(uvicorn_config(app, settings), settings)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        writer.write(3 * REQUEST)
        for _ in range(2):
            assert (await reply(reader))[0] == b"200"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
            while waiting:  # starts the parsed request, then parses the next one
                waiting.pop(0).read_on()
                await asyncio.sleep(0.05)
                if reader._buffer:
                    break
        assert (await reply(reader))[0] == b"200"
        writer.close()
        server.should_exit = True
        await serving

    asyncio.run(main())


def test_a_client_that_ends_its_stream_gets_the_answers_to_all_requests_sent_ahead(tmp_path):
    """While the first request is answered, nothing is read: the end of the stream is noticed only after it."""
    write_slow_model(tmp_path, multiplications=4)
    write_rule_model(tmp_path)

    async def act(_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message("/v1/models/slow:predict", b'{"instances": [1]}', JSON))
        writer.write(message("/v1/models/rule:predict", b'{"instances": [[1]]}', JSON))
        writer.write_eof()
        assert [await reply(reader) for _ in range(2)] == [
            (b"200", b'{"predictions":[1.0]}'),
            (b"200", b'{"predictions":[[1.0]]}'),
        ]
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    run(tmp_path, act)


@pytest.mark.parametrize("before", [0, 3], ids=["with a new head", "with a known head"])
def test_requests_that_wait_for_a_turn_when_the_service_shuts_down_are_answered(tmp_path, before):
    write_rule_model(tmp_path)

    async def act(app, port):
        sent = message("/v1/models/rule:predict", b'{"instances": [[1]]}', JSON)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(before):
            writer.write(sent)
            await reply(reader)
        waiting, turns = [], app.connections.turns
        turns.must_wait = lambda *_: True
        turns.wait = lambda connection, data, loop: waiting.append(connection)
        writer.write(2 * sent)
        await until(lambda: waiting)
        [connection] = app.connections._open
        connection.shutdown()
        replies = []
        for _ in range(2):
            asyncio.get_running_loop().call_soon(waiting.pop().read_on)  # not within the task of this test
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            await reader.readexactly(len(b'{"predictions":[[1.0]]}'))
            replies.append((head.split(b" ")[1], b"connection: close" in head))
        assert replies == [(b"200", False), (b"200", True)]
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    run(tmp_path, act)
