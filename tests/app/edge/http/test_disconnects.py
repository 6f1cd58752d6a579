"""A client that leaves while its request is answered: the answer is cancelled, and only that one."""

import asyncio

import pytest

from app.edge.http.disconnects import UNWATCHED, DisconnectWatch
from tests.support.fakes import until


class Client:
    """Sends nothing after its request, until a test disconnects it."""

    def __init__(self):
        self.left, self.asked = asyncio.Event(), 0

    async def receive(self):
        self.asked += 1
        await self.left.wait()
        return {"type": "http.disconnect"}


async def answered(watch, client, done):
    with watch.watching(client.receive):
        await done.wait()
    return "answered"


def test_the_answer_to_a_client_that_left_is_cancelled_and_no_other():
    async def main():
        watch, leaves, stays, done = DisconnectWatch(), Client(), Client(), asyncio.Event()
        tasks = [asyncio.create_task(answered(watch, client, done)) for client in (leaves, stays)]
        await until(lambda: leaves.asked and stays.asked)
        leaves.left.set()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        done.set()
        assert await tasks[1] == "answered"

    asyncio.run(main())


def test_a_request_that_is_answered_soon_is_not_watched_for_a_disconnect():
    async def main():
        watch, client, done = DisconnectWatch(), Client(), asyncio.Event()
        done.set()
        assert await answered(watch, client, done) == "answered"
        later, never = Client(), asyncio.Event()
        waiting = asyncio.create_task(answered(watch, later, never))
        await until(lambda: later.asked)  # the sweep has passed the first one by then
        waiting.cancel()
        assert client.asked == 0

    asyncio.run(main())


def test_a_client_that_leaves_after_the_answer_cancels_nothing():
    async def main():
        watch, client, done = DisconnectWatch(), Client(), asyncio.Event()

        async def more_after_the_answer():
            await answered(watch, client, done)
            client.left.set()
            for _ in range(5):
                await asyncio.sleep(0)
            return "still there"

        task = asyncio.create_task(more_after_the_answer())
        await until(lambda: client.asked)
        done.set()
        assert await task == "still there"

    asyncio.run(main())


def test_a_request_whose_body_is_not_received_is_not_watched():
    assert DisconnectWatch().watching(None) is UNWATCHED
