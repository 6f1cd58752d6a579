"""Files of the documentation page, as ASGI messages."""

import asyncio

from app.main import create_app
from app.settings import Settings

SCRIPT = "/docs/assets/swagger-ui-bundle.js"


def test_a_file_is_sent_in_one_piece(tmp_path):
    """A client that does not read would keep a file in pieces in progress, and thousands of them much memory."""
    app = create_app(Settings(models_dir=tmp_path, watch="off"))
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        await asyncio.Event().wait()

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": SCRIPT, "query_string": b"", "headers": headers, "app": app}
    asyncio.run(app({**scope, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}, receive, send))
    start, body = sent
    assert start["status"] == 200
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert len(body["body"]) > 1_000_000
