"""A halt is written once no other command of the model runs, and only for the canary and limits that were judged."""

import asyncio

import pytest

from app.lifecycle.commands import Commands
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.repository.repository import Repository
from app.repository.rollout_policy import CanaryPair, RollbackPolicy, RolloutPolicy
from tests.support.fakes import until
from tests.support.tiny_disk import read_settings, write_empty_versions, write_settings

ROLLOUT = RolloutPolicy(rollback=RollbackPolicy(max_error_rate=0.1, min_requests=1))
POLICY = ServingPolicy(version_labels={STABLE: 1, CANARY: 2}, rollout=ROLLOUT)


class HeldCommands(Commands):
    """Records its steps, and blocks in ``load`` until a test releases it."""

    def __init__(self, repository):
        super().__init__(repository)
        self.steps, self.may_continue = [], asyncio.Event()

    _is_draining = False

    async def default_version(self, name, versions):
        return 1

    async def _load(self, name, versions):
        self.steps.append("load")
        await self.may_continue.wait()

    async def _stop_canary(self, pair, reason):
        self.steps.append("stop")

    async def _prepare(self, name, version):
        self.steps.append("prepare")

    async def _settle(self, name, version):
        self.steps.append("settle")

    async def _follow(self, name):
        self.steps.append("follow")


@pytest.fixture
def directory(tmp_path):
    directory = write_empty_versions(tmp_path, 1, 2, 3)
    write_settings(directory, POLICY)
    return directory


def halt_during_a_load(directory, policy):
    """A canary is halted during a load in which serving.json changes; returns the steps that were taken."""

    async def main():
        commands = HeldCommands(Repository(directory.parent))
        loading = asyncio.create_task(commands.load("m"))
        await until(lambda: commands.steps)
        halting = asyncio.create_task(commands.halt(CanaryPair("m", 1, 2), "too bad", judged=ROLLOUT))
        await asyncio.sleep(0)
        write_settings(directory, policy)
        assert read_settings(directory).get("rollout", {}).get("halted") is None
        commands.may_continue.set()
        await asyncio.gather(loading, halting)
        return commands.steps

    return asyncio.run(main())


def test_a_halt_is_written_and_followed_after_the_command_before_it(directory):
    assert halt_during_a_load(directory, POLICY) == ["load", "stop", "follow"]
    assert read_settings(directory)["rollout"]["halted"] == "too bad"


@pytest.mark.parametrize(
    "change",
    [
        {"version_labels": {STABLE: 1, CANARY: 3}},
        {"rollout": ROLLOUT.model_copy(update={"rollback": RollbackPolicy(max_error_rate=0.9)})},
    ],
)
def test_no_halt_is_written_for_another_canary_or_other_limits(directory, change):
    assert halt_during_a_load(directory, POLICY.model_copy(update=change)) == ["load"]
    assert "halted" not in read_settings(directory)["rollout"]
