"""The live figures: who counts as a listener."""

import asyncio

import pytest

from app.api.live_feed import MOST_LISTENERS, LiveFeed
from app.errors import Overloaded


async def no_metrics():
    raise AssertionError("nobody has listened yet")


def test_replies_that_are_given_up_before_their_first_event_are_no_listeners():
    async def scenario():
        feed = LiveFeed(no_metrics, lambda: False)
        waiting = [feed.listen() for _ in range(MOST_LISTENERS)]
        with pytest.raises(Overloaded, match="pages show live figures already"):
            feed.listen()
        waiting.clear()
        feed.listen()

    asyncio.run(scenario())
