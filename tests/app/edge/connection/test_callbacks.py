"""An exception in a callback of the parser is a server error, unless the parser itself reports a client error."""

import asyncio
import logging

import httptools
import pytest

from app.edge.connection.joint import JointProtocol
from app.main import create_app
from app.settings import Settings
from app.wiring.server import Server, uvicorn_config
from tests.support.fakes import until


@pytest.mark.parametrize("callback", ["on_url", "on_header", "_take_request", "_take_body"])
@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (OverflowError("ours"), 500, b"internal error; see the service's log"),
        (httptools.HttpParserInvalidURLError("theirs"), 400, b"not valid HTTP: theirs"),
    ],
)
def test_an_exception_in_a_callback_is_answered_as_a_client_or_server_fault(
    tmp_path, monkeypatch, caplog, callback, error, status, message
):
    def fails(*_):
        raise error

    monkeypatch.setattr(JointProtocol, callback, fails)
    settings = Settings(models_dir=tmp_path, port=0, watch="off")

    async def main():
        app = create_app(settings)
        server = Server(uvicorn_config(app, settings), settings)
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v2/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.should_exit = True
        await serving
        return answer

    answer = asyncio.run(main())
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert message in answer
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR and record.exc_info]
    assert [record.exc_info[1] for record in faults] == ([error] if status == 500 else [])
