"""Streams that stay open: one timer, a limit, and notifications to all of them."""

import asyncio

import pytest

from app.edge.grpc import open_streams
from app.edge.grpc.open_streams import OpenStreams
from app.errors import Overloaded


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(open_streams, "LOOK_EVERY_S", 0.001)


def test_every_stream_is_notified_of_a_change_and_only_then():
    async def run():
        state, reported = ["ready"], []
        streams = OpenStreams(lambda: state[0])
        looks = asyncio.Event()

        def first():
            reported.append("first")

        def second():
            reported.append("second")
            looks.set()

        with streams.one(first), streams.one(second):
            await asyncio.sleep(0.01)
            assert reported == []
            state[0] = "draining"
            await asyncio.wait_for(looks.wait(), 5)
            assert sorted(reported) == ["first", "second"]

    asyncio.run(run())


def test_one_stream_too_many_is_refused_until_another_one_ends():
    async def run():
        streams = OpenStreams(lambda: 0, most=1)
        with (
            streams.one(lambda: None),
            pytest.raises(Overloaded, match="1 streams are open"),
            streams.one(lambda: None),
        ):
            pass
        with streams.one(lambda: None):
            pass

    asyncio.run(run())


def test_there_is_no_polling_while_no_stream_is_open():
    async def run():
        looks = []
        streams = OpenStreams(lambda: looks.append(1))
        with streams.one(lambda: None):
            pass
        seen = len(looks)
        await asyncio.sleep(0.02)
        assert len(looks) == seen

    asyncio.run(run())
