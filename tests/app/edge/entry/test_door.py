"""Errors of the door that a real service does not produce."""

import asyncio
import logging

from app.control.sites import MOST_REMEMBERED, Sites
from app.edge.entry.door import Door

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/v1/models",
    "headers": [(b"host", b"localhost"), (b"x-request-id", b"mine")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}


def ask(app, scope=SCOPE):
    """The bytes that are sent."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("nothing is read")

    asyncio.run(Door(sites=Sites(is_local=True)).pass_through(scope, receive, send, app))
    return sent


def test_a_route_that_fails_is_answered_500_and_logged_with_the_requests_name(caplog):
    async def fails(_scope, _receive, _send):
        raise RuntimeError("ours")

    start, body = ask(fails)
    assert start["status"] == 500
    assert (b"x-request-id", b"mine") in start["headers"]
    assert b"internal error" in body["body"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.fields == {"request_id": "mine"}
    assert record.exc_info is not None


def test_a_reply_that_fails_after_its_start_gets_no_second_start():
    async def fails(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("ours")

    assert [message["type"] for message in ask(fails)] == ["http.response.start"]


def test_a_message_quotes_no_more_of_a_host_than_a_line():
    async def never(*_):
        raise AssertionError("let in")

    start, body = ask(never, {**SCOPE, "headers": [(b"host", b"x" * 30_000)]})
    assert start["status"] == 403
    assert len(body["body"]) < 1_000


def test_hosts_are_remembered_up_to_a_bound():
    sites = Sites(is_local=True)
    for port in range(3 * MOST_REMEMBERED):
        sites.check_host(b"localhost:%d" % port, is_near=True)
    assert len(sites.seen) <= MOST_REMEMBERED
