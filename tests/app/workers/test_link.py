"""Commands that a worker executes for its supervisor."""

import asyncio
import socket
import time
from types import SimpleNamespace

from app.repository.rollout_policy import RolloutPolicy
from app.rollout.canary import Rollout
from app.telemetry.metrics import Metrics
from app.workers.channel import Channel
from app.workers.link import Link


async def received(**_):
    pass


def test_a_step_of_a_command_is_done_once_the_models_are_loaded():
    class Lifecycle:
        async def default_version(self, name, versions):
            return versions[1] if name == "m" else None

    async def main():
        ends = socket.socketpair()
        link = Link(ends[0], unloaded={}, loads_first=True)
        supervisor = Channel({"received": received, "loaded": received})
        await supervisor.open(ends[1])
        await link.open(SimpleNamespace(registry=SimpleNamespace(), lifecycle=Lifecycle(), metrics=Metrics()))
        try:
            asked = asyncio.create_task(supervisor.call("default_version", name="m", versions=[3, 2, 1]))
            await supervisor.call("all_loaded")
            assert not asked.done()
            link.loaded.set()
            assert await asked == 2
        finally:
            await link.close()
            await supervisor.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_halt_ends_only_the_canary_that_it_was_judged_for():
    stable, canary = SimpleNamespace(name="m", version=1), SimpleNamespace(name="m", version=3)
    rollout = Rollout(RolloutPolicy(), stable, canary, None, clock=time.perf_counter)
    registry = SimpleNamespace(others_load=False, rollout=lambda name: rollout if name == "m" else None)

    async def main():
        ends = socket.socketpair()
        link = Link(ends[0], unloaded={}, loads_first=True)
        supervisor = Channel({"received": received})
        await supervisor.open(ends[1])
        await link.open(SimpleNamespace(registry=registry, metrics=Metrics()))
        try:
            for name, stable, canary in (("m", 1, 2), ("m", 2, 3), ("n", 1, 3)):
                await supervisor.call(
                    "halt", name=name, stable=stable, canary=canary, reason="another", is_written=True
                )
            assert rollout.reason is None
            await supervisor.call("halt", name="m", stable=1, canary=3, reason="too bad", is_written=False)
            assert (rollout.reason, rollout.policy.halted) == ("too bad", None)
            await supervisor.call("halt", name="m", stable=1, canary=3, reason="too bad", is_written=True)
            assert (rollout.reason, rollout.policy.halted) == ("too bad", "too bad")
        finally:
            await link.close()
            await supervisor.close()

    asyncio.run(asyncio.wait_for(main(), 30))
