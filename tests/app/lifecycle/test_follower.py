"""Each model is followed independently: a failure of one does not stop the others."""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import pytest

from app.lifecycle.follower import Follower
from app.repository.scan import Unreadable
from tests.support.fakes import until


class Disk:
    """Models by name with a fingerprint that changes, and a lifecycle that a test can block or make fail."""

    def __init__(self, *names):
        self.marks = dict.fromkeys(names, 0)
        self.followed, self.ended = Counter(), Counter()
        self.held, self.fails, self.waits = {}, set(), {}
        self.repository = SimpleNamespace(snapshot=lambda: dict(self.marks))
        self._changes = asyncio.Queue()

    async def follow(self, name):
        self.followed[name] += 1
        if name in self.held:
            await self.held[name].wait()
        if name in self.fails:
            raise RuntimeError("a mistake")
        self.ended[name] += 1
        return self.waits.pop(name, None)

    def change(self, *names):
        for name in names:
            self.marks[name] += 1
        self._changes.put_nowait(None)

    async def changes(self):
        while True:
            await self._changes.get()
            yield


def following(scenario):
    """Runs a scenario in parallel with a follower."""

    async def run():
        disk = Disk("a", "b")
        follower = Follower(disk)
        await follower.remember()
        task = asyncio.create_task(follower.run(disk.changes()))
        await scenario(disk)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_model_that_takes_forever_delays_no_other():
    async def scenario(disk):
        disk.held["a"] = asyncio.Event()
        disk.change("a")
        await until(lambda: disk.followed["a"])
        disk.change("b")
        await until(lambda: disk.ended["b"] == 1)
        assert disk.ended["a"] == 0

    following(scenario)


def test_a_model_that_changes_while_it_is_followed_is_followed_again():
    async def scenario(disk):
        disk.held["a"] = asyncio.Event()
        disk.change("a")
        await until(lambda: disk.followed["a"])
        disk.change("a", "b")
        disk.change("a")
        await until(lambda: disk.ended["b"] == 1)
        assert disk.followed["a"] == 1
        disk.held["a"].set()
        await until(lambda: disk.ended["a"] == 2)

    following(scenario)


def test_a_mistake_is_logged_and_the_model_is_followed_the_next_time(caplog):
    async def scenario(disk):
        disk.fails.add("a")
        disk.change("a")
        await until(lambda: "model a: what has changed could not be followed" in caplog.text)
        disk.fails.clear()
        disk.change("a")
        await until(lambda: disk.ended["a"] == 1)

    following(scenario)


def test_a_version_that_keeps_changing_is_checked_again_later():
    async def scenario(disk):
        disk.waits["a"] = 0.01
        disk.change("a")
        await until(lambda: disk.ended["a"] == 2)

    following(scenario)


@pytest.mark.parametrize("at_start", [True, False])
def test_a_model_whose_changes_cannot_be_seen_is_named_once(caplog, at_start):
    async def scenario():
        disk = Disk("a", "b")
        mark = Unreadable("a has more than 65536 files and directories below it")
        if at_start:
            disk.marks["a"] = mark
        follower = Follower(disk)
        await follower.remember()
        task = asyncio.create_task(follower.run(disk.changes()))
        disk.marks["a"] = mark
        for count in (1, 2):
            disk.change("b")
            await until(lambda count=count: disk.ended["b"] == count)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert caplog.text.count("model a: changes are not noticed: a has more than 65536 files") == 1
