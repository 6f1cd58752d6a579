"""Tasks that wait for a turn continue one by one, with others in between."""

import asyncio

from app.one_by_one import OneByOne


def test_one_after_the_other_continues_each_in_another_turn_of_the_event_loop():
    turn = 0

    async def count():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    async def wait(turns, continued, name):
        await turns.next()
        continued.append((name, turn))

    async def act():
        turns, continued = OneByOne(3), []
        counting = asyncio.create_task(count())
        await asyncio.gather(*(wait(turns, continued, name) for name in "abcde"))
        counting.cancel()
        return continued

    continued = asyncio.run(act())
    assert [name for name, _ in continued] == list("abcde")
    assert len({when for _, when in continued}) == 5


def test_a_client_that_leaves_while_waiting_does_not_delay_others():
    async def act():
        turns = OneByOne(3)
        waiting = [asyncio.create_task(turns.next()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.wait_for(waiting[2], timeout=10)

    asyncio.run(act())
