"""What one process does about a canary that has passed a limit."""

import asyncio

import pytest

from app.lifecycle.lifecycle import Lifecycle
from app.lifecycle.registry import Registry
from app.repository.policy import CANARY, STABLE, RollbackPolicy, RolloutPolicy, ServingPolicy
from app.repository.repository import Repository
from tests.support.fakes import until
from tests.support.tiny_disk import FakeLoader, read_settings, write_empty_versions, write_settings

ROLLOUT = RolloutPolicy(rollback=RollbackPolicy(max_error_rate=0.1, min_requests=1))
POLICY = ServingPolicy(version_labels={STABLE: 1, CANARY: 2}, rollout=ROLLOUT)
REASON = "1 of 1 requests failed, more than max_error_rate 0.1 allows"


@pytest.fixture
def directory(tmp_path):
    directory = write_empty_versions(tmp_path, 1, 2, 3)
    write_settings(directory, POLICY)
    return directory


def following(directory, scenario):
    """Runs a scenario with a lifecycle that has loaded everything."""

    async def main():
        repository = Repository(directory.parent)
        registry = Registry(scan=repository.scan, on_state=lambda *_: None)
        lifecycle = Lifecycle(registry, repository, load=FakeLoader(), load_timeout_s=60, on_load=lambda *_: None)
        await lifecycle.load_all()
        await scenario(lifecycle, registry.rollout("m"))

    asyncio.run(main())


def test_a_halt_is_written_and_kept_and_the_comparison_stays(directory):
    async def scenario(lifecycle, rollout):
        rollout.answered(rollout.canary, 500)
        assert rollout.reason == REASON
        await until(lambda: lifecycle.repository.last_good("m").rollout.halted)
        halted = POLICY.model_copy(update={"rollout": ROLLOUT.model_copy(update={"halted": REASON})})
        assert lifecycle.repository.policy("m") == lifecycle.repository.last_good("m") == halted
        await lifecycle.follow("m")
        now = lifecycle.registry.rollout("m")
        assert (now.reason, now.policy, now.comparison) == (REASON, halted.rollout, rollout.comparison)

    following(directory, scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"version_labels": {STABLE: 1, CANARY: 3}},
        {"rollout": ROLLOUT.model_copy(update={"rollback": RollbackPolicy(max_error_rate=0.9)})},
    ],
)
def test_no_halt_is_written_for_a_canary_that_has_followed_or_starts_again(directory, change):
    async def scenario(lifecycle, rollout):
        policy = POLICY.model_copy(update=change)
        rollout.answered(rollout.canary, 500)
        write_settings(directory, policy)
        await lifecycle.load("m")
        assert "halted" not in read_settings(directory)["rollout"]
        assert lifecycle.registry.rollout("m").reason is None
        assert lifecycle.repository.last_good("m") == policy

    following(directory, scenario)
