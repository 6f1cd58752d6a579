"""Heads that differ in their Content-Length alone are the same head, and only those."""

import asyncio
import json
import re

import pytest

from app.edge.connection.known_heads import read_head
from tests.support.joint_requests import BRIGHTNESS, JSON, Line, forms_joined, joined, message, run, without_changes
from tests.support.tiny_models import SIDE, write_brightness_model

HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %b\r\nAccept: */*\r\n\r\n"


def body(value, *, spaces=0, compact=False):
    rows = [[value] * SIDE for _ in range(SIDE)]
    return json.dumps({"instances": [rows]}, separators=(",", ":") if compact else None).encode() + b" " * spaces


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    return directory


def test_the_template_is_the_head_without_the_number():
    head = HEAD % b"784"
    found = read_head(head)
    assert found.length == 784
    assert found.template[: found.at] + b"784" + found.template[found.at :] == head
    assert read_head(HEAD % b"9").template == found.template
    assert read_head(head.replace(b"Content-Length", b"content-length")).length == 784


@pytest.mark.parametrize(
    "number", [b"", b"0", b"07", b"+7", b"-7", b"7 ", b" 7", b"7,7", b"0x7", b"\xb2", b"7_0", b"999999999", b"7\t"]
)
def test_a_number_in_an_unusual_form_is_left_to_the_parser(number):
    assert read_head(HEAD % number) is None


def test_other_fields_that_end_in_content_length_do_not_count():
    head = b"POST / HTTP/1.1\r\nInference-Header-Content-Length: 7\r\nX: \r Content-Length: 8\r\n\r\n"
    assert read_head(head) is None
    both = head.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n")
    assert read_head(both).length == 9


def test_bodies_of_other_lengths_and_other_spacing_are_answered_together(models):
    async def act(app, port):
        async with Line(port) as line, Line(port) as other:
            for compact in (False, True):
                for value in (1, 22):
                    assert b" 200 " in await line.ask(message(BRIGHTNESS, body(value, compact=compact), JSON))
            assert b" 200 " in await line.ask(message(BRIGHTNESS, body(7, compact=True), JSON))
            assert b" 200 " in await line.ask(message(BRIGHTNESS, body(7, compact=True), JSON))
            sizes, forms = joined(app), forms_joined(app)
            for value, compact in ((0, False), (133, False), (250, True), (5, True)):
                sent = message(BRIGHTNESS, body(value, compact=compact), JSON)
                replies = await asyncio.gather(line.ask(sent), other.ask(sent))
                assert {without_changes(reply)[0] for reply in replies} == {b"200"}
            assert sum(sizes) == 8
            assert forms <= {"JsonRows"}

    run(models, act)


@pytest.mark.parametrize(
    "number", ["0", "00085", "+85", "-1", "85 ", "85, 85", "", "99999999", "999999999999", "84", "86"]
)
def test_a_known_head_with_a_length_that_is_wrong_gets_the_reply_of_a_new_one(models, number):
    async def act(app, port):
        async with Line(port) as line:
            for value in (1, 22, 133):
                assert b" 200 " in await line.ask(message(BRIGHTNESS, body(value), JSON))
        sent = message(BRIGHTNESS, body(1), JSON)
        sent = re.sub(rb"Content-Length: \d+", f"Content-Length: {number}".encode(), sent)
        replies = []
        for asked in (sent, sent.replace(b"Host: localhost", b"Host: LOCALHOST")):
            async with Line(port) as line:
                reply = asyncio.create_task(line.ask(asked))
                await asyncio.sleep(0.1)
                if not reply.done():
                    line.writer.write_eof()
                try:
                    replies.append(without_changes(await reply))
                except asyncio.IncompleteReadError:
                    replies.append("closed")
        assert replies[0] == replies[1]

    run(models, act)


def closing(value, how):
    sent = message(BRIGHTNESS, body(value), {**JSON, "Connection": "close"} if how == "close" else JSON)
    return sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1) if how == "HTTP/1.0" else sent


async def whole(port, sent, *, later=b""):
    """All bytes that a connection gets until the service closes it."""
    async with Line(port) as line:
        line.writer.write(sent + later)
        return await asyncio.wait_for(line.reader.read(), 5)


@pytest.mark.parametrize("how", ["close", "HTTP/1.0"])
def test_requests_over_connections_of_their_own_are_answered_together_and_close_them(models, how):
    async def act(app, port):
        first = [await whole(port, closing(value, how)) for value in (1, 22, 133)]
        assert all(reply.count(b"HTTP/1.1 200 ") == 1 and b"connection: close\r\n" in reply for reply in first)
        sizes = joined(app)
        replies = await asyncio.gather(*(whole(port, closing(1, how)) for _ in range(6)))
        assert sum(sizes) == 6
        assert {without_changes(reply)[2] for reply in replies} == {without_changes(first[0])[2]}
        assert [without_changes(reply)[1] for reply in replies] == [without_changes(first[0])[1]] * 6
        # What follows is not a request, as after a head that is parsed.
        [reply] = [await whole(port, closing(1, how), later=closing(22, how))]
        assert reply.count(b"HTTP/1.1 ") == 1
        async with Line(port) as line:  # and other connections stay open
            for value in (1, 22, 133, 1, 22):
                assert b" 200 " in await line.ask(message(BRIGHTNESS, body(value), JSON))

    run(models, act)


def test_a_client_of_http_1_0_that_wishes_an_open_connection_gets_a_closed_one(models):
    async def act(app, port):
        for value in (1, 22, 133, 1, 22):
            sent = message(BRIGHTNESS, body(value), {**JSON, "Connection": "keep-alive"})
            reply = await whole(port, sent.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            assert reply.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close\r\n" in reply

    run(models, act)


def test_a_refusal_under_load_closes_a_connection_whose_head_says_so(models):
    async def act(app, port):
        for value in (1, 22, 133):
            await whole(port, closing(value, "close"))
        [model] = [app.registry.only("brightness")]
        model.admission.rows = 10**9
        try:
            reply = await whole(port, closing(1, "close"), later=b"X" * 100)
        finally:
            model.admission.rows = 0
        assert reply.startswith(b"HTTP/1.1 429 ")
        assert b"connection: close\r\n" in reply

    run(models, act)
