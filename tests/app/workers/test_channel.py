"""Calls over the channel between supervisor and worker."""

import asyncio
import socket

import pytest

from app.errors import ModelNotFound, ServingError
from app.workers.channel import Channel, ChannelClosed, receive_first


async def double(value):
    return 2 * value


async def refuse():
    raise ModelNotFound("no such model")


async def fail():
    raise ZeroDivisionError


async def wait():
    await asyncio.Event().wait()


def run(scenario):
    """Run ``scenario(one, other)`` with a channel at either end."""

    async def main():
        ends = socket.socketpair()
        handlers = {"double": double, "refuse": refuse, "fail": fail, "wait": wait}
        one, other = Channel(handlers), Channel(handlers)
        await one.open(ends[0])
        await other.open(ends[1])
        try:
            return await scenario(one, other)
        finally:
            await one.close()
            await other.close()

    return asyncio.run(asyncio.wait_for(main(), 30))


def test_either_end_calls_the_other_and_answers_find_their_calls():
    async def scenario(one, other):
        waiting = asyncio.create_task(one.call("wait"))
        answers = await asyncio.gather(*(end.call("double", value=n) for n in range(50) for end in (one, other)))
        waiting.cancel()
        return answers

    assert run(scenario) == [2 * n for n in range(50) for _ in range(2)]


def test_a_long_message_arrives_whole():
    text = "x" * 1_000_000
    assert run(lambda one, _: one.call("double", value=text)) == 2 * text


def test_an_error_of_the_service_is_raised_again_and_another_one_is_only_logged(caplog):
    with pytest.raises(ModelNotFound, match="no such model"):
        run(lambda one, _: one.call("refuse"))
    with pytest.raises(ServingError, match="fail failed; see the service's log"):
        run(lambda one, _: one.call("fail"))
    assert "ZeroDivisionError" in caplog.text


def test_a_call_ends_when_the_other_end_does():
    async def scenario(one, other):
        waiting = asyncio.create_task(one.call("wait"))
        await asyncio.sleep(0)
        await other.close()
        with pytest.raises(ChannelClosed):
            await waiting
        await one.closed()
        with pytest.raises(ChannelClosed):
            await one.call("double", value=1)
        one.tell("double", value=1)

    run(scenario)


def test_the_last_message_is_handled_before_the_end_and_a_pending_call_does_not_delay_it():
    async def scenario():
        ends, reported = socket.socketpair(), []

        async def receive(value):
            reported.append(value)

        one, other = Channel({"receive": receive, "wait": wait}), Channel({})
        await one.open(ends[0])
        await other.open(ends[1])
        other.tell("wait")
        for value in range(100):
            other.tell("receive", value=value)
        await other.close()
        await one.closed()
        assert reported == list(range(100))
        await one.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_the_first_message_is_read_without_an_event_loop_and_the_rest_with_one():
    async def scenario():
        ends = socket.socketpair()
        parent, worker = Channel({}), Channel({"double": double})
        await parent.open(ends[0])
        parent.tell("start", worker=1)
        doubled = asyncio.create_task(parent.call("double", value=4))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(receive_first, ends[1]) == {"worker": 1}
        await worker.open(ends[1])
        assert await doubled == 8
        await worker.close()
        await parent.close()

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_an_end_before_the_first_message_is_not_a_message():
    own, other = socket.socketpair()
    other.close()
    with own, pytest.raises(EOFError):
        receive_first(own)
