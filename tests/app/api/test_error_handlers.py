"""Errors of the routes that FastAPI answers, in the one form of every error."""

import asyncio

import httpx
from fastapi import FastAPI, Request

from app.api.error_handlers import add_error_handlers
from app.edge.respond import error_body


def test_a_mistake_of_our_own_is_answered_in_the_form_of_every_error():
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    async def broken() -> None:
        raise KeyError("not for the client's eyes")

    async def get():
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/")

    reply = asyncio.run(get())
    assert (reply.status_code, reply.json()) == (500, {"error": "internal error; see the service's log"})


def test_an_error_can_quote_half_of_a_character():
    assert error_body("text '\ud800' is wrong") == b'{"error":"text \'\\\\ud800\' is wrong"}'


def test_a_client_that_leaves_before_its_body_is_read_is_no_fault():
    """It may leave while FastAPI is being imported; the log then has no traceback."""
    app, sent = FastAPI(), []
    add_error_handlers(app)

    @app.post("/")
    async def read(request: Request) -> None:
        await request.body()

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 499
