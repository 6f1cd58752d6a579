"""The steps of the plan with fake loads; a canary that has exceeded a limit."""

import asyncio

import pytest

from app.errors import VersionRefused
from app.lifecycle.lifecycle import Lifecycle
from app.lifecycle.registry import Registry
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.repository.repository import Repository
from app.repository.rollout_policy import RollbackPolicy, RolloutPolicy
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


def following(directory, scenario, *refused, repository=None):
    """Runs a scenario with a lifecycle that has loaded all versions except refused ones."""

    repository = repository or Repository(directory.parent)

    async def main():
        registry = Registry(scan=repository.scan, on_state=lambda *_: None)
        loader = FakeLoader(*refused)
        lifecycle = Lifecycle(registry, repository, load=loader, load_timeout_s=60, on_load=lambda *_: None)
        await lifecycle.load_all()
        await scenario(lifecycle, loader)

    asyncio.run(main())


def test_a_refused_version_is_loaded_again_only_on_request_or_with_other_settings_or_files(directory):
    async def scenario(lifecycle, loader):
        registry = lifecycle.registry
        assert (loader.loads, registry.get("m").version) == ([1, 2, 3], 1)
        await lifecycle.follow("m")
        assert loader.loads == [1, 2, 3]
        with pytest.raises(VersionRefused, match=r"version 2 refused: golden row 0 differs; version 1 "):
            await lifecycle.load("m")
        assert loader.loads == [1, 2, 3, 2]
        write_settings(directory, POLICY.model_copy(update={"instances": 2}))
        await lifecycle.follow("m")
        assert loader.loads == [1, 2, 3, 2, 1, 2, 3]
        (directory / "2" / "model.onnx").write_bytes(b"another")
        assert await lifecycle.follow("m") > 0, "its files keep changing: later"
        assert loader.loads == [1, 2, 3, 2, 1, 2, 3]

    following(directory, scenario, 2)


def test_a_version_that_does_not_load_with_other_settings_keeps_those_it_has(directory):
    async def scenario(lifecycle, loader):
        loader.refused.add(1)
        write_settings(directory, POLICY.model_copy(update={"instances": 2}))
        await lifecycle.follow("m")
        for version in (1, 2, 3):
            assert lifecycle.registry.get("m", version).load_settings == POLICY.load_settings
        assert lifecycle.registry.get("m").version == 1
        assert lifecycle.registry.record("m", 1).reason == "golden row 0 differs; it continues to serve as before"

    following(directory, scenario)


@pytest.mark.parametrize(
    ("labels", "refused", "loads", "default"),
    [({}, (), [3], 3), ({}, (3,), [3, 2], 2), ({STABLE: 1}, (), [1], 1), ({STABLE: 1}, (1,), [1, 3], 3)],
)
def test_for_a_command_only_the_default_version_is_loaded(directory, labels, refused, loads, default):
    write_settings(directory, ServingPolicy(version_labels=labels))
    loader = FakeLoader(*refused)
    repository = Repository(directory.parent)
    registry = Registry(scan=repository.scan, on_state=lambda *_: None)
    lifecycle = Lifecycle(registry, repository, load=loader, load_timeout_s=60, on_load=lambda *_: None)
    asyncio.run(lifecycle.load_one("m", None))
    assert (loader.loads, registry.get("m").version) == (loads, default)


def test_a_halt_is_written_and_kept_and_the_comparison_stays(directory):
    async def scenario(lifecycle, _):
        rollout = lifecycle.registry.rollout("m")
        rollout.answered(rollout.canary, 500)
        assert rollout.reason == REASON
        await until(lambda: lifecycle.repository.last_valid("m").rollout.halted)
        halted = POLICY.model_copy(update={"rollout": ROLLOUT.model_copy(update={"halted": REASON})})
        assert lifecycle.repository.policy("m") == lifecycle.repository.last_valid("m") == halted
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
    async def scenario(lifecycle, _):
        rollout, policy = lifecycle.registry.rollout("m"), POLICY.model_copy(update=change)
        rollout.answered(rollout.canary, 500)
        write_settings(directory, policy)
        await lifecycle.load("m")
        assert "halted" not in read_settings(directory)["rollout"]
        assert lifecycle.registry.rollout("m").reason is None
        assert lifecycle.repository.last_valid("m") == policy

    following(directory, scenario)


class RemovedAtOnce(Repository):
    """The halt is removed as soon as it is written, before the service reads the file again."""

    def halt(self, pair, reason, *, judged):
        is_written = super().halt(pair, reason, judged=judged)
        write_settings(self.places.of(pair.name).directory, POLICY)
        return is_written


def test_a_halt_that_is_removed_before_it_is_followed_starts_the_canary_again(directory):
    async def scenario(lifecycle, _):
        rollout = lifecycle.registry.rollout("m")
        rollout.answered(rollout.canary, 500)
        await until(lambda: lifecycle.registry.rollout("m") is not rollout)
        assert lifecycle.registry.rollout("m").reason is None

    following(directory, scenario, repository=RemovedAtOnce(directory.parent))
