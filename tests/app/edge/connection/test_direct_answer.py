"""An answer on the short path runs as in a task: everything that asyncio offers to a task works in it."""

import asyncio

import pytest
import uvloop

from app.edge.connection.protocol import DirectAnswer


class FakeConnection:
    """Receives the reply in place of a connection."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.reply = self.loop.create_future()

    def replied(self, answer, reply):
        answer.response_complete = True
        self.reply.set_result(reply)


def run(answer, *, then=lambda direct: None):
    """The result of ``answer`` on the short path; ``then`` is called once it waits for the first time."""

    async def main():
        connection = FakeConnection()
        direct = DirectAnswer(connection, None, keep_alive=True)

        def begin():  # as the parser does: in a callback of the event loop, outside any task
            direct.begin(answer())
            then(direct)

        connection.loop.call_soon(begin)
        return await asyncio.wait_for(connection.reply, 10)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def nothing_to_wait_for():
    return "at once"


async def gives_others_their_turn():
    for _ in range(3):
        await asyncio.sleep(0)
    return "after three turns"


async def waits():
    await asyncio.sleep(0.001)
    return "waited"


async def waits_too_long():
    try:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(10)
    except TimeoutError:
        await asyncio.sleep(0)
        return f"timed out, {asyncio.current_task().cancelling()} left"


async def waits_in_a_thread():
    return await asyncio.to_thread(str, 7)


async def splits_up():
    async with asyncio.TaskGroup() as group:
        parts = [group.create_task(waits()) for _ in range(2)]
    return [part.result() for part in parts]


async def fails_in_a_part():
    async def fails():
        raise ValueError("a part")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            await asyncio.sleep(10)
    except ExceptionGroup as errors:
        return str(errors.exceptions[0])


@pytest.mark.parametrize(
    ("answer", "gives"),
    [
        (nothing_to_wait_for, "at once"),
        (gives_others_their_turn, "after three turns"),
        (waits, "waited"),
        (waits_too_long, "timed out, 0 left"),
        (waits_in_a_thread, "7"),
        (splits_up, ["waited", "waited"]),
        (fails_in_a_part, "a part"),
    ],
)
def test_an_answer_may_do_what_a_task_may(answer, gives):
    assert run(answer) == gives


def cancellation_is_seen(wait):
    async def answer():
        try:
            await wait()
        except asyncio.CancelledError:
            return "cancelled"
        return "not cancelled"

    return answer


@pytest.mark.parametrize("seconds", [0, 10])
def test_a_client_that_leaves_ends_the_wait(seconds):
    assert run(cancellation_is_seen(lambda: asyncio.sleep(seconds)), then=DirectAnswer.cancel) == "cancelled"


def test_an_answer_is_the_current_task_and_there_is_none_before_and_after():
    seen = []

    async def answer():
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    started = []

    def note(direct):
        started.append(direct)
        seen.append(asyncio.current_task())

    run(answer, then=note)
    assert seen == [started[0], None, started[0]]
